"""The Claude Desktop bundle and the registry's entry say what the package is."""

from __future__ import annotations

import json
import re
import runpy
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.config import Settings
from retain.interfaces.mcp_tools import tools
from retain.interfaces.trial import try_server

ROOT = Path(__file__).resolve().parents[3]
PACK = runpy.run_path(str(ROOT / "tools" / "pack.py"))

REQUIRED = {"manifest_version", "name", "version", "description", "author", "server"}
KNOWN = REQUIRED | {
    "display_name", "long_description", "license", "keywords", "tools", "tools_generated", "compatibility",
    "user_config", "icon", "homepage", "repository", "documentation", "support", "prompts", "privacy_policies",
}  # fmt: skip
DESCRIPTION_CHARS_MAX = 100
"""Of the registry."""


@pytest.fixture
def manifest() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((ROOT / "packaging" / "mcpb" / "manifest.json").read_bytes())
    return value


@pytest.fixture
def entry() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(PACK["registry_entry"]("some-one", "some-name"))
    return value


def test_the_manifest_has_what_it_needs_and_nothing_unknown(manifest: dict[str, Any]) -> None:
    assert manifest.keys() >= REQUIRED
    assert manifest.keys() <= KNOWN
    assert manifest["manifest_version"] == "0.4"
    assert manifest["version"] == retain.__version__
    assert manifest["author"]["name"]
    assert set(manifest["compatibility"]["platforms"]) <= {"darwin", "linux", "win32"}


def test_the_manifest_starts_a_file_of_the_bundle(manifest: dict[str, Any]) -> None:
    server = manifest["server"]
    assert server["type"] == "uv"  # the one Python type whose dependencies may be compiled
    assert server["entry_point"] == "server.py"
    assert server["mcp_config"].keys() <= {"command", "args", "env", "platform_overrides"}
    words = json.dumps(server["mcp_config"])
    assert set(re.findall(r"\$\{([^}]*)\}", words)) <= {"__dirname", "HOME"}


def test_the_manifest_lists_the_tools_of_the_server(manifest: dict[str, Any]) -> None:
    table = tools(Settings(home=Path("/nowhere")))
    assert manifest["tools"] == [{"name": tool.name, "description": tool.about} for tool in table]


@pytest.mark.parametrize(
    ("platform", "hosts"), [("manylinux_2_34_x86_64", ["linux"]), ("macosx_11_0_arm64", ["darwin"])]
)
def test_the_bundle_is_a_zip_with_the_wheel_and_of_the_same_bytes_each_time(
    tmp_path: Path, platform: str, hosts: list[str]
) -> None:
    wheel = tmp_path / f"retain-{retain.__version__}-cp311-abi3-{platform}.whl"
    wheel.write_bytes(b"a wheel")
    first, second = PACK["bundle"](wheel, tmp_path / "a"), PACK["bundle"](wheel, tmp_path / "b")
    assert first.name == f"retain-{retain.__version__}.mcpb"
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            ["manifest.json", "pyproject.toml", "server.py", wheel.name]
        )
        content = tomllib.loads(archive.read("pyproject.toml").decode())
        compile(archive.read("server.py"), "server.py", "exec")
        assert archive.read(wheel.name) == b"a wheel"
        assert json.loads(archive.read("manifest.json"))["compatibility"]["platforms"] == hosts
    assert content["project"]["dependencies"] == [f"retain=={retain.__version__}"]
    assert content["project"]["version"] == retain.__version__
    assert content["tool"]["uv"]["sources"] == {"retain": {"path": wheel.name}}


@pytest.mark.parametrize("name", ["other-1-py3-none-any.whl", "retain-9.9.9-cp311-abi3-linux_x86_64.whl"])
def test_only_a_wheel_of_this_version_is_bundled(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(SystemExit, match=r"wheel of retain|another version"):
        PACK["bundle"](tmp_path / name, tmp_path)


def test_the_file_that_the_manifest_starts_is_a_server(manifest: dict[str, Any], tmp_path: Path) -> None:
    script = ROOT / "packaging" / "mcpb" / manifest["server"]["entry_point"]
    tried = try_server([sys.executable, "-P", str(script)], str(tmp_path), {})
    assert tried.ok, tried.detail
    assert f"answers as retain {retain.__version__}" in tried.detail


def test_the_entry_of_the_registry_is_one(entry: dict[str, Any]) -> None:
    assert entry["$schema"].endswith("/2025-12-11/server.schema.json")
    assert entry["name"] == "io.github.some-one/retain"
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert 1 <= len(entry["description"]) <= DESCRIPTION_CHARS_MAX
    assert entry["version"] == retain.__version__
    (package,) = entry["packages"]
    assert (package["registryType"], package["identifier"]) == ("pypi", "some-name")
    assert package["version"] == retain.__version__
    assert package["transport"] == {"type": "stdio"}
    assert package["packageArguments"] == [{"type": "positional", "value": "serve"}]
    assert [variable["name"] for variable in package["environmentVariables"]] == ["RETAIN_HOME"]


@pytest.mark.parametrize("owner", ["", "-x", "a b", "a/b", "x" * 40])
def test_an_owner_that_is_no_account_is_refused(owner: str) -> None:
    with pytest.raises(SystemExit, match="account name"):
        PACK["registry_entry"](owner, "some-name")


def test_a_package_needs_the_name_that_it_was_published_by() -> None:
    with pytest.raises(SystemExit, match="name of a package"):
        PACK["registry_entry"]("some-one", "Not A Name")
