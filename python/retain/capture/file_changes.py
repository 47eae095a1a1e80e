"""What changed in a file: its path within the workspace, the hunks, the symbols touched."""

from __future__ import annotations

import difflib
import ntpath
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.capture.wording import words

SYMBOLS_MAX = 40
DIFF_LINES_MAX = 400
"""Beyond this many lines on a side the hunk lists removed and added lines without aligning them."""
CREATED_LINES_MAX = 80
PATH_CHARS_MAX = 1_024
SCANNED_CHARS_MAX = 256 * 1024

_SYMBOL = re.compile(
    r"""(?mx)^[ \t+\-]{0,40}
    (?:(?:export|default|pub(?:\([a-z]{1,20}\))?|async|static|public|private|protected|internal|final|abstract
      |unsafe|const|inline|extern|virtual|override|declare)[ \t]+){0,6}
    (?: (?:def|class|fn|function\*?|func|struct|enum|trait|interface|impl|type|record|mod)[ \t]+
        (?:\([^)\n]{0,80}\)[ \t]*)?(?P<named>[A-Za-z_$][\w$]{0,79})
      | (?:let|var)?[ \t]{0,4}(?P<arrow>[A-Za-z_$][\w$]{0,79})[ \t]{0,4}=[ \t]{0,4}
        (?:async[ \t]{1,4})?(?:\([^)\n]{0,120}\)|[\w$]{1,40})[ \t]{0,4}=>
      | (?:[A-Za-z_][\w<>\[\]:]{0,60}+[ \t*&]{1,4}+){1,3}(?P<typed>[A-Za-z_]\w{0,79})
        \([^;\n]{0,200}\)[ \t]{0,4}(?:throws[ \t]\w{1,60}[ \t]{0,4})?\{
    )"""
)
_NOT_SYMBOLS = words(
    """
    if for while switch return else catch new throw sizeof await yield do try with and or not in
    is
    """
)


def relative_path(path: str, root: str) -> str:
    """The path below ``root`` with forward slashes, or the path itself, tidied, where it lies outside."""
    windows = bool(ntpath.splitdrive(path)[0] or "\\" in path)
    tidy = _tidy(path[:PATH_CHARS_MAX], windows=windows)
    base = _tidy(root, windows=windows).rstrip("/") if root else ""
    same = tidy.lower().startswith(base.lower() + "/") if windows else tidy.startswith(base + "/")
    return tidy[len(base) + 1 :] if base and same else tidy


def _tidy(path: str, *, windows: bool) -> str:
    if not path:
        return ""
    return ntpath.normpath(path).replace("\\", "/") if windows else posixpath.normpath(path)


def symbols_in(text: str) -> tuple[str, ...]:
    """Names of functions, classes and types that a text defines (Python, JS, TS, Rust, Go, Java, C)."""
    found: dict[str, None] = {}
    for match in _SYMBOL.finditer(text, 0, SCANNED_CHARS_MAX):
        name = match[match.lastgroup] if match.lastgroup else ""
        if name and name not in _NOT_SYMBOLS:
            found[name] = None
            if len(found) == SYMBOLS_MAX:
                break
    return tuple(found)


def hunk(old: str, new: str) -> str:
    """A compact unified diff of two texts, one line of context."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > DIFF_LINES_MAX:
        return "\n".join([*(f"-{line}" for line in before), *(f"+{line}" for line in after)])
    lines = difflib.unified_diff(before, after, n=1, lineterm="")
    return "\n".join(_without_heads(lines))


def _without_heads(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number >= 2:
            yield "@@" if line.startswith("@@ ") else line


def patch_text(patch: Any) -> str:
    """The hunks that the client reports in ``structuredPatch``; empty where there are none."""
    if not isinstance(patch, list):
        return ""
    return "\n".join(text for text in map(_patch_hunk, patch) if text)


def _patch_hunk(part: Any) -> str:
    lines = part.get("lines") if isinstance(part, Mapping) else None
    if not isinstance(lines, list):
        return ""
    start = part.get("newStart")
    head = f"@@ line {start}" if isinstance(start, int) else "@@"
    return "\n".join([head, *_near_changes([line for line in lines if isinstance(line, str)])])


def _near_changes(lines: Sequence[str]) -> list[str]:
    """The changed lines, and of the others only the neighbours."""
    changed = {number for number, line in enumerate(lines) if line[:1] in {"+", "-"}}
    return [line for number, line in enumerate(lines) if changed & {number - 1, number, number + 1}]


def content_after(payload: Mapping[str, Any]) -> str | None:
    """The whole text of a file after a tool has changed it, where the event tells it; else None."""
    asked, response = payload.get("tool_input"), payload.get("tool_response")
    if not isinstance(asked, Mapping):
        return None
    tool = payload.get("tool_name")
    if tool == "Write":
        content = asked.get("content")
        return content if isinstance(content, str) else None
    before = response.get("originalFile") if isinstance(response, Mapping) else None
    edits = asked.get("edits") if tool == "MultiEdit" else [asked] if tool == "Edit" else None
    if not isinstance(before, str) or not isinstance(edits, list):
        return None
    for edit in edits:
        old = edit.get("old_string") if isinstance(edit, Mapping) else None
        new = edit.get("new_string") if isinstance(edit, Mapping) else None
        if not isinstance(old, str) or not isinstance(new, str) or not old or old not in before:
            return None
        before = before.replace(old, new) if edit.get("replace_all") is True else before.replace(old, new, 1)
    return before


def created_text(content: str) -> str:
    """The head of a new file, as added lines, and how many lines it has."""
    lines = content.splitlines()
    shown = [f"+{line}" for line in lines[:CREATED_LINES_MAX]]
    rest = len(lines) - len(shown)
    return "\n".join([*shown, f"[... {rest} more lines ...]"] if rest > 0 else shown)
