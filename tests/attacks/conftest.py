"""A spool to fill, as the tests of the drain have it."""

from unit.memory.conftest import events

__all__ = ["events"]
