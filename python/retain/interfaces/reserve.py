"""Room that is set aside at the start, so that a process at its limit can still say so and give up what it holds.

Where an allocation fails, Python raises, but whatever would answer needs room too: the loop, the line to be written.
The pages of the reserve are never touched, so they take no RAM; they count against RLIMIT_DATA and RLIMIT_AS.
"""

from __future__ import annotations

import errno
import mmap

RESERVE_BYTES = 4 << 20


class Reserve:
    """Room that can be spent once, and taken back when there is some again."""

    def __init__(self) -> None:
        self._held: mmap.mmap | None = None
        self.refill()

    def spend(self) -> bool:
        """Gives the room back to the process; False where it was spent already."""
        held, self._held = self._held, None
        if held is not None:
            held.close()
        return held is not None

    def refill(self) -> None:
        """Sets the room aside again, where there is so much."""
        if self._held is None:
            try:
                self._held = mmap.mmap(-1, RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except (OSError, MemoryError):
                return  # it is tried again by the next request


def found_no_room(error: BaseException) -> bool:
    """Whether this error, or one that it came from, is a system that had no memory to give.

    Python says so in three ways, SQLite in a fourth: an allocation raises MemoryError, a system call OSError (ENOMEM),
    a thread that gets no stack RuntimeError, and SQLite its own NoMemError.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, MemoryError) or type(found).__name__ == "NoMemError":
            return True
        if isinstance(found, OSError) and found.errno == errno.ENOMEM:
            return True
        if isinstance(found, RuntimeError) and "start new thread" in str(found):
            return True
        found = found.__cause__ or found.__context__
    return False
