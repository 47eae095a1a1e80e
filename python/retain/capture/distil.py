"""Redacted events become drafts of memories: pure, deterministic, no model called.

One table entry and one function for each kind of event, and for each tool. What is not in the tables gives
no memory; the receipt keeps the event.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from retain.capture import file_changes, shell
from retain.capture.decisions import find_decisions
from retain.capture.fixes import ErrorTracker
from retain.capture.redact import PLACEHOLDER, redact_json
from retain.capture.signature import failed_tests, looks_failed, read_failure
from retain.capture.wording import (
    COMMAND_CHARS_MAX,
    HUNK_CHARS_MAX,
    OUTPUT_CHARS_MAX,
    RESULT_CHARS_MAX,
    bounded,
    one_line,
    plain,
    words,
)
from retain.model import Draft, Event, Origin

__all__ = ["DISTILLERS", "REDACTED_KEY", "TOOLS", "ErrorTracker", "distil", "is_prompt_noise", "prepare"]

REDACTED_KEY = "retain.redacted"
"""Where ``prepare`` leaves the counts per rule in the payload."""
SUMMARY_CHARS_MIN = 24
"""Shorter last messages ("Done.") are no summary."""
RESULTS_MAX = 20
"""Files, pages and to-do items listed in one memory."""
OUTPUT_TAIL_SHARE = 0.75

Distiller = Callable[[Event, str], tuple[Draft, ...]]
"""Takes the event and the folder that paths are made relative to."""
Fields = Mapping[str, Any]

_OWN_TOOL = re.compile(r"mcp__(?:plugin_)?retain(?:_|\Z)")
_NOISE = re.compile(
    r"\s*(?:<(?:local-command-(?:stdout|stderr|caveat)|session-start-hook|tick|goal|command-(?:name|message|args|contents)"
    r"|bash-(?:input|stdout|stderr)"
    r"|task-notification|user-prompt-submit-hook)\b"
    r"|\[Request interrupted by user|Caveat: The messages below|/[a-z][\w:-]*\s*\Z"
    r"|API Error\b|(?:\[redacted:\w+\]\s*)+\Z)"
)
_ASIDES = ("ide_opened_file", "ide_selection", "ide_diagnostics", "system-reminder")
_ACKNOWLEDGED = words(
    """
    y yes n no ok okay k sure go continue proceed thanks thx 1 2 3
    """
)
_LEAD_IN = re.compile(r"\A\s*This session is being continued[^\n]{0,400}\n|</?summary>")


def prepare(event: Event) -> Event:
    """The event with its secrets taken out and counted; to be called before ``distil``, and once."""
    clean = redact_json({key: value for key, value in event.payload.items() if key != REDACTED_KEY})
    return replace(event, payload={**clean.value, REDACTED_KEY: dict(clean.counts)})


def distil(event: Event, *, root: str | None = None) -> tuple[Draft, ...]:
    """The memories that a prepared event gives, most often none or one.

    Args:
        event: what ``prepare`` returned.
        root: the folder of the workspace; paths below it become relative. Without it, the event's ``cwd``.

    Returns:
        Drafts with ``source_id`` made of the event's id, so that a replay adds nothing. ``redacted`` counts,
        per rule, the placeholders that stand in the draft.
    """
    distiller = DISTILLERS.get(event.name)
    if distiller is None or _OWN_TOOL.match(_text(event.payload, "tool_name")):
        return ()
    drafts = distiller(event, root or event.cwd)
    seen: Counter[str] = Counter()
    return tuple(_finished(draft, event, seen) for draft in drafts)


def is_prompt_noise(prompt: str) -> bool:
    """Whether a prompt was written by the client, or says nothing: command output, ``/clear``, "yes"."""
    text = _without(prompt, _ASIDES).strip()
    return not text or _NOISE.match(text) is not None or text.lower().rstrip(".!") in _ACKNOWLEDGED


def _without(text: str, tags: Sequence[str]) -> str:
    """The text without the closed blocks of these tags; a tag that is never closed stays as it is."""
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        parts = []
        position = 0
        while (start := text.find(opening, position)) >= 0 and (end := text.find(closing, start)) >= 0:
            parts.append(text[position:start])
            position = end + len(closing)
        text = "".join([*parts, text[position:]])
    return text


def _finished(draft: Draft, event: Event, seen: Counter[str]) -> Draft:
    seen[draft.kind] += 1
    counts = event.payload.get(REDACTED_KEY)
    found = Counter(match["rule"] for match in PLACEHOLDER.finditer(draft.text))
    known = counts if isinstance(counts, Mapping) else {}
    damaged = {"damaged": event.damaged} if event.damaged else {}
    return replace(
        draft,
        branch=event.branch,
        commit=event.commit,
        session=event.session or None,
        occurred_at=event.received_at,
        source_id=f"{event.id}:{draft.kind}:{seen[draft.kind] - 1}",
        extra={**draft.extra, **damaged},
        redacted={rule: count for rule, count in found.items() if rule in known},
    )


def _text(fields: Any, key: str) -> str:
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, str) else ""


def _fields(fields: Any, key: str) -> Fields:
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _items(fields: Any, key: str) -> Sequence[Any]:
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, list) else ()


def _nothing(_event: Event, _root: str) -> tuple[Draft, ...]:
    """A known event that marks a moment and holds no memory."""
    return ()


def _prompt(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _without(_text(event.payload, "prompt"), _ASIDES).strip()
    if is_prompt_noise(text):
        return ()
    draft = Draft(kind="prompt", title=one_line(text), text=bounded(text), origin="user")
    return (draft, *_decisions(text, "user"))


def _decisions(text: str, origin: Origin) -> tuple[Draft, ...]:
    return tuple(
        Draft(
            kind="decision",
            title=one_line(found.sentence),
            text=bounded(found.passage),
            origin=origin,
            extra={"sentence": found.sentence},
        )
        for found in find_decisions(text, by_user=origin == "user")
    )


def _stop(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _text(event.payload, "last_assistant_message").strip()
    return _summary(text, tags=())


def _subagent_stop(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _text(event.payload, "last_assistant_message").strip()
    kind = _text(event.payload, "agent_type")
    return _summary(text, tags=("subagent", kind) if kind else ("subagent",))


def _post_compact(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _LEAD_IN.sub("", _without(_text(event.payload, "compact_summary"), ("analysis",))).strip()
    return _summary(text, tags=("compact",))


def _summary(text: str, tags: tuple[str, ...]) -> tuple[Draft, ...]:
    if len(text) < SUMMARY_CHARS_MIN:
        return ()
    title = one_line(text.lstrip("#* "))
    draft = Draft(kind="summary", title=title, text=bounded(text), origin="assistant", tags=tags)
    return (draft, *_decisions(text, "assistant"))


def _pre_compact(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _text(event.payload, "custom_instructions").strip()
    if not text:
        return ()
    return (
        Draft(
            kind="prompt",
            title=one_line(f"Compact: {text}"),
            text=bounded(text),
            origin="user",
            tags=("compact",),
        ),
    )


def _tool_used(event: Event, root: str) -> tuple[Draft, ...]:
    tool = TOOLS.get(_text(event.payload, "tool_name"))
    return tool(event, root) if tool else ()


def _tool_failed(event: Event, _root: str) -> tuple[Draft, ...]:
    payload = event.payload
    tool = _text(payload, "tool_name")
    outcome = shell.read_outcome(_text(payload, "error"))
    output = plain(outcome.output).strip()
    if payload.get("is_interrupt") is True or not (output or outcome.exit_code):
        return ()
    command = _text(_fields(payload, "tool_input"), "command")
    if tool == "Bash" and command:
        return _failed_command(event, command, shell.Outcome(output, outcome.exit_code or 1))
    return (_error(event, f"{tool or 'tool'} failed", {"tool": tool}, output),)


def _bash(event: Event, _root: str) -> tuple[Draft, ...]:
    command = _text(_fields(event.payload, "tool_input"), "command").strip()
    outcome = shell.read_outcome(event.payload.get("tool_response"))
    output = plain(outcome.output).strip()
    if not command:
        return ()
    if outcome.exit_code or (looks_failed(output) and not shell.is_trivial(command)):
        return _failed_command(event, command, shell.Outcome(output, outcome.exit_code))
    if commit := shell.read_commit(command, output):
        return (_commit(commit, command, output),)
    return () if shell.is_trivial(command) else (_command(event, command, output),)


def _failed_command(event: Event, command: str, outcome: shell.Outcome) -> tuple[Draft, ...]:
    if shell.answers_by_exit_code(command) and outcome.exit_code == 1 and not looks_failed(outcome.output):
        return ()
    facts = {
        "command": bounded(command, COMMAND_CHARS_MAX),
        "cwd": event.cwd,
        "exit_code": outcome.exit_code,
        "tests": list(failed_tests(outcome.output)),
    }
    return (_error(event, f"$ {command}", facts, outcome.output),)


def _error(event: Event, what: str, facts: Fields, output: str) -> Draft:
    failure = read_failure(output)
    line = failure.line or f"exit code {facts.get('exit_code', 'unknown')}"
    head = bounded(what, COMMAND_CHARS_MAX)
    tail = bounded(output, OUTPUT_CHARS_MAX, 1 - OUTPUT_TAIL_SHARE)
    code = f" with exit code {facts['exit_code']}" if facts.get("exit_code") else ""
    return Draft(
        kind="error",
        title=one_line(line),
        text=f"{head}\n(in {event.cwd}, failed{code})\n{line}\n\n{tail}".rstrip(),
        origin="hook",
        extra={**facts, "line": line, "signature": failure.signature or line},
    )


def _command(event: Event, command: str, output: str) -> Draft:
    tail = bounded(output, OUTPUT_CHARS_MAX, 1 - OUTPUT_TAIL_SHARE)
    kept = bounded(command, COMMAND_CHARS_MAX)
    return Draft(
        kind="command",
        title=one_line(f"$ {command}"),
        text=f"$ {kept}\n(in {event.cwd}, exit code 0)\n{tail}".rstrip(),
        origin="hook",
        extra={
            "command": kept,
            "cwd": event.cwd,
            "exit_code": 0,
            "description": one_line(_text(_fields(event.payload, "tool_input"), "description")),
        },
    )


def _commit(commit: shell.Commit, command: str, output: str) -> Draft:
    kept = bounded(command, COMMAND_CHARS_MAX)
    report = bounded(output, RESULT_CHARS_MAX)
    return Draft(
        kind="commit",
        title=one_line(commit.subject),
        text="\n".join(
            [commit.subject, f"(commit {commit.commit} on {commit.branch})", report, "", f"$ {kept}"]
        ),
        origin="hook",
        extra={"commit": commit.commit, "branch": commit.branch, "subject": commit.subject, "command": kept},
    )


def _write(event: Event, root: str) -> tuple[Draft, ...]:
    content = _text(_fields(event.payload, "tool_input"), "content")
    response = _fields(event.payload, "tool_response")
    patch = file_changes.patch_text(response.get("structuredPatch"))
    if _text(response, "type") == "update" and patch:
        return _change(event, root, "Rewrote", patch)
    verb = "Rewrote" if _text(response, "type") == "update" else "Created"
    return _change(event, root, verb, file_changes.created_text(content), defined=content)


def _edit(event: Event, root: str) -> tuple[Draft, ...]:
    patch = file_changes.patch_text(_fields(event.payload, "tool_response").get("structuredPatch"))
    return _change(event, root, "Edited", patch or _hunk(_fields(event.payload, "tool_input")))


def _hunk(change: Any) -> str:
    return file_changes.hunk(_text(change, "old_string"), _text(change, "new_string"))


def _multi_edit(event: Event, root: str) -> tuple[Draft, ...]:
    hunks = map(_hunk, _items(_fields(event.payload, "tool_input"), "edits"))
    return _change(event, root, "Edited", "\n".join(hunk for hunk in hunks if hunk))


def _notebook_edit(event: Event, root: str) -> tuple[Draft, ...]:
    change = _fields(event.payload, "tool_input")
    source = _text(change, "new_source")
    verb = {"delete": "Deleted a cell of", "insert": "Added a cell to"}.get(
        _text(change, "edit_mode"), "Edited a cell of"
    )
    return _change(event, root, verb, file_changes.created_text(source), defined=source)


def _change(event: Event, root: str, verb: str, hunk: str, defined: str | None = None) -> tuple[Draft, ...]:
    asked = _fields(event.payload, "tool_input")
    given = _text(asked, "file_path") or _text(asked, "notebook_path")
    path = file_changes.relative_path(given, root)
    if not path:
        return ()
    symbols = file_changes.symbols_in(hunk if defined is None else defined)
    named = f" ({', '.join(symbols[:4])})" if symbols else ""
    return (
        Draft(
            kind="file_change",
            title=one_line(f"{verb} {path}{named}"),
            text=f"{verb} {path}\n{bounded(hunk, HUNK_CHARS_MAX)}".rstrip(),
            paths=(path,),
            symbols=symbols,
            origin="hook",
            extra={"tool": _text(event.payload, "tool_name")},
        ),
    )


_TODO_MARKS: Mapping[str, str] = {"completed": "[x]", "in_progress": "[>]"}


def _todo_write(event: Event, _root: str) -> tuple[Draft, ...]:
    todos = [
        todo
        for todo in _items(_fields(event.payload, "tool_input"), "todos")
        if _text(todo, "content").strip()
    ]
    if not todos:
        return ()
    states = [_text(todo, "status") for todo in todos]
    lines = [
        f"{_TODO_MARKS.get(state, '[ ]')} {_text(todo, 'content').strip()}"
        for todo, state in zip(todos, states, strict=True)
    ]
    now = next(
        (_text(todo, "content") for todo, state in zip(todos, states, strict=True) if state == "in_progress"),
        "",
    )
    done = states.count("completed")
    title = f"To do: {done} of {len(todos)} done" + (f"; now {now}" if now else "")
    extra = {"done": done, "total": len(todos)}
    return (
        Draft(
            kind="task",
            title=one_line(title),
            text=bounded("\n".join(lines)),
            origin="assistant",
            extra=extra,
        ),
    )


def _task_create(event: Event, _root: str) -> tuple[Draft, ...]:
    asked = _fields(event.payload, "tool_input")
    made = _fields(_fields(event.payload, "tool_response"), "task")
    return _task(_text(made, "id"), _text(asked, "subject"), _text(asked, "description"), "pending")


def _task_update(event: Event, _root: str) -> tuple[Draft, ...]:
    asked = _fields(event.payload, "tool_input")
    status = _text(asked, "status")
    number = _text(asked, "taskId")
    subject = _text(asked, "subject") or (f"task {number}" if number else "")
    return (
        _task(number, subject, _text(asked, "description"), status)
        if status or _text(asked, "subject")
        else ()
    )


def _task_created(event: Event, _root: str) -> tuple[Draft, ...]:
    payload = event.payload
    return _task(
        _text(payload, "task_id"),
        _text(payload, "task_subject"),
        _text(payload, "task_description"),
        "pending",
    )


def _task_completed(event: Event, _root: str) -> tuple[Draft, ...]:
    payload = event.payload
    return _task(
        _text(payload, "task_id"),
        _text(payload, "task_subject"),
        _text(payload, "task_description"),
        "completed",
    )


def _task(number: str, subject: str, description: str, status: str) -> tuple[Draft, ...]:
    """The same task told by its tool and by its event reads the same, so that the store merges them."""
    subject = subject.strip()
    if not subject:
        return ()
    state = status or "pending"
    text = f"{_TODO_MARKS.get(state, '[ ]')} {subject}\n{description}".strip()
    extra = {"task_id": number, "status": state}
    return (
        Draft(
            kind="task",
            title=one_line(f"Task {state}: {subject}"),
            text=bounded(text),
            origin="assistant",
            extra=extra,
        ),
    )


def _grep(event: Event, root: str) -> tuple[Draft, ...]:
    asked = _fields(event.payload, "tool_input")
    response = _fields(event.payload, "tool_response")
    files = [name for name in _items(response, "filenames") if isinstance(name, str)]
    content = _text(response, "content")
    paths = tuple(file_changes.relative_path(name, root) for name in files[:RESULTS_MAX])
    if not _text(asked, "pattern") or not (files or content):
        return ()
    where = _text(asked, "path") or _text(asked, "glob")
    label = f"Searched {_text(asked, 'pattern')!r}" + (
        f" in {file_changes.relative_path(where, root)}" if where else ""
    )
    found = "\n".join(paths) + (
        f"\n[... {len(files) - len(paths)} more files ...]" if len(files) > len(paths) else ""
    )
    text = "\n".join(
        part for part in (bounded(label, RESULT_CHARS_MAX), found, bounded(content, RESULT_CHARS_MAX)) if part
    )
    return (_search(label, text, event, paths),)


def _web_search(event: Event, _root: str) -> tuple[Draft, ...]:
    query = _text(_fields(event.payload, "tool_input"), "query").strip()
    if not query:
        return ()
    pages = [
        line
        for result in _items(_fields(event.payload, "tool_response"), "results")
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
    return [f"- {_text(page, 'title')} {_text(page, 'url')}".rstrip() for page in _items(result, "content")]


def _web_fetch(event: Event, _root: str) -> tuple[Draft, ...]:
    asked = _fields(event.payload, "tool_input")
    url = _text(asked, "url").strip()
    response = event.payload.get("tool_response")
    result = response if isinstance(response, str) else _text(response, "result")
    if not url:
        return ()
    label = f"Read {url}"
    parts = (
        bounded(label, RESULT_CHARS_MAX),
        _text(asked, "prompt")[:RESULT_CHARS_MAX],
        bounded(result, RESULT_CHARS_MAX),
    )
    return (_search(label, "\n".join(part for part in parts if part), event),)


def _search(label: str, text: str, event: Event, paths: tuple[str, ...] = ()) -> Draft:
    extra = {"tool": _text(event.payload, "tool_name")}
    return Draft(kind="search", title=one_line(label), text=text, origin="tool", paths=paths, extra=extra)


TOOLS: Mapping[str, Distiller] = {
    "Bash": _bash,
    "Write": _write,
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "NotebookEdit": _notebook_edit,
    "TodoWrite": _todo_write,
    "TaskCreate": _task_create,
    "TaskUpdate": _task_update,
    "Grep": _grep,
    "Glob": _grep,
    "WebSearch": _web_search,
    "WebFetch": _web_fetch,
}
"""What each tool's success gives; a tool that is not here gives nothing."""

DISTILLERS: Mapping[str, Distiller] = {
    "SessionStart": _nothing,
    "UserPromptSubmit": _prompt,
    "PostToolUse": _tool_used,
    "PostToolUseFailure": _tool_failed,
    "Stop": _stop,
    "SubagentStop": _subagent_stop,
    "PreCompact": _pre_compact,
    "PostCompact": _post_compact,
    "SessionEnd": _nothing,
    "TaskCreated": _task_created,
    "TaskCompleted": _task_completed,
}
"""What each event gives; an event that is not here gives nothing."""
