"""Claims replayed through time: memories made at a commit A, what is stale at a later commit B said by the repository.

    python benches/claims.py --mirrors FOLDER [--per 60] [--points 3] [--repositories 25] [--json FILE]

``FOLDER`` holds bare or plain clones, each in a folder of its own. For each, memories are made at some commits A: what
an assistant would write down about code that is there (a path, a symbol, a test, a constant, a line, a command, a
dependency), and the commits before A with their message, files and symbols. retain derives claims from the words
alone. At each B the claims are checked, and benches/claims_oracle.py, which shares no code with retain, says what is
true.

One unit is one fact of one memory at one B. An alert is any state but fresh; it is a catch where the fact is false at
B. A stale fact for which no claim was derived counts as missed; a claim that the judge holds false at A counts as
derived wrongly and its alerts as false ones. The baseline is the usual one: an alert whenever the file of the fact
changed at all.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pygit2

from claims_oracle import Commit, Fact
from measuring import Figure, arguments, at_least, at_most, publish
from retain.capture.file_changes import symbols_in
from retain.git.checking import FRESH, UNVERIFIABLE, check
from retain.git.claims import Claim, derive, squeezed
from retain.git.manifests import plain_name, plain_spec
from retain.git.trees import CommitTree, renames

FRACTIONS = (0.55, 0.7, 0.85, 0.4, 0.92)
DISTANCES = (100, 400, 1_500)
CODE = (".py", ".rs", ".go", ".js", ".ts")
MANIFESTS = (
    "package.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "Makefile",
    "Cargo.toml",
    "go.mod",
)
SAID = {
    "path": (
        "The code for this lives in `{path}`.",
        "See {path} for how that is done.",
        "I changed {path} last time.",
    ),
    "symbol": (
        "`{name}` is defined in `{path}`.",
        "{path}: use {name}() for that.",
        "The entry point is `{name}()` in {path}.",
    ),
    "test": ("`{name}` in {path} covers this.", "The regression test is {path}::{name}."),
    "constant": (
        "`{name}` is `{value}` in `{path}`.",
        "In {path}, {name} = `{value}`.",
        "{name} defaults to `{value}` ({path}).",
    ),
    "line": ("In `{path}` the code does `{value}`.", "{path} has this line:\n```\n{value}\n```"),
    "command": ("Run `{name}` before pushing.", "`{name}` does that here."),
    "dependency": ("We depend on `{name}{glue}{value}` in {path}.", "{path} asks for {name} `{value}`."),
}


def sampled(rng: random.Random, items: Any, count: int) -> list[Any]:
    known = sorted(items)
    return rng.sample(known, min(count, len(known)))


def facts_at(commit: Commit, rng: random.Random, per: int) -> list[Fact]:
    """True statements of a commit, every kind as far as it has any."""
    paths = [
        path for path in commit.blobs if not re.search(r"(^|/)(vendor|node_modules|_vendor|docs_src)/", path)
    ]
    code = [path for path in paths if path.endswith(CODE)]
    facts = [
        Fact("path", path) for path in sampled(rng, [p for p in paths if re.search(r"\.\w+$", p)], per // 6)
    ]
    found: dict[str, list[Fact]] = {"symbol": [], "test": [], "constant": [], "line": []}
    for path in sampled(rng, code, per):
        parsed, text = commit.parsed(path), commit.text(path) or ""
        if parsed is None:
            continue
        names = sampled(
            rng, [n for n in (*parsed.names, *parsed.members) if len(n) > 2 and not n.startswith("__")], 4
        )
        for name in names:
            kind = "test" if re.match(r"(?:\w+\.)?(test_|Test[A-Z_])", name) else "symbol"
            found[kind].append(Fact("symbol", path, name))
        found["constant"] += [Fact("constant", path, n, v) for n, v in sampled(rng, set(parsed.literals), 2)
                              if 0 < len(v) <= 80 and "`" not in v]  # fmt: skip
        lines = {line.strip() for line in text.splitlines() if 20 <= len(line.strip()) <= 120}
        lines = {
            line
            for line in lines
            if "`" not in line and not re.fullmatch(r"[\w. ()]+", line) and line[0] not in "#/*"
        }
        found["line"] += [Fact("line", path, "", line) for line in sampled(rng, lines, 2)]
    for kind, share in (("symbol", 3), ("test", 8), ("constant", 5), ("line", 5)):
        facts += sampled(rng, set(found[kind]), per // share)
    for path in (p for p in MANIFESTS if p in commit.blobs):
        facts += [Fact("command", path, name) for name in sampled(rng, commit.commands(path), 4)
                  if re.fullmatch(r"[\w .:-]+", name)]  # fmt: skip
        facts += [Fact("dependency", path, n, v) for n, v in sampled(rng, commit.requirements(path), 5)
                  if re.fullmatch(r"[<>=!~^]*\s*v?\d[\w.,<>=!~* +-]*", v)
                  and re.fullmatch(r"[\w./@-]+", n)]  # fmt: skip
    return facts


def words_of(fact: Fact, rng: random.Random) -> str:
    kind = (
        "test"
        if fact.kind == "symbol" and re.match(r"(?:\w+\.)?(test_|Test[A-Z_])", fact.name)
        else fact.kind
    )
    glue = "" if fact.value[:1] in "<>=!~" else " "
    return rng.choice(SAID[kind]).format(path=fact.path, name=fact.name, value=fact.value, glue=glue)


class Memory:
    def __init__(
        self, text: str, facts: list[Fact], paths: tuple[str, ...] = (), symbols: tuple[str, ...] = ()
    ) -> None:
        self.text, self.facts, self.paths, self.symbols = text, facts, paths, symbols
        self.claims: list[Claim] = []


def from_commits(repository: Any, commits: list[str], at: Commit) -> list[Memory]:
    """Commits as capture keeps them: message, files, symbols of the lines that they added."""
    made = []
    for one in commits:
        commit = repository[one]
        if len(commit.parent_ids) != 1:
            continue
        diff = commit.parents[0].tree.diff_to_tree(commit.tree)
        if len(diff) > 12:
            continue
        paths, added = [], []
        for patch in diff:
            paths.append(patch.delta.new_file.path)
            added += [line.content for hunk in patch.hunks for line in hunk.lines if line.origin == "+"]
        symbols = symbols_in("".join(added))[:12]
        facts = [Fact("path", path) for path in paths if at.holds(Fact("path", path))]
        facts += [f for path in paths for name in symbols if at.holds(f := Fact("symbol", path, name))]
        made.append(Memory(commit.message, facts[:24], tuple(paths), symbols))
    return made


def key_of(kind: str, path: str, name: str, value: str) -> tuple[str, ...]:
    kind = "symbol" if kind == "test" else kind
    if kind == "dependency":
        return kind, path, plain_name(name), plain_spec(value)
    if kind == "constant":
        return kind, path, name.rsplit(".", maxsplit=1)[-1], squeezed(value)
    return (
        kind,
        path,
        name.replace("yarn run", "npm run"),
        "" if kind == "path" else re.sub(r"\s+", "", value),
    )


def replay(git_dir: str, per: int, points: int, seed: int) -> dict[str, Counter[str]]:
    """Counts of one repository, by kind of fact and over all."""
    repository = pygit2.Repository(git_dir)
    head = Commit(git_dir, "HEAD")
    line = head.git("rev-list", "--first-parent", "--reverse", "HEAD").split()
    counts: dict[str, Counter[str]] = {}
    rng = random.Random(seed)
    for fraction in FRACTIONS[:points]:
        start = int(len(line) * fraction)
        at = Commit(git_dir, line[start])
        memories = [Memory(words_of(fact, rng), [fact]) for fact in facts_at(at, rng, per)]
        memories += from_commits(repository, line[max(0, start - 25) : start + 1], at)
        tree = CommitTree(repository, line[start])
        for memory in memories:
            memory.claims = derive(memory.text, memory.paths, memory.symbols, tree)
        for distance in dict.fromkeys(min(len(line) - 1, start + steps) for steps in DISTANCES):
            then = Commit(git_dir, line[distance])
            judge(memories, at, then, CommitTree(repository, line[distance]),
                  renames(repository, line[start], line[distance]), counts)  # fmt: skip
            then.close()
        at.close()
    return counts


def judge(
    memories: list[Memory], at: Commit, then: Commit, tree: CommitTree, moved: dict[str, str],
    counts: dict[str, Counter[str]],
) -> None:  # fmt: skip
    known: dict[Claim, Any] = {}
    for memory in memories:
        units: dict[tuple[str, ...], tuple[Fact, Any]] = {
            key_of(*fact): (fact, None) for fact in memory.facts
        }
        for claim in memory.claims:
            kind = "symbol" if claim.kind == "test" else claim.kind
            fact = Fact(kind, claim.path, claim.name, claim.value)
            if claim not in known:
                known[claim] = check(claim, tree, lambda path: moved.get(path, ""))
            key = key_of(*fact)
            units[key] = (units.get(key, (fact, None))[0], known[claim])
        for fact, finding in units.values():
            tally(fact, finding, at, then, counts)


def tally(fact: Fact, finding: Any, at: Commit, then: Commit, counts: Any) -> None:
    before, after = at.holds(fact), then.holds(fact)
    alert = finding is not None and finding.state not in {FRESH, UNVERIFIABLE}
    flagged = at.blobs.get(fact.path) != then.blobs.get(fact.path)
    for name in (fact.kind, "all"):
        count = counts.setdefault(name, Counter())
        if before is None or after is None:
            count["unjudged"] += 1
            continue
        stale = before and not after
        count["units"] += 1
        count["stale"] += stale
        count["derived"] += finding is not None
        count["wrongly_derived"] += finding is not None and not before
        count["alerts"] += alert
        count["caught"] += alert and stale
        count["flags"] += flagged
        count["flags_caught"] += flagged and stale
        count["missed_underived"] += bool(stale and finding is None)
        if alert and finding.path and fact.kind in {"symbol", "path"}:
            count["followed"] += 1
            count["followed_right"] += bool(then.holds(fact._replace(path=finding.path)))
    wrong = before is not None and after is not None and alert != (before and not after)
    if wrong and SHOWN[0] > 0:
        SHOWN[0] -= 1
        print(f"  ? {fact} alert={alert} before={before} after={after} {finding}", file=sys.stderr)


SHOWN = [0]


def git_dir_of(folder: Path) -> str:
    """The git directory of a clone; empty where there is none."""
    places = (folder / "repo", folder / ".git", folder)
    return next((str(one) for one in places if (one / "HEAD").exists()), "")


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def row(name: str, c: Counter[str]) -> str:
    return (
        f"| {name} | {c['units']:,} | {c['stale']:,} | {ratio(c['caught'], c['alerts']):.3f} | "
        f"{ratio(c['caught'], c['stale']):.3f} | {ratio(c['alerts'], c['caught']):.3f} | "
        f"{ratio(c['flags'], c['flags_caught']):.1f} |"
    )


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--per", type=int, default=60)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--repositories", type=int, default=25)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", type=int, default=0, help="disagreements to print")
    given = parser.parse_args()
    SHOWN[0] = given.show
    folders = sorted(
        one for one in given.mirrors.iterdir() if re.search(given.only, one.name) and git_dir_of(one)
    )
    total: dict[str, Counter[str]] = {}
    by_repository: dict[str, Counter[str]] = {}
    started = time.process_time()
    print(
        "| repository | facts | stale | precision | recall | alerts per catch | file flags per catch |",
        file=sys.stderr,
    )
    for number, folder in enumerate(folders[: given.repositories]):
        counts = replay(git_dir_of(folder), given.per, given.points, number)
        by_repository[folder.name] = counts.get("all", Counter())
        print(row(folder.name, by_repository[folder.name]), file=sys.stderr, flush=True)
        for kind, count in counts.items():
            total.setdefault(kind, Counter()).update(count)
    for kind, count in sorted(total.items()):
        print(row(kind, count), file=sys.stderr)
    c = total["all"]
    figures = [
        at_least("repositories", len(by_repository), "", 20),
        at_least("precision", ratio(c["caught"], c["alerts"]), "", 0.95),
        at_least("recall", ratio(c["caught"], c["stale"]), "", 0.9),
        at_most("alerts per catch", ratio(c["alerts"], c["caught"]), "", 1.05),
        Figure(
            what="alerts per catch of file-level flags", ours=ratio(c["flags"], c["flags_caught"]), unit=""
        ),
        Figure(what="facts judged", ours=c["units"], unit=""),
        Figure(what="stale facts", ours=c["stale"], unit=""),
        Figure(
            what="followed to where they are, right", ours=ratio(c["followed_right"], c["followed"]), unit=""
        ),
        Figure(what="processor time", ours=time.process_time() - started, unit="s"),
    ]
    details = {"repositories": by_repository, "kinds": total}
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
