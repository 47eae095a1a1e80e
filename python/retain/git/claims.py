"""What a memory says of code that can be checked: claims, read from its words and kept only where they are true.

A claim is a fact about one file. It is derived against the files as they were when the memory was made, so that a
sentence that was misread gives no claim: what was not true then cannot become false.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from retain.git.manifests import MANIFESTS, commands_in, plain_name, plain_spec, versions_in
from retain.git.source import PROSE
from retain.git.trees import Tree, Unreadable, tidy

PATH, SYMBOL, TEST, LINE, CONSTANT, COMMAND, DEPENDENCY = (
    "path", "symbol", "test", "line", "constant", "command", "dependency",
)  # fmt: skip
KINDS = (PATH, SYMBOL, TEST, LINE, CONSTANT, COMMAND, DEPENDENCY)

CLAIMS_MAX = 24
"""Claims of one memory; what its words say comes before what was only listed."""
PATHS_MAX = 12
SYMBOLS_MAX = 24
TEXT_CHARS_MAX = 16_384
LINE_CHARS = (8, 240)
VALUE_CHARS_MAX = 160

_PATH = re.compile(
    r"(?<![\w/.@:~+-])(?:[\w.@+-]+/)*[\w.@+-]*[\w+-]\.[A-Za-z]\w{0,9}(?![\w/])|(?<![\w/.@:~+-])(?:[\w.@+-]+/)+[\w.@+-]+"
)
_NAMED_FILES = re.compile(
    r"(?<![\w/.])(?:[\w.@+-]+/)*(?:Makefile|Dockerfile|LICENSE|justfile|go\.mod)(?![\w/.])"
)
_FENCE = re.compile(r"(?s)```[^\n`]*\n(.*?)```")
_TICKS = re.compile(r"(?<!`)`([^`\n]{2,240})`(?!`)")
_NAME = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|#)[A-Za-z_$][\w$]*)*")
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_][\w]*(?:(?:\.|::)[A-Za-z_]\w*)*)\(\)")
_CODE_WORD = re.compile(
    r"(?<![\w./-])(?:[a-z]+_\w+|_\w+|[A-Z][a-z0-9]+[A-Z]\w*|[a-z]+[A-Z]\w*|[A-Z][A-Z0-9]*_[A-Z0-9_]+)(?![\w/-])"
)
_TEST = re.compile(r"^(?:test_|Test[A-Z_]|test[A-Z])|_test$")
_EQUALS = re.compile(
    r"(?<![\w$.:-])(?P<name>[A-Za-z_$][\w$.:-]{0,79})`?(?:\s+(?:in|of)\s+`?[\w./@+-]{1,200}`?)?\s*"
    r"(?:=(?!=)|:=|\bis set to\b|\bis\b|\bequals\b|\bdefaults to\b|\bhas the value\b)\s*"
    r"(?:`(?P<quoted>[^`\n]+)`|(?P<plain>\"[^\"\n]*\"|'[^'\n]*'|-?\d[\w.]*|True|False|None|true|false|null))"
)
_COMMAND = re.compile(
    r"(?:npm run|yarn run|yarn|pnpm run|pnpm|make|just|tox -e|cargo run --bin) (?P<name>[A-Za-z0-9][\w.:/-]*)"
)
_SPEC = re.compile(
    r"(?<![\w./@-])(?P<name>[A-Za-z0-9@][\w./@-]{0,79}?)(?:\[[^\]\n]*\])?\"?'?`?\s*"
    r"(?::|=(?!=)|\bat\b|\bis pinned to\b|\bis required as\b|\brequires\b)?\s*"
    r"[\"'`]?(?P<spec>(?:[<>=!~^]=?=?\s*v?\d[\w.*+-]*\s*,?\s*)+|(?<![\w./-])(?:v?\d+(?:\.[\w*+-]+)+|v?\d+))[\"'`]?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One fact about a file.

    Attributes:
        kind: one of ``KINDS``.
        path: the file.
        name: of the symbol, test, constant, command or package; empty for paths and lines.
        value: the quoted line, the constant's value, the version that is asked for.
        line: where it was found, from 1; 0 where that says nothing.
        digest: of the place when it was true, so that it is found again where the file went elsewhere.
    """

    kind: str
    path: str
    name: str = ""
    value: str = ""
    line: int = 0
    digest: str = ""

    def told(self) -> str:
        """The claim in a few words."""
        if self.kind == PATH:
            return self.path
        if self.kind == LINE:
            return f"`{self.value}` in {self.path}"
        if self.kind in {CONSTANT, DEPENDENCY}:
            return f"{self.name} {self.value} in {self.path}"
        return f"{self.name} in {self.path}"


def derive(text: str, paths: Sequence[str], symbols: Sequence[str], tree: Tree) -> list[Claim]:
    """The claims of a text that are true in a tree, at most ``CLAIMS_MAX``, each once."""
    found: dict[tuple[str, str, str, str], Claim] = {}
    for claim in candidates(text[:TEXT_CHARS_MAX], paths, symbols):
        key = (claim.kind, claim.path, claim.name, claim.value)
        if key in found:
            continue
        try:
            located = locate(claim, tree)
        except Unreadable:
            continue
        if located is not None:
            found[key] = located
            if len(found) == CLAIMS_MAX:
                break
    return list(found.values())


def candidates(text: str, paths: Sequence[str], symbols: Sequence[str]) -> Iterator[Claim]:
    """What a text may say, true or not, the most telling first."""
    named = list(_paths(text))
    places = list(dict.fromkeys([*named, *filter(None, map(tidy, paths))]))[:PATHS_MAX]
    yield from (Claim(kind=PATH, path=path) for path in places)
    quoted = [match[1].strip() for match in _TICKS.finditer(text)]
    fenced = [line.strip() for match in _FENCE.finditer(text) for line in match[1].splitlines()]
    for match in _EQUALS.finditer(text):
        value = (match["quoted"] or match["plain"]).strip()
        if len(value) <= VALUE_CHARS_MAX:
            yield from (Claim(kind=CONSTANT, path=path, name=match["name"], value=value) for path in places)
    manifests = list(dict.fromkeys([*places, *MANIFESTS]))
    yield from _commands(text, quoted, manifests)
    yield from _dependencies(text, manifests)
    for name in _names(text, quoted, symbols):
        kind = TEST if _TEST.search(name.rsplit(".", 1)[-1].rsplit("::", 1)[-1]) else SYMBOL
        yield from (Claim(kind=kind, path=path, name=name) for path in places)
    least, most = LINE_CHARS
    for line in (*quoted, *fenced):
        if (
            least <= len(line) <= most
            and not _NAME.fullmatch(line.removesuffix("()"))
            and tidy(line) not in places
        ):
            yield from (Claim(kind=LINE, path=path, value=line) for path in places)


def _paths(text: str) -> Iterator[str]:
    for pattern in (_PATH, _NAMED_FILES):
        for match in pattern.finditer(text):
            name = tidy(match.group().rstrip(".").split("::")[0])
            if name:
                yield name
    for match in _TICKS.finditer(text):
        if (
            re.search(r"[/.]", match[1])
            and not re.search(r"[\s:;,(){}]", match[1])
            and (name := tidy(match[1]))
        ):
            yield name


def _names(text: str, quoted: Sequence[str], symbols: Sequence[str]) -> list[str]:
    names = [one.removesuffix("()") for one in quoted if _NAME.fullmatch(one.removesuffix("()"))]
    names += [match[1] for match in _CALLED.finditer(text)]
    names += [match[1] for match in re.finditer(r"::([A-Za-z_][\w.]*\w)", text)]
    names += [match.group() for match in _CODE_WORD.finditer(text)]
    names += [one for one in symbols if _NAME.fullmatch(one)]
    return [name for name in dict.fromkeys(names) if len(name) > 1][:SYMBOLS_MAX]


def _commands(text: str, quoted: Sequence[str], manifests: Iterable[str]) -> Iterator[Claim]:
    called = [match.group() for match in _COMMAND.finditer(text)]
    called = [re.sub(r"^(yarn|pnpm) (?!run )", r"\1 run ", one) for one in called]
    called += [one.split(" ")[0] for one in quoted if re.fullmatch(r"[a-z][\w-]*( .*)?", one)]
    for path in manifests:
        if path.rsplit("/", 1)[-1] in MANIFESTS:
            yield from (Claim(kind=COMMAND, path=path, name=one) for one in dict.fromkeys(called))


def _dependencies(text: str, manifests: Iterable[str]) -> Iterator[Claim]:
    asked = {(match["name"], match["spec"].strip().strip(",")) for match in _SPEC.finditer(text)}
    if not asked:
        return
    for path in manifests:
        base = path.rsplit("/", 1)[-1]
        if base in MANIFESTS or (base.endswith((".txt", ".in")) and "require" in path):
            yield from (
                Claim(kind=DEPENDENCY, path=path, name=name, value=spec) for name, spec in sorted(asked)
            )


def locate(claim: Claim, tree: Tree) -> Claim | None:
    """The claim with the place where it is true in a tree; None where it is not.

    Raises:
        Unreadable: the file cannot be read.
    """
    if claim.kind == PATH:
        return claim if tree.stamp(claim.path) else None
    source = tree.source(claim.path)
    if source is None:
        return None
    line = 0
    if claim.kind in {SYMBOL, TEST}:
        line = source.line_of(claim.name) if source.language != PROSE else 0
    elif claim.kind == LINE:
        line = source.says(claim.value)
    elif claim.kind == CONSTANT:
        if squeezed(claim.value) in map(squeezed, source.values_of(claim.name)):
            line = source.line_with(re.split(r"::|\.", claim.name)[-1], claim.value)
    elif claim.kind == COMMAND:
        line = source.line_with(claim.name.split(" ")[-1]) if claim.name in commands_in(source) else 0
    else:
        asked = versions_in(source).get(plain_name(claim.name), set())
        line = source.line_with(claim.name, claim.value) if plain_spec(claim.value) in asked else 0
    if not line:
        return None
    at = source.text.splitlines()[line - 1] if line <= source.text.count("\n") + 1 else ""
    return replace(claim, line=line, digest=blake2b(squeezed(at).encode(), digest_size=8).hexdigest())


def squeezed(text: str) -> str:
    """A text without any space, quotes alike, so that a formatter changes nothing."""
    return re.sub(r"\s+", "", text).replace("'", '"').replace(",)", ")").replace(",]", "]").replace(",}", "}")
