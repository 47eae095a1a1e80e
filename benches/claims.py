"""Claims replayed through time: memories made at a commit A, what is stale at a later commit B said by the repository.

    python benches/claims.py --mirrors FOLDER [--per 60] [--points 3] [--seed 0] [--only NAMES] [--errors 40]

``FOLDER`` holds bare or plain clones, each in a folder of its own. For each, memories are made at some commits A: what
an assistant would write down about code that is there (a path, a symbol, a test, a constant, a line, a command, a
dependency), and the commits before A with their message, files and symbols. retain derives claims from the words
alone. At each B the claims are checked, and benches/claims_oracle.py, which shares no code with retain, says what is
true.

One unit is one fact of one memory at one B. An alert is any state but fresh; it is a catch where the fact is false at
B. A stale fact for which no claim was derived counts as missed; a claim that the judge holds false at A counts as
derived wrongly and its alerts as false ones. The baseline is the usual one: an alert whenever the file of the fact
changed at all. Intervals are of 95 %, by 2,000 draws of repositories with replacement, for facts of one are not
independent. What the judge cannot say (a grammar that met an error, a language that it does not read) is counted, and
judged by nobody. "Claimed" is the share of facts for which a claim was derived.
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

from claims_grammars import LANGUAGES
from claims_oracle import Commit, Fact, norm
from measuring import Figure, arguments, at_least, at_most, publish
from retain.capture.file_changes import symbols_in
from retain.git.checking import FRESH, UNVERIFIABLE, check
from retain.git.claims import Claim, derive
from retain.git.trees import CommitTree, renames

FRACTIONS = (0.55, 0.7, 0.85, 0.4, 0.92)
DISTANCES = (100, 400, 1_500)
DRAWS = 2_000
CODE = tuple(LANGUAGES)
QUALIFYING = (".rs", ".cc", ".cpp", ".cxx", ".hpp", ".h")
"""Endings of languages in which a member is written with two colons."""
TEST = re.compile(r"(?:\w+\.)?(test_|Test[A-Z_])")
MANIFESTS = (
    "package.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "Makefile",
    "Cargo.toml",
    "go.mod",
    "requirements.txt",
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
        path
        for path in commit.blobs
        if not re.search(r"(^|/)(vendor|node_modules|_vendor|docs_src|third_party|dist)/|\.min\.js$", path)
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
        owned = [name for name in parsed.members if name.rsplit(".", 1)[-1] in parsed.names]
        names = sampled(rng, [n for n in (*parsed.names, *owned) if len(n) > 2 and not n.startswith("__")], 4)
        for name in names:
            told = name.replace(".", "::") if path.endswith(QUALIFYING) else name
            found["test" if TEST.match(name) else "symbol"].append(Fact("symbol", path, told))
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
    kind = "test" if fact.kind == "symbol" and TEST.match(fact.name) else fact.kind
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
    """By which a fact and a claim are the same."""
    kind = "symbol" if kind == "test" else kind
    value = re.sub(r"[\s\"']|,(?=[)\]}])", "", value)
    if kind == "dependency":
        return kind, path, norm(name), ",".join(sorted(filter(None, value.strip("()").split(","))))
    if kind == "constant":
        return kind, path, re.split(r"::|\.", name)[-1], value
    return kind, path, name.replace("yarn run", "npm run"), "" if kind == "path" else value


class Account:
    """Counts of one repository by kind, by language and over all, and where retain and the judge disagree."""

    def __init__(self, repository: str) -> None:
        self.repository = repository
        self.counts: dict[str, Counter[str]] = {}
        self.errors: dict[str, str] = {}

    def tally(self, fact: Fact, finding: Any, at: Commit, then: Commit) -> None:
        before, after = at.holds(fact), then.holds(fact)
        alert = finding is not None and finding.state not in {FRESH, UNVERIFIABLE}
        flagged = at.blobs.get(fact.path) != then.blobs.get(fact.path)
        language = LANGUAGES.get(Path(fact.path).suffix, "other files")
        for name in (f"kind: {fact.kind}", f"language: {language}", "all"):
            count = self.counts.setdefault(name, Counter())
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
        if before is not None and after is not None and alert != (before and not after):
            told = f"{self.repository} {at.commit[:10]}..{then.commit[:10]} {'|'.join(fact)}"
            self.errors.setdefault("|".join(fact), f"{told}\n    alert={alert} {before}->{after} {finding}")


def replay(git_dir: str, per: int, points: int, seed: int, account: Account) -> None:
    """Fills the account of one repository."""
    repository = pygit2.Repository(git_dir)
    line = Commit(git_dir, "HEAD").git("rev-list", "--first-parent", "--reverse", "HEAD").split()
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
                  renames(repository, line[start], line[distance]), account)  # fmt: skip
            then.close()
        at.close()


def judge(
    memories: list[Memory],
    at: Commit,
    then: Commit,
    tree: CommitTree,
    moved: dict[str, str],
    account: Account,
) -> None:
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
            account.tally(fact, finding, at, then)


def git_dir_of(folder: Path) -> str:
    """The git directory of a clone; empty where there is none."""
    places = (folder / "repo", folder / ".git", folder)
    return next((str(one) for one in places if (one / "HEAD").exists()), "")


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def measures(c: Counter[str]) -> tuple[float, float, float]:
    return ratio(c["caught"], c["alerts"]), ratio(c["caught"], c["stale"]), ratio(c["alerts"], c["caught"])


def intervals(counts: list[Counter[str]], seed: int) -> list[tuple[float, float]]:
    """95 % of each measure, over draws of repositories with replacement."""
    rng = random.Random(seed)
    drawn = []
    for _ in range(DRAWS):
        total: Counter[str] = Counter()
        for one in rng.choices(counts, k=len(counts)):
            for key in ("caught", "alerts", "stale"):
                total[key] += one[key]
        drawn.append(measures(total))
    return [
        (low[DRAWS // 40], low[-DRAWS // 40]) for low in (sorted(one) for one in zip(*drawn, strict=True))
    ]


def row(name: str, counts: list[Counter[str]], seed: int) -> str:
    """A line of the table; with intervals where there is more than one repository."""
    c: Counter[str] = Counter()
    for one in counts:
        c.update(one)
    told = [f"{value:.3f}" for value in measures(c)]
    if len(counts) > 1:
        told = [f"{value} ({low:.3f}-{high:.3f})"
                for value, (low, high) in zip(told, intervals(counts, seed), strict=True)]  # fmt: skip
    flags = ratio(c["flags"], c["flags_caught"])
    claimed = ratio(c["derived"], c["units"])
    return f"| {name} | {c['units']:,} | {claimed:.2f} | {c['stale']:,} | {' | '.join(told)} | {flags:.1f} |"


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--mirrors", type=Path, required=True)
    parser.add_argument("--per", type=int, default=60)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of folders, an expression")
    parser.add_argument("--errors", type=int, default=0, help="disagreements to print, drawn from all")
    given = parser.parse_args()
    folders = sorted(
        one for one in given.mirrors.iterdir() if re.search(given.only, one.name) and git_dir_of(one)
    )
    accounts: list[Account] = []
    started = time.process_time()
    print(
        "| repository | facts | claimed | stale | precision | recall | alerts per catch | file flags per catch |"
    )
    for number, folder in enumerate(folders):
        accounts.append(Account(folder.name))
        replay(git_dir_of(folder), given.per, given.points, given.seed + number, accounts[-1])
        print(row(folder.name, [accounts[-1].counts.get("all", Counter())], given.seed), flush=True)
    for name in sorted({name for one in accounts for name in one.counts}):
        print(row(name, [one.counts[name] for one in accounts if name in one.counts], given.seed))
    errors = [error for one in accounts for error in one.errors.values()]
    for error in random.Random(given.seed).sample(errors, min(given.errors, len(errors))):
        print(f"? {error}")
    c: Counter[str] = Counter()
    for one in accounts:
        c.update(one.counts["all"])
    precision, recall, alerts = measures(c)
    figures = [
        at_least("repositories", len(accounts), "", 20),
        at_least("precision", precision, "", 0.95),
        at_least("recall", recall, "", 0.9),
        at_most("alerts per catch", alerts, "", 1.05),
        Figure(what="alerts per catch of file-level flags", ours=ratio(c["flags"], c["flags_caught"]), unit=""),
        Figure(what="facts judged", ours=c["units"], unit=""),
        Figure(what="facts that the judge cannot judge", ours=c["unjudged"], unit=""),
        Figure(what="stale facts", ours=c["stale"], unit=""),
        Figure(what="stale facts without a claim", ours=c["missed_underived"], unit=""),
        Figure(what="followed to where they are, right", ours=ratio(c["followed_right"], c["followed"]), unit=""),
        Figure(what="processor time", ours=time.process_time() - started, unit="s"),
    ]  # fmt: skip
    details = {"repositories": {one.repository: one.counts for one in accounts}, "errors": errors}
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
