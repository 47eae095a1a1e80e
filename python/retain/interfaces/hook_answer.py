"""``retain hook --answer``: tells a session at its start what it should know, where no server lives to do it.

The event was kept already, by whoever started this. Only SessionStart is answered: a recall for a prompt needs
what takes longer to load than a prompt may wait. Always prints one JSON object and exits 0.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from retain.capture.controls import holds_back
from retain.capture.parse import load_json
from retain.capture.spool import PAYLOAD_BYTES_MAX
from retain.config import read_settings
from retain.errors import RetainError
from retain.interfaces.hook import read_bounded
from retain.interfaces.questions import EMPTY, allowed, rendered, told_event

START = "SessionStart"


def main() -> int:
    """Answers the event on stdin; returns 0, always."""
    printed = False
    try:
        settings, _ = read_settings()
        data = read_bounded(0, PAYLOAD_BYTES_MAX)[0]
        payload = None if holds_back(str(settings.home), data, _cwd()) else load_json(data)
        event = told_event(payload, _cwd()) if isinstance(payload, dict) else None
        if event is not None and event.name == START and allowed(event):
            from retain.memory.cold_start import answer_start, keep_receipt

            answer = answer_start(settings, event)
            if answer is not None:
                printed = _print(rendered(START, answer.block.text))
                keep_receipt(settings, answer)
    except RetainError as error:
        sys.stderr.write(f"retain: hook.unanswered code={error.code}\n")
    except Exception as error:  # noqa: BLE001 - the outermost frame of a hook: it must not fail a session
        sys.stderr.write(f"retain: hook.unanswered type={type(error).__name__}\n")
    if not printed:
        _print(EMPTY)
    return 0


def _print(answer: bytes) -> bool:
    """Prints the one answer; True, whether or not anybody reads it."""
    with suppress(OSError):
        os.write(1, answer + b"\n")
    return True


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - as the hook reads it
    except OSError:
        return ""
