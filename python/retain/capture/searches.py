"""What was looked for, in files and on the web, and where it was found."""

from __future__ import annotations

from typing import Any

from retain.capture import file_changes
from retain.capture.fields import fields_of, items_of, text_of
from retain.capture.wording import RESULT_CHARS_MAX, bounded, one_line
from retain.model import Draft, Event

RESULTS_MAX = 20
URL_CHARS_MAX = 500
"""Files and pages listed in one memory."""


def grep(event: Event, root: str) -> tuple[Draft, ...]:
    """A search in files that found something."""
    asked = fields_of(event.payload, "tool_input")
    response = fields_of(event.payload, "tool_response")
    files = [name for name in items_of(response, "filenames") if isinstance(name, str)]
    content = text_of(response, "content")
    paths = tuple(file_changes.relative_path(name, root) for name in files[:RESULTS_MAX])
    if not text_of(asked, "pattern") or not (files or content):
        return ()
    where = text_of(asked, "path") or text_of(asked, "glob")
    label = f"Searched {text_of(asked, 'pattern')!r}" + (
        f" in {file_changes.relative_path(where, root)}" if where else ""
    )
    found = "\n".join(paths) + (
        f"\n[... {len(files) - len(paths)} more files ...]" if len(files) > len(paths) else ""
    )
    text = "\n".join(
        part for part in (bounded(label, RESULT_CHARS_MAX), found, bounded(content, RESULT_CHARS_MAX)) if part
    )
    return (_search(label, text, event, paths),)


def web_search(event: Event, _root: str) -> tuple[Draft, ...]:
    """A search on the web: the query and the pages found."""
    query = text_of(fields_of(event.payload, "tool_input"), "query").strip()
    if not query:
        return ()
    pages = [
        line
        for result in items_of(fields_of(event.payload, "tool_response"), "results")
        for line in _result_lines(result)
    ]
    label = f"Searched the web: {query}"
    text = "\n".join(
        [bounded(label, RESULT_CHARS_MAX), bounded("\n".join(pages[:RESULTS_MAX]), RESULT_CHARS_MAX)]
    )
    return (_search(label, text.rstrip(), event),)


def _result_lines(result: Any) -> list[str]:
    if isinstance(result, str):
        return [result]
    return [
        f"- {text_of(page, 'title')} {text_of(page, 'url')}".rstrip() for page in items_of(result, "content")
    ]


def web_fetch(event: Event, _root: str) -> tuple[Draft, ...]:
    """A page that was read, and what was asked of it."""
    asked = fields_of(event.payload, "tool_input")
    url = text_of(asked, "url").strip()
    response = event.payload.get("tool_response")
    result = response if isinstance(response, str) else text_of(response, "result")
    if not url:
        return ()
    label = f"Read {url}"
    parts = (
        bounded(label, RESULT_CHARS_MAX),
        text_of(asked, "prompt")[:RESULT_CHARS_MAX],
        bounded(result, RESULT_CHARS_MAX),
    )
    return (_search(label, "\n".join(part for part in parts if part), event, url=url),)


def _search(label: str, text: str, event: Event, paths: tuple[str, ...] = (), url: str = "") -> Draft:
    extra = {"tool": text_of(event.payload, "tool_name"), **({"url": url[:URL_CHARS_MAX]} if url else {})}
    return Draft(kind="search", title=one_line(label), text=text, origin="tool", paths=paths, extra=extra)
