"""What a session did stands in its conversation already: whoever asks there need not be told again.

Counts what hooks saw of the session since it was last compacted, and only until it ends: ``/clear`` ends a session
too, and empties the conversation. What was remembered on purpose is told all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from retain.memory.truth import CLEAR, THIS_SESSION, Asker, Mark
from retain.storage import sessions
from retain.storage.reads import Reader
from retain.storage.truth import Provenance

OWN = Mark(state=THIS_SESSION, note="this session did it itself")


class ConversationCheck:
    """Whether a memory is what the session that asks did itself."""

    def marks(self, reader: Reader, asker: Asker, rows: Sequence[Provenance]) -> tuple[list[Mark], bool]:
        """A mark for each row; where no session asks all are clear."""
        own = [bool(asker.session) and row.captured_by == asker.session for row in rows]
        if not any(own):
            return [CLEAR] * len(rows), True
        since_us = sessions.conversation_since(reader.connection, asker.workspace, asker.session)
        return [
            OWN if mine and since_us is not None and row.places[0][2] >= since_us else CLEAR
            for mine, row in zip(own, rows, strict=True)
        ], True
