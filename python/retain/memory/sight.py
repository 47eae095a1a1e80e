"""What of the memories may be told unasked where a session is: trusted, true there, and not read already.

Whoever puts memories before the model without a question reads them through a ``Sight``, so that no way of telling
can forget what a recall checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from retain.capture.client_memory import Loaded
from retain.memory.truth import CLEAR, WITHHELD, Asker, Gate
from retain.model import Hit, Memory
from retain.storage.reads import Reader
from retain.trust import may_be_told

LOADED = "loaded_by_client"
UNTRUSTED = "untrusted"
DAMAGED = "damaged"

OVERFETCH = 4
"""So many times as many are fetched as are wanted, where some may be withheld."""


@dataclass(slots=True, kw_only=True)
class Sight:
    """Where a session is, and what it has before it.

    Attributes:
        gate: checks what memories say against git; None checks nothing.
        asker: from where.
        loaded: what the client has loaded by itself.
        hidden: why how many were left out; counted while it is used.
    """

    gate: Gate | None = None
    asker: Asker | None = None
    loaded: Loaded | None = None
    hidden: dict[str, int] = field(default_factory=dict)

    @property
    def reach(self) -> int:
        """How many times as many to fetch as are wanted."""
        return OVERFETCH if self.gate and self.asker else 1

    def memories(self, reader: Reader, keys: Sequence[int], most: int | None = None) -> list[Memory]:
        """The first ``most`` of the memories, in the order of their keys, that may be told; marks stand in titles."""
        marks = self.gate.marks(reader, self.asker, keys)[0] if self.gate and self.asker and keys else {}
        known = reader.load([key for key in keys if marks.get(key, CLEAR).state not in WITHHELD])
        told: list[Memory] = []
        for key in keys:
            mark = marks.get(key, CLEAR)
            if mark.state in WITHHELD:
                self._hide(mark.state)
            elif key not in known:
                self._hide(DAMAGED)
            elif not may_be_told(known[key].trust):
                self._hide(UNTRUSTED)
            elif self.holds(known[key]):
                self._hide(LOADED)
            elif most is None or len(told) < most:
                shown = observed_of(known[key])
                told.append(titled(shown, mark.note) if mark.note else shown)
        return told

    def holds(self, memory: Memory) -> bool:
        """Whether the client has already loaded what a memory says."""
        return self.loaded is not None and self.loaded.holds(memory.text, memory.id)

    def tells(self, hits: Sequence[Hit]) -> list[Hit]:
        """Those of some hits that may be told."""
        told: list[Hit] = []
        for hit in hits:
            if not may_be_told(hit.memory.trust):
                self._hide(UNTRUSTED)
            elif self.holds(hit.memory):
                self._hide(LOADED)
            else:
                shown = observed_of(hit.memory)
                cut = shown is not hit.memory
                told.append(replace(hit, memory=shown, snippet="") if cut else hit)
        return told

    def _hide(self, reason: str) -> None:
        self.hidden[reason] = self.hidden.get(reason, 0) + 1


def observed_of(memory: Memory) -> Memory:
    """A command or an error without the output of the program, of which hooks saw only that it was printed."""
    end = {"error": "\n\n", "command": "exit code 0)\n"}.get(memory.kind, "")
    place = memory.text.find(end) if end else -1
    return memory if place < 0 else replace(memory, text=memory.text[: place + len(end)].rstrip())


def titled(memory: Memory, mark: str) -> Memory:
    """The memory with a mark before its title, for a line."""
    return replace(memory, title=f"{mark}: {memory.title}")
