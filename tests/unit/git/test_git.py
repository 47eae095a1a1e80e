"""What is read of git without git is what git itself says; identities hold where they must, and only there."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from retain.git import head
from retain.git.repository import Place, identity, locate, remote_address, root_commit

Builder = Callable[..., "GitRepo"]  # noqa: F821 - the class lives in conftest.py


def git_says(repo: Builder, at: Path) -> tuple[str, str]:
    """Branch and commit by git's own words."""
    branch = repo("branch", "--show-current", at=at)
    return branch, repo("rev-parse", "HEAD", at=at)


def identity_at(folder: Path) -> str:
    return identity(locate(str(folder)))[0]


# Branch and commit


def test_branch_and_commit_are_those_of_git_wherever_one_stands(git_repo: Builder) -> None:
    repo = git_repo()
    repo.commit()
    deep = repo.path / "a" / "b"
    deep.mkdir(parents=True)
    repo("checkout", "-q", "-b", "feature/with-slash")
    repo.commit("second")
    for folder in (repo.path, deep):
        assert (
            head.read(str(folder))
            == git_says(repo, folder)
            == ("feature/with-slash", repo("rev-parse", "HEAD"))
        )
    assert head.read(str(deep) + "/") == git_says(repo, deep)


def test_packed_refs_are_read_and_loose_ones_win_over_them(git_repo: Builder) -> None:
    repo = git_repo()
    repo.commit("one")
    repo("branch", "main-2")
    repo("tag", "-a", "-m", "annotated", "v1")  # leaves a peeled line in packed-refs
    repo("pack-refs", "--all")
    assert not (repo.path / ".git/refs/heads/main").exists()
    assert head.read(str(repo.path)) == git_says(repo, repo.path)
    repo.commit("two")
    assert head.read(str(repo.path)) == git_says(repo, repo.path)


def test_a_packed_ref_that_may_have_been_cut_is_not_believed(git_repo: Builder) -> None:
    repo = git_repo()
    commit = repo.commit()
    packed = repo.path / ".git/packed-refs"
    (repo.path / ".git/refs/heads/main").unlink()
    lines = f"{commit} refs/heads/main".encode()
    packed.write_bytes(b"#" * (head.PACKED_BYTES_MAX - len(lines) - 1) + b"\n" + lines + b"-old\n")
    assert head.read(str(repo.path)) == ("main", "")
    packed.write_bytes(b"# nothing\nnot-a-hash refs/heads/main\n" + lines + b"\n")
    assert head.read(str(repo.path)) == ("main", commit)


def test_a_detached_head_has_a_commit_and_no_branch(git_repo: Builder) -> None:
    repo = git_repo()
    repo.commit("one")
    repo.commit("two")
    repo("checkout", "-q", "--detach", "HEAD~1")
    assert head.read(str(repo.path)) == ("", repo("rev-parse", "HEAD"))


def test_a_repository_without_commits_has_a_branch_and_no_commit(git_repo: Builder) -> None:
    assert head.read(str(git_repo().path)) == ("main", "")


def test_a_linked_worktree_has_its_own_branch(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    repo.commit("one")
    linked = tmp_path / "linked"
    repo("worktree", "add", "-q", "-b", "topic", str(linked))
    repo("commit", "-q", "--allow-empty", "-m", "two", at=linked)
    for _ in range(2):
        assert head.read(str(linked)) == git_says(repo, linked)
        assert head.read(str(repo.path)) == git_says(repo, repo.path)
        repo("pack-refs", "--all")


def test_a_submodule_is_a_repository_of_its_own(git_repo: Builder) -> None:
    inner, outer = git_repo("inner"), git_repo("outer")
    inner.commit("inner")
    outer.commit("outer")
    outer("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "sub")
    assert head.read(str(outer.path / "sub")) == git_says(outer, outer.path / "sub")


def test_hashes_of_sha256_repositories_are_read(tmp_path: Path, git_repo: Builder) -> None:
    repo = git_repo()
    shutil.rmtree(repo.path / ".git")
    repo("init", "-q", "-b", "main", "--object-format=sha256")
    commit = repo.commit()
    assert (len(commit), head.read(str(repo.path))) == (64, ("main", commit))


def test_a_reftable_is_not_guessed_at(git_repo: Builder) -> None:
    repo = git_repo()
    shutil.rmtree(repo.path / ".git")
    repo("init", "-q", "-b", "main", "--ref-format=reftable")
    repo.commit()
    assert head.read(str(repo.path)) == ("", "")


def test_outside_a_repository_nothing_is_known(tmp_path: Path) -> None:
    for cwd in (str(tmp_path), "/", "", "relative/path", str(tmp_path / "missing")):
        assert head.read(cwd) == ("", "")


def test_broken_git_files_are_no_repository(tmp_path: Path) -> None:
    dot_git = tmp_path / ".git"
    dot_git.write_text("no gitdir here")
    assert head.read(str(tmp_path)) == ("", "")
    dot_git.write_text("gitdir: missing/place")
    assert head.read(str(tmp_path)) == ("", "")
    dot_git.unlink()
    dot_git.mkdir()
    assert head.read(str(tmp_path)) == ("", "")
    (dot_git / "HEAD").write_text("garbage")
    assert head.read(str(tmp_path)) == ("", "")
    (dot_git / "HEAD").unlink()
    (dot_git / "HEAD").mkdir()  # opens, but cannot be read
    assert head.read(str(tmp_path)) == ("", "")


# Identity


def test_clone_worktree_and_renamed_folder_are_the_same_repository(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo("original")
    repo.commit("root")
    repo.commit("more")
    expected = identity_at(repo.path)
    assert expected == f"git:{repo('rev-list', '--max-parents=0', 'HEAD')}:"
    repo("clone", "-q", str(repo.path), str(tmp_path / "clone"))
    repo("worktree", "add", "-q", "-b", "topic", str(tmp_path / "linked"))
    assert identity_at(tmp_path / "clone") == identity_at(tmp_path / "linked") == expected
    repo("worktree", "remove", str(tmp_path / "linked"))
    repo.path.rename(tmp_path / "renamed")
    assert identity_at(tmp_path / "renamed") == expected
    assert identity_at(tmp_path / "renamed" / "not" / "there") == expected


def test_other_repositories_are_others(git_repo: Builder) -> None:
    one, two, empty, empty_too = (git_repo(name) for name in ("one", "two", "empty", "empty-too"))
    one.commit("one")
    two.commit("two")
    found = {identity_at(repo.path) for repo in (one, two, empty, empty_too)}
    assert len(found) == 4
    one(
        "remote", "add", "origin", "https://example.org/fork.git"
    )  # a fork has the same root and another remote
    assert identity_at(one.path) not in found


def test_a_folder_without_a_repository_is_its_place(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    assert place == Place(root=str(tmp_path), common_dir=None, alias=str(tmp_path))
    assert identity(place) == (f"path:{tmp_path}", tmp_path.name)
    assert root_commit(place) == ""
    assert identity(locate("/")) == ("path:/", "/")


def test_a_symlink_leads_to_the_same_place(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    (tmp_path / "link").symlink_to(repo.path)
    assert locate(str(tmp_path / "link")) == locate(str(repo.path))


@pytest.mark.parametrize("folder", ["/a\0b", "/a\ud800b"])
def test_a_folder_that_cannot_exist_is_a_place_like_any_other(folder: str) -> None:
    place = locate(folder)
    assert (place.root, place.common_dir) == ("/a?b", None)
    identity(place)[0].encode()


def test_a_worktree_whose_repository_is_gone_is_a_folder(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    repo.commit()
    repo("worktree", "add", "-q", str(tmp_path / "linked"))
    shutil.rmtree(repo.path)
    assert locate(str(tmp_path / "linked")).common_dir is None


def test_another_repository_in_the_same_place_has_another_alias(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    before = locate(str(repo.path))
    (repo.path / ".git").rename(tmp_path / "kept")  # keeps its inode taken
    repo("init", "-q")
    after = locate(str(repo.path))
    assert before.root == after.root
    assert before.alias != after.alias


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/ann/project.git", "github.com/ann/project"),
        ("https://github.com/ann/project", "github.com/ann/project"),
        ("https://GitHub.com/ann/project/", "github.com/ann/project"),
        ("https://ann@github.com/ann/project.git", "github.com/ann/project"),
        ("https://ann:secret@github.com:8443/ann/project.git", "github.com/ann/project"),
        ("https://ann:se@cret@github.com/ann/project.git", "github.com/ann/project"),
        ("ssh://git@github.com/ann/project.git", "github.com/ann/project"),
        ("ssh://git@github.com:22/ann/project.git", "github.com/ann/project"),
        ("git://github.com/ann/project.git", "github.com/ann/project"),
        ("git+ssh://git@github.com/ann/project.git", "github.com/ann/project"),
        ("git@github.com:ann/project.git", "github.com/ann/project"),
        ("github.com:ann/project.git", "github.com/ann/project"),
        ("git@host:/srv/git/project.git", "host/srv/git/project"),
        ("ssh://git@host/srv/git/project.git", "host/srv/git/project"),
        ("ssh://git@[::1]:22/project.git", "[::1]/project"),
        ("/nowhere/project.git", ""),
        ("file:///nowhere/project.git", ""),
        ("../nowhere", ""),
    ],
)
def test_the_same_remote_in_every_form_has_one_address(url: str, expected: str, git_repo: Builder) -> None:
    repo = git_repo()
    repo("remote", "add", "upstream", "https://example.org/other.git")
    repo("remote", "add", "origin", url)
    assert remote_address(str(repo.path / ".git")) == expected
    assert "secret" not in identity_at(repo.path)


@pytest.mark.parametrize("form", ["{}", "{}/.git", "file://{}", "../original"])
def test_a_remote_on_the_same_disk_is_followed_to_its_own_remote(
    form: str, git_repo: Builder, tmp_path: Path
) -> None:
    original, copy = git_repo("original"), git_repo("copy")
    original("remote", "add", "origin", "git@example.org:ann/project.git")
    copy("remote", "add", "origin", form.format(original.path))
    assert remote_address(str(copy.path / ".git")) == "example.org/ann/project"
    assert identity(locate(str(copy.path)))[1] == "project"


def test_a_bare_repository_on_the_same_disk_is_followed_too(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    bare = tmp_path / "bare.git"
    repo("init", "-q", "--bare", str(bare))
    repo("remote", "add", "origin", "https://example.org/ann/project", at=bare)
    repo("remote", "add", "origin", str(bare))
    assert remote_address(str(repo.path / ".git")) == "example.org/ann/project"


def test_remotes_that_lead_in_a_circle_end(git_repo: Builder) -> None:
    one, two = git_repo("one"), git_repo("two")
    one("remote", "add", "origin", str(two.path))
    two("remote", "add", "origin", str(one.path))
    assert remote_address(str(one.path / ".git")) == ""


def test_a_repository_without_a_readable_config_has_no_remote(git_repo: Builder) -> None:
    repo = git_repo()
    (repo.path / ".git/config").unlink()
    assert remote_address(str(repo.path / ".git")) == ""


def test_a_shallow_clone_is_known_by_its_remote_alone(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    repo.commit("one")
    repo.commit("two")
    shallow = tmp_path / "shallow"
    repo("clone", "-q", "--depth=1", f"file://{repo.path}", str(shallow))
    assert root_commit(locate(str(shallow))) == ""
    assert identity_at(shallow).startswith("path:")
    repo("remote", "set-url", "origin", "https://example.org/ann/project.git", at=shallow)
    assert identity_at(shallow) == "git::example.org/ann/project"


def test_of_several_root_commits_one_is_chosen_for_good(git_repo: Builder) -> None:
    repo = git_repo()
    first = repo.commit("first root")
    repo("checkout", "-q", "--orphan", "other")
    second = repo.commit("second root")
    repo("merge", "-q", "--allow-unrelated-histories", "-m", "both", "main")
    assert root_commit(locate(str(repo.path))) == min(first, second)


def test_without_a_git_executable_the_remote_or_the_place_must_do(
    git_repo: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = git_repo()
    commit = repo.commit()
    with_remote = git_repo("with-remote")
    with_remote("remote", "add", "origin", "https://example.org/ann/project.git")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert head.read(str(repo.path)) == ("main", commit)
    assert identity_at(repo.path) == f"path:{repo.path}/.git"
    assert identity_at(with_remote.path) == "git::example.org/ann/project"


@pytest.mark.parametrize(
    "script", ["exec sleep 60", "exit 1", "printf '\\377' >&2; exit 128", "printf '\\377'"]
)
def test_a_git_that_hangs_or_fails_gives_no_root_commit_and_no_error(
    script: str, git_repo: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = git_repo()
    repo.commit()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    monkeypatch.setattr("retain.git.repository.GIT_TIMEOUT_S", 0.3)
    assert root_commit(locate(str(repo.path))) == ""


def test_inside_a_git_hook_the_repository_is_that_of_the_folder_and_not_the_outer_one(
    git_repo: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = git_repo("outer"), git_repo("inner")
    outer.commit("outer root")
    root = inner.commit("inner root")
    monkeypatch.setenv("GIT_DIR", str(outer.path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(outer.path))
    assert root_commit(locate(str(inner.path))) == root
