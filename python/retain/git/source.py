"""What a file of code defines: a tolerant reader that asks for one name at a time.

It is no parser: comments and strings are blanked, then declarations are found by their shape. That takes microseconds
where the name is not there at all, works on files that do not parse, and needs no grammar installed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property, lru_cache
from itertools import pairwise

PYTHON, CURLY, SCRIPT, GO, RUST, RUBY, SHELL, DATA, PROSE = (
    "python", "curly", "script", "go", "rust", "ruby", "shell", "data", "prose",
)  # fmt: skip

LANGUAGES = {
    PYTHON: ".py .pyi .pyx",
    SCRIPT: ".js .jsx .mjs .cjs .ts .tsx .mts .cts .vue .svelte",
    RUST: ".rs",
    GO: ".go",
    CURLY: ".java .c .h .cc .cpp .cxx .hpp .hh .cs .kt .kts .swift .scala .php .dart .m .zig",
    RUBY: ".rb .rake",
    SHELL: ".sh .bash .zsh .mk",
    DATA: ".toml .yaml .yml .json .ini .cfg .conf .env .properties",
}
_BY_SUFFIX = {suffix: name for name, suffixes in LANGUAGES.items() for suffix in suffixes.split()}

_HASH = r"\#[^\n]*"
_SLASHES = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_QUOTED = r'"(?:\\.|[^"\\\n])*"'
_SINGLE = r"'(?:\\.|[^'\\\n])*'"
_PATTERN = r"(?:(?<=[=(,:!&|?;{}\[])|(?<=return))[ \t]*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/"
"""A regular expression of JavaScript, whose quotes open no string."""
_OPAQUE = {
    PYTHON: rf'"""(?:\\.|[^\\])*?(?:"""|\Z)|\'\'\'(?:\\.|[^\\])*?(?:\'\'\'|\Z)|{_QUOTED}|{_SINGLE}|{_HASH}',
    SCRIPT: rf"{_SLASHES}|{_PATTERN}|{_QUOTED}|{_SINGLE}|`(?:\\.|[^`\\])*`",
    RUST: rf"{_SLASHES}|\br(?P<fence>\#+)\".*?(?:\"(?P=fence)|\Z)|\"(?:\\.|[^\"\\])*\"|'(?:\\[^']{{1,9}}|[^'\\\n])'",
    GO: rf"{_SLASHES}|{_QUOTED}|{_SINGLE}|`[^`]*`",
    CURLY: rf"{_SLASHES}|{_QUOTED}|{_SINGLE}",
    RUBY: rf"{_QUOTED}|{_SINGLE}|{_HASH}",
    SHELL: rf"{_QUOTED}|(?<!\S){_HASH}",
    DATA: rf"{_QUOTED}|{_SINGLE}|(?<!\S)[\#;][^\n]*|(?<!\S)//[^\n]*",
}
_OPAQUE_RE = {name: re.compile(pattern, re.DOTALL) for name, pattern in _OPAQUE.items()}
_COMMENTS = {"#", "/", ";"}

_PLAIN = r"[ \t]*"
_MODIFIERS = (
    r"(?:(?:export|default|declare|pub(?:\([^)\n]*\))?|async|unsafe|extern(?:[ ]+\"?[^\"\n]*\"?)?|const|static|public"
    r"|private|protected|internal|final|abstract|inline|virtual|override|sealed|open|suspend|partial|readonly"
    r"|get|set|\*)[ \t]+)*"
)
_DECLARED = (
    r"(?m:^)[ \t]*(?:@[\w.]+(?:\([^()\n]*\))?[ \t]+)*"
    r"(?!(?:return|else|do|new|throw|case|goto|delete|await|yield|using|co_return|co_await|assert)\b)"
)
"""Before what a declaration of the family of C begins with; what calls a function begins otherwise."""
_KEYWORDS = {
    PYTHON: r"(?m)^[ \t]*(?:async[ \t]+)?(?:def|class|cdef[ \t]+class)[ \t]+{name}\b",
    SCRIPT: (
        r"(?m)^[ \t]*" + _MODIFIERS + r"(?:function[ \t]*\*?|class|interface|enum|type|namespace|module)[ \t]+{name}\b"
        r"|(?m:^)(?:export[ \t]+)?(?:declare[ \t]+)?(?:const|let|var)[ \t]+{name}\b"
        r"|(?m:^)[ \t]{{0,4}},[ \t]*{name}[ \t]*="
        r"|(?m:^)[ \t]+" + _MODIFIERS + r"\*?[ \t]*\#?{name}[ \t]*(?:<[^>\n]*>)?\([^;{{}}]*\)[ \t]*(?::[^;{{}}\n]+)?\{{"
        r"|(?m:^)[ \t]*[\w.$]+\.{name}[ \t]*=(?!=)"
        r"|(?m:^)[ \t]*(?:(?:const|let|var|export)[ \t]+)*{name}[ \t]*[:=][ \t]*(?:async[ \t]*)?"
        r"(?:function\b|(?:\([^()\n]*\)|\w+)[ \t]*=>)"
        r"|=[ \t]*(?:async[ \t]+)?function[ \t]*\*?[ \t]+{name}\b|(?:\(|return|:)[ \t]*function[ \t]+{name}\b"
    ),
    RUST: (
        r"\b(?:fn|struct|enum|union|trait|type|mod|const|static(?:[ ]+mut)?)[ \t]+{name}\b"
        r"|\bmacro_rules![ \t]*{name}\b"
    ),
    GO: (
        r"(?m)^(?:func|type|var|const)[ \t]+{name}\b|(?m:^)func[ \t]*\([^)\n]*\)[ \t]*{name}\b"
    ),
    CURLY: (
        r"\b(?:class|interface|trait|record|namespace|object|fun|func|function|def|protocol|typealias"
        r"|extension|type|val|let|const)[ \t]+{name}\b"
        r"|\b(?:struct|enum|union)[ \t]+{name}\b(?=[^;(){{}}=*&,]*\{{)"
        r"|(?m:^)[ \t]*\#[ \t]*define[ \t]+{name}\b|\btypedef\b[^;{{}}]*\b{name}[ \t]*;|\}}[ \t]*{name}[ \t]*;"
        r"|" + _DECLARED + r"(?:[A-Za-z_<][\w<>\[\],.:?]{{0,60}}[ \t\n&*]{{1,20}}){{1,6}}"
        r"(?:[\w:]+::)?[*&]*{name}[ \t]*\([^;{{}}]*\)"
        r"[\w \t\n:,]*(?:=[ \t]*(?:0|default|delete)[ \t]*)?[{{;]"
        r"|" + _DECLARED + r"(?:[A-Za-z_<][\w<>\[\],.?]{{0,60}}[ \t&*]{{1,20}}){{1,6}}"
        r"{name}(?:\[[^\]\n]*\])*[ \t]*=(?!=)"
    ),
    RUBY: r"(?m)^[ \t]*(?:def|class|module)[ \t]+(?:self\.|[\w:]+(?:::|\.))?{name}(?![\w])"
    r"|(?m:^)[ \t]*{name}[ \t]*=(?!=)",
    SHELL: r"(?m)^[ \t]*(?:function[ \t]+)?{name}[ \t]*\(\)|(?m:^)[ \t]*function[ \t]+{name}\b"
    r"|(?m:^)[ \t]*(?:export[ \t]+|readonly[ \t]+|local[ \t]+)?{name}[:?+]?=|(?m:^){name}[ \t]*:(?!=)",
    DATA: r"(?m)^[ \t]*(?:-[ \t]+)?{name}[ \t]*[:=]|(?m:^)[ \t]*\[+[\w.\"-]*\b{name}\b[\w.\"-]*\]+",
}  # fmt: skip
_KEYED = r"(?m)(?:^|[\{{,])[ \t]*(?:-[ \t]+)?[\"']{name}[\"'][ \t]*[:=]"
_ASSIGNED = r"(?m)^(?P<indent>[ \t]*)(?:[\w.]+[ \t]*=[ \t]*)*{name}[ \t]*(?:=(?!=)|:(?!=))"
_UNPACKED = r"(?m)^(?P<indent>[ \t]*)\(?[\w \t,*]*\b{name}\b[\w \t,*]*\)?[ \t]*=(?!=)"
_TYPE_WORDS = (
    r"\b(?:class|struct|enum|union|interface|trait|mod|module|namespace|object|record|extension"
    r"|type)\b[^;{{}}=]*?\b{name}\b[^;{{}}=]*\{{"
    r"|\bimpl\b[^;{{}}]*?\b{name}\b[^;{{}}]*\{{"
)
_VALUED = {
    GO: r"(?m)^[ \t]*(?:(?:var|const)[ \t]+)?{name}(?:[ \t]+[\w.\[\]*]+)?[ \t]*=(?!=)",
    DATA: r"(?m)^[ \t]*(?:-[ \t]+)?[\"']?{name}[\"']?[ \t]*[:=]",
    SHELL: r"(?m)^[ \t]*(?:export[ \t]+|readonly[ \t]+|local[ \t]+)?{name}[ \t]*[:?+]?=",
    CURLY: r"\b{name}(?:\[[^\]\n]*\])*[ \t]*(?::[^=\n;]+)?=(?!=)|(?m:^)[ \t]*\#[ \t]*define[ \t]+{name}[ \t]",
}
_VALUED_ANYWHERE = r"(?:\b|(?<=\$)){name}[ \t]*(?::[^=\n;]+)?=(?![=>])"
_BRACKET = re.compile(r"[()\[\]{}\n]")
_CLOSERS = {")", "]", "}"}
_GO_GROUP = re.compile(r"(?m)^(?:const|var|type)[ \t]*\(\n(.*?)^\)", re.DOTALL)
_OPENER = re.compile(
    r"(async[ \t]+def|def|class|if|elif|else|for|async|while|try|except|finally|with|match|case)\b"
)


def language_of(path: str) -> str:
    """The family of languages that the name of a file says; ``prose`` where it is none of them."""
    name = path.rsplit("/", 1)[-1]
    if name in {"Makefile", "makefile", "GNUmakefile", "Justfile", "justfile"}:
        return SHELL
    dot = name.rfind(".")
    return _BY_SUFFIX.get(name[dot:].lower(), PROSE) if dot >= 0 else PROSE


@lru_cache(maxsize=4_096)
def _compiled(pattern: str, name: str) -> re.Pattern[str]:
    return re.compile(pattern.format(name=re.escape(name)))


class Source:
    """The text of one file; what is needed of it is worked out once."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.language = language_of(path)

    @cached_property
    def code(self) -> str:
        """The text with comments and strings blanked, at the same offsets."""
        opaque = _OPAQUE_RE.get(self.language)
        return opaque.sub(_blank, self.text) if opaque else self.text

    @cached_property
    def uncommented(self) -> str:
        """The text with comments blanked, at the same offsets."""
        opaque = _OPAQUE_RE.get(self.language)
        return opaque.sub(_blank_comment, self.text) if opaque else self.text

    @cached_property
    def flat(self) -> str:
        """The code with what stands in brackets blanked, line breaks too: one statement a line."""
        return _flattened(self.code)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def line_at(self, offset: int) -> int:
        """The number of the line of an offset, from 1."""
        return bisect_right(self._starts, offset)

    def line_of(self, name: str) -> int:
        """The line where a symbol is defined, ``Type.member`` within its type; 0 where it is not."""
        *owners, last = [part for part in re.split(r"::|\.|#", name) if part]
        if last not in self.text or any(owner not in self.text for owner in owners):
            return 0
        if not owners:
            return self._defined(last, 0, len(self.text), nested=False)
        for start, end in self._spans(owners[-1], last):
            if found := self._defined(last, start, end, nested=True):
                return found
        return 0

    def _defined(self, name: str, start: int, end: int, *, nested: bool) -> int:
        keyword = _KEYWORDS.get(self.language)
        if keyword is None:
            return 0
        if match := _compiled(keyword, name).search(self.code, start, end):
            return self.line_at(match.end())
        if self.language == PYTHON:
            return self._assigned(name, start, end, nested=nested)
        if self.language == DATA and (match := _compiled(_KEYED, name).search(self.text, start, end)):
            return self.line_at(match.end())
        if self.language == GO:
            return self._grouped(name)
        return 0

    def _assigned(self, name: str, start: int, end: int, *, nested: bool) -> int:
        for pattern in (_ASSIGNED, _UNPACKED):
            for match in _compiled(pattern, name).finditer(self.flat, start, end):
                floor = start if nested else 0
                if not self._in_function(match.start(), len(match["indent"].expandtabs()), floor):
                    return self.line_at(match.end())
        return 0

    def _in_function(self, offset: int, indent: int, floor: int = 0) -> bool:
        """Whether a statement of Python stands within a function: looks up the blocks around it, down to an offset."""
        while indent > 0 and offset > floor:
            start = self.flat.rfind("\n", 0, max(0, offset - 1)) + 1
            line = self.flat[start:offset]
            own = line.expandtabs()
            width = len(own) - len(own.lstrip())
            if own.strip() and width < indent and (match := _OPENER.match(own.strip())):
                if match[1].endswith(("def", "class")):
                    return match[1] != "class"
                indent = width
            if start == 0:
                break
            offset = start
        return False

    def _grouped(self, name: str) -> int:
        """Go: constants, variables and types that are declared together in parentheses."""
        for group in _GO_GROUP.finditer(self.code):
            match = _compiled(r"(?m)^[ \t]+(?:\w+[ \t]*,[ \t]*)*{name}\b", name).search(
                self.code, group.start(1), group.end(1)
            )
            if match:
                return self.line_at(match.end())
        return 0

    def _spans(self, owner: str, member: str) -> list[tuple[int, int]]:
        """Where the members of a type are told."""
        if self.language == PYTHON:
            return self._python_spans(owner)
        found = []
        if self.language == GO:
            method = _compiled(
                r"(?m)^func[ \t]*\([^)\n]*\b{name}\b[^)\n]*\)[ \t]*" + re.escape(member) + r"\b", owner
            )
            found += [(match.start(), match.end()) for match in method.finditer(self.code)]
        elif self.language == SCRIPT:
            own = _compiled(r"\b{name}\.(?:prototype\.)?" + re.escape(member) + r"[ \t]*=", owner)
            found += [(self.code.rfind("\n", 0, m.start()) + 1, m.end() + 1) for m in own.finditer(self.code)]
        for match in _compiled(_TYPE_WORDS, owner).finditer(self.code):
            found.append((match.end(), _closed(self.code, match.end())))
        return found

    def _python_spans(self, owner: str) -> list[tuple[int, int]]:
        found = []
        for match in _compiled(r"(?m)^(?P<indent>[ \t]*)class[ \t]+{name}\b[^\n]*\n", owner).finditer(
            self.flat
        ):
            width = len(match["indent"].expandtabs())
            end = match.end()
            for line in re.finditer(r"[^\n]*(?:\n|\Z)", self.flat[match.end() :]):
                text = line.group().expandtabs()
                if text.strip() and len(text) - len(text.lstrip()) <= width:
                    break
                end = match.end() + line.end()
                if not line.group():
                    break
            found.append((match.start() + len(match.group()) - 1, end))
        return found

    def values_of(self, name: str) -> list[str]:
        """What a constant is set to, each as it is written, without comments."""
        last = re.split(r"::|\.", name)[-1]
        if last not in self.text:
            return []
        if self.language == PYTHON:
            matches = [
                match
                for match in _compiled(
                    r"(?m)^(?P<indent>[ \t]*){name}[ \t]*(?::[^=\n]+)?=(?!=)", last
                ).finditer(self.flat)
                if not self._in_function(match.start(), len(match["indent"].expandtabs()))
            ]
            return [self._value(match.end(), self.flat) for match in matches]
        text = self.text if self.language == DATA else self.code
        pattern = _compiled(_VALUED.get(self.language, _VALUED_ANYWHERE), last)
        return [self._value(match.end(), self.code) for match in pattern.finditer(text)]

    def _value(self, start: int, shape: str) -> str:
        end = shape.find("\n", start)
        end = len(shape) if end < 0 else end
        if self.language in {CURLY, RUST, SCRIPT}:
            semicolon = shape.find(";", start, end)
            end = semicolon if semicolon >= 0 else end
        return self.uncommented[start:end].strip().rstrip(",").strip()

    def line_with(self, name: str, value: str = "") -> int:
        """The first line that has a name, with a value on it where one has both; 1 where none has the name."""
        whole = _compiled(r"(?i)(?<![\w-]){name}(?![\w-])", name)
        lines = [number for number, line in enumerate(self.text.splitlines(), 1) if whole.search(line)]
        told = self.text.splitlines()
        return next((one for one in lines if value in told[one - 1]), lines[0] if lines else 1)

    def says(self, line: str) -> int:
        """The line where a piece of code stands, whatever the spaces and line breaks in it; 0 where it does not."""
        pattern = _spaced(line)
        match = pattern.search(self.text) if pattern else None
        return self.line_at(match.start()) if match else 0


_TOKEN = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=4_096)
def _spaced(line: str) -> re.Pattern[str] | None:
    """Matches the tokens of a line with any space between them."""
    tokens = _TOKEN.findall(line)
    if not tokens:
        return None
    pattern = re.escape(tokens[0])
    for before, token in pairwise(tokens):
        both = (before[-1].isalnum() or before[-1] == "_") and (token[0].isalnum() or token[0] == "_")
        pattern += (r"\s+" if both else r"\s*") + re.escape(token)
    first, last = tokens[0][0], tokens[-1][-1]
    ahead = r"(?<!\w)" if first.isalnum() or first == "_" else ""
    behind = r"(?!\w)" if last.isalnum() or last == "_" else ""
    return re.compile(ahead + pattern + behind)


def _blank(match: re.Match[str]) -> str:
    text = match.group()
    if "\n" not in text:
        return " " * len(text)
    return "\n".join(" " * len(line) for line in text.split("\n"))


def _blank_comment(match: re.Match[str]) -> str:
    return _blank(match) if match.group()[0] in _COMMENTS else match.group()


def _flattened(code: str) -> str:
    parts: list[str] = []
    depth, kept = 0, 0
    for match in _BRACKET.finditer(code):
        mark = match.group()
        if mark in _CLOSERS:
            depth = max(0, depth - 1)
            if depth == 0 and match.start() >= kept:
                parts.append(" " * (match.start() - kept))
                kept = match.start()
        elif mark == "\n":
            if depth and code[match.end() : match.end() + 4] in {"def ", "clas"}:
                # An unclosed bracket, as in a file that does not parse: what begins at the margin is a statement.
                parts.append(" " * (match.start() - kept))
                depth, kept = 0, match.start()
        else:
            if depth == 0:
                parts.append(code[kept : match.end()])
                kept = match.end()
            depth += 1
    parts.append(code[kept:] if depth == 0 else " " * (len(code) - kept))
    return "".join(parts)


def _closed(code: str, start: int) -> int:
    """The offset of the brace that closes the one before an offset."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(code, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.end()
    return len(code)
