"""Events become drafts, redacted, with what they taint; whatever is wrong with one of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import orjson

from retain.capture.distil import can_tell, distil, prepare
from retain.capture.file_changes import content_after
from retain.capture.redact import redact, redact_json
from retain.capture.taint import taint_of
from retain.git.patches import blob_id
from retain.model import Draft, Event
from retain.storage.trust import Taint

logger = logging.getLogger(__name__)

LETTER_BYTES_MAX = 256 * 1024
LETTER_KEY = "retain.letter"
"""Where a letter holds, before its payload, what was known of the event beside that."""
ERROR_CHARS_MAX = 1_000
UNREADABLE = Taint(source="text", detail="an event that could not be read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Digested:
    """An event, redacted, with the drafts made of it and the key of its workspace.

    ``context`` is what the drafts are about; None asks the store for the last prompt of the session. ``taint`` is what
    it brought into its session that anybody may have written, ``trust`` the tier of where the event itself came from.
    ``late`` is an event whose session has gone on without it.
    """

    event: Event
    workspace: int
    root: str
    drafts: tuple[Draft, ...]
    context: str | None = None
    error: str | None = None
    payload: bytes = b""
    taint: Taint | None = None
    trust: str | None = None
    late: bool = False


def digest(
    event: Event,
    payload: bytes,
    root: str,
    workspace: int,
    *,
    context: str | None = None,
    trust: str | None = None,
) -> Digested:
    """Redacts and distils; an event on which that fails becomes a dead letter, never a failed batch."""
    try:
        # A tool that gives no memory leaves a receipt alone: nothing of what it said is kept, or searched for secrets.
        silent = event.name == "PostToolUse" and not event.damaged and not can_tell(event.payload)
        clean = event if silent else prepare(event)
        drafts = tuple(_with_blobs(draft, event) for draft in distil(clean, root=root))
        found = taint_of(clean, root)
        if found is not None:  # of an event that gives no memory nothing was searched for secrets
            found = replace(found, detail=redact(found.detail).text)
        return Digested(
            event=clean,
            workspace=workspace,
            root=root,
            drafts=drafts,
            context=context,
            taint=found,
            trust=trust,
        )
    except Exception as error:  # noqa: BLE001 - one event must not stop the spool; it is kept and shown
        logger.warning("drain.dead event=%s error=%s", event.name, type(error).__name__)
        return Digested(
            event=event,
            workspace=workspace,
            root=root,
            drafts=(),
            taint=UNREADABLE,
            error=_without_secrets(f"{type(error).__name__}: {error}")[:ERROR_CHARS_MAX],
            payload=_letter(event, payload, trust),
            trust=trust,
        )


def _with_blobs(draft: Draft, event: Event) -> Draft:
    """A change of a file with the blob that git makes of the file as the event left it."""
    if draft.kind != "file_change":
        return draft
    content = content_after(event.payload)
    blobs = {} if content is None else {draft.paths[0]: blob_id(content.encode("utf-8", "replace"))}
    return draft.changed(dirty=True, blobs=blobs)


def _letter(event: Event, payload: bytes, trust: str | None) -> bytes:
    """What is kept of an event that could not be digested: its text without secrets, up to a limit.

    Before it stands what a later version needs to digest it as this one would have, and cannot read from its text.
    Secrets are looked for in the strings of the event; where that is what failed, in the text as it came.
    """
    try:
        told = {name: value for name, value in event.payload.items() if name != LETTER_KEY}
        names = ("cwd", "branch", "commit", "damaged")
        beside = {**{name: getattr(event, name) for name in names}, "trust": trust}
        text = orjson.dumps(redact_json({LETTER_KEY: beside, **told}).value)
    except Exception:  # noqa: BLE001 - the text as it came is left
        text = _without_secrets(payload.decode("utf-8", "replace")).encode()
    return text[:LETTER_BYTES_MAX]


def _without_secrets(text: str) -> str:
    """A text without secrets; nothing of it where redaction itself fails."""
    try:
        return redact(text).text
    except Exception:  # noqa: BLE001 - what could not be searched for secrets is not kept
        return ""
