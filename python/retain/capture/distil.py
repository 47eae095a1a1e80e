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

from retain.capture import file_changes, searches, shell, tasks
from retain.capture.controls import PUBLIC_MARK
from retain.capture.decisions import find_decisions, is_standing
from retain.capture.fields import Fields, fields_of, items_of, text_of
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
from retain.suspicion import looks_pasted
from retain.trust import UNTRUSTED

__all__ = [
    "DISTILLERS",
    "REDACTED_KEY",
    "TOOLS",
    "ErrorTracker",
    "can_tell",
    "distil",
    "is_prompt_noise",
    "prepare",
    "prompt_title",
    "without_asides",
]

REDACTED_KEY = "retain.redacted"
"""Where ``prepare`` leaves the counts per rule in the payload."""
UNREAD = frozenset({"originalFile", "oldString", "newString", "oldTodos"})
"""What tools return and no distiller reads; the whole file from before an edit is not worth a search for secrets."""
SUMMARY_CHARS_MIN = 24
"""Shorter last messages ("Done.") are no summary."""
OUTPUT_TAIL_SHARE = 0.75

Distiller = Callable[[Event, str], tuple[Draft, ...]]
"""Takes the event and the folder that paths are made relative to."""

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
    payload = {key: value for key, value in event.payload.items() if key != REDACTED_KEY}
    response = payload.get("tool_response")
    if isinstance(response, Mapping) and not UNREAD.isdisjoint(response):
        payload["tool_response"] = {key: value for key, value in response.items() if key not in UNREAD}
    clean = redact_json(payload)
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
    if distiller is None or _OWN_TOOL.match(text_of(event.payload, "tool_name")):
        return ()
    drafts = distiller(event, root or event.cwd)
    seen: Counter[str] = Counter()
    return tuple(_finished(draft, event, seen) for draft in drafts)


def can_tell(payload: Mapping[str, Any]) -> bool:
    """Whether such an event can give a memory; what cannot need not be redacted either."""
    if DISTILLERS.get(payload["hook_event_name"], _nothing) is _nothing:
        return False
    return payload["hook_event_name"] != "PostToolUse" or text_of(payload, "tool_name") in TOOLS


def prompt_title(prompt: str) -> str:
    """The title that a prompt is remembered under; its secrets are still in it."""
    return one_line(without_asides(prompt))


def is_prompt_noise(prompt: str) -> bool:
    """Whether a prompt was written by the client, or says nothing: command output, ``/clear``, "yes"."""
    text = without_asides(prompt)
    return not text or _NOISE.match(text) is not None or text.lower().rstrip(".!") in _ACKNOWLEDGED


def without_asides(prompt: str) -> str:
    """What the user typed: without the client's asides, and without the mark that ends a private stretch."""
    text = _without(prompt, _ASIDES).strip()
    rest = text.removeprefix(PUBLIC_MARK)
    return rest.strip() if rest != text and not rest[:1].isalnum() else text


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
    found = Counter(match["rule"] for match in PLACEHOLDER.finditer(draft.text)) if counts else {}
    known = counts if isinstance(counts, Mapping) else {}
    damaged = {"damaged": event.damaged} if event.damaged else {}
    return draft.changed(
        branch=event.branch,
        commit=event.commit,
        session=event.session or None,
        occurred_at=event.received_at,
        source_id=f"{event.id}:{draft.kind}:{seen[draft.kind] - 1}",
        extra={**draft.extra, **damaged},
        redacted={rule: count for rule, count in found.items() if rule in known},
    )


def _nothing(_event: Event, _root: str) -> tuple[Draft, ...]:
    """A known event that marks a moment and holds no memory."""
    return ()


def _prompt(event: Event, _root: str) -> tuple[Draft, ...]:
    text = without_asides(text_of(event.payload, "prompt"))
    if is_prompt_noise(text):
        return ()
    trust = UNTRUSTED if looks_pasted(text) else None
    draft = Draft(kind="prompt", title=one_line(text), text=bounded(text), origin="user", trust=trust)
    return (draft, *(replace(one, trust=trust) for one in _decisions(text, "user")))


def _decisions(text: str, origin: Origin) -> tuple[Draft, ...]:
    return tuple(
        Draft(
            kind="decision",
            title=one_line(found.sentence),
            text=bounded(found.passage),
            origin=origin,
            extra={
                "sentence": found.sentence,
                **({"standing": True} if origin == "user" and is_standing(found.sentence) else {}),
            },
        )
        for found in find_decisions(text, by_user=origin == "user")
    )


def _stop(event: Event, _root: str) -> tuple[Draft, ...]:
    text = text_of(event.payload, "last_assistant_message").strip()
    return _summary(text, tags=())


def _subagent_stop(event: Event, _root: str) -> tuple[Draft, ...]:
    text = text_of(event.payload, "last_assistant_message").strip()
    kind = text_of(event.payload, "agent_type")
    if not kind and "agent_transcript_path" in event.payload:  # the client's own, which compacts or suggests
        return ()
    return _summary(text, tags=("subagent", kind) if kind else ("subagent",))


def _post_compact(event: Event, _root: str) -> tuple[Draft, ...]:
    text = _LEAD_IN.sub("", _without(text_of(event.payload, "compact_summary"), ("analysis",))).strip()
    return _summary(text, tags=("compact",))


def _summary(text: str, tags: tuple[str, ...]) -> tuple[Draft, ...]:
    if len(text) < SUMMARY_CHARS_MIN:
        return ()
    title = one_line(text.lstrip("#* "))
    draft = Draft(kind="summary", title=title, text=bounded(text), origin="assistant", tags=tags)
    return (draft, *_decisions(text, "assistant"))


def _pre_compact(event: Event, _root: str) -> tuple[Draft, ...]:
    text = text_of(event.payload, "custom_instructions").strip()
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
    tool = TOOLS.get(text_of(event.payload, "tool_name"))
    return tool(event, root) if tool else ()


def _tool_failed(event: Event, _root: str) -> tuple[Draft, ...]:
    payload = event.payload
    tool = text_of(payload, "tool_name")
    outcome = shell.read_outcome(text_of(payload, "error"))
    output = plain(outcome.output).strip()
    if payload.get("is_interrupt") is True or not (output or outcome.exit_code):
        return ()
    command = text_of(fields_of(payload, "tool_input"), "command")
    if tool == "Bash" and command:
        return _failed_command(event, command, shell.Outcome(output, outcome.exit_code or 1))
    return (_error(event, f"{tool or 'tool'} failed", {"tool": tool}, output),)


def _bash(event: Event, _root: str) -> tuple[Draft, ...]:
    command = text_of(fields_of(event.payload, "tool_input"), "command").strip()
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
            "description": one_line(text_of(fields_of(event.payload, "tool_input"), "description")),
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
    content = text_of(fields_of(event.payload, "tool_input"), "content")
    response = fields_of(event.payload, "tool_response")
    patch = file_changes.patch_text(response.get("structuredPatch"))
    if text_of(response, "type") == "update" and patch:
        return _change(event, root, "Rewrote", patch)
    verb = "Rewrote" if text_of(response, "type") == "update" else "Created"
    return _change(event, root, verb, file_changes.created_text(content), defined=content)


def _edit(event: Event, root: str) -> tuple[Draft, ...]:
    patch = file_changes.patch_text(fields_of(event.payload, "tool_response").get("structuredPatch"))
    return _change(event, root, "Edited", patch or _hunk(fields_of(event.payload, "tool_input")))


def _hunk(change: Any) -> str:
    return file_changes.hunk(text_of(change, "old_string"), text_of(change, "new_string"))


def _multi_edit(event: Event, root: str) -> tuple[Draft, ...]:
    hunks = map(_hunk, items_of(fields_of(event.payload, "tool_input"), "edits"))
    return _change(event, root, "Edited", "\n".join(hunk for hunk in hunks if hunk))


def _notebook_edit(event: Event, root: str) -> tuple[Draft, ...]:
    change = fields_of(event.payload, "tool_input")
    source = text_of(change, "new_source")
    verb = {"delete": "Deleted a cell of", "insert": "Added a cell to"}.get(
        text_of(change, "edit_mode"), "Edited a cell of"
    )
    return _change(event, root, verb, file_changes.created_text(source), defined=source)


def _change(event: Event, root: str, verb: str, hunk: str, defined: str | None = None) -> tuple[Draft, ...]:
    asked = fields_of(event.payload, "tool_input")
    given = text_of(asked, "file_path") or text_of(asked, "notebook_path")
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
            extra={"tool": text_of(event.payload, "tool_name")},
        ),
    )


TOOLS: Mapping[str, Distiller] = {
    "Bash": _bash,
    "Write": _write,
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "NotebookEdit": _notebook_edit,
    "TodoWrite": tasks.todo_write,
    "TaskCreate": tasks.task_create,
    "TaskUpdate": tasks.task_update,
    "Grep": searches.grep,
    "Glob": searches.grep,
    "WebSearch": searches.web_search,
    "WebFetch": searches.web_fetch,
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
    "TaskCreated": tasks.task_created,
    "TaskCompleted": tasks.task_completed,
}
"""What each event gives; an event that is not here gives nothing."""
