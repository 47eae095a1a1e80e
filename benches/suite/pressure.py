"""The memory manager: a reading, its history, a relief."""

from __future__ import annotations

import asyncio
import tracemalloc

from retain.pressure import MemoryManager, MemorySampler

HANDLERS = 100
HISTORY = 4_096


class Sampler:
    """Readings of this process."""

    def setup(self) -> None:
        self.sampler = MemorySampler(history=HISTORY)
        for _ in range(HISTORY):
            self.sampler.measure()

    def time_measure(self) -> None:
        self.sampler.measure()

    def time_history(self) -> None:
        self.sampler.history()

    def peakmem_history(self) -> list[tuple[float, int, int, int]]:
        return self.sampler.history()

    def track_python_bytes(self) -> int:
        """Bytes of a sampler with a full history that Python knows of; the samples are in Rust."""
        tracemalloc.start()
        sampler = MemorySampler(history=HISTORY)
        for _ in range(HISTORY):
            sampler.measure()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used

    track_python_bytes.unit = "bytes"  # type: ignore[attr-defined]


class Relief:
    """A manager above its limit from the start: every handler runs."""

    def time_hundred_handlers(self) -> None:
        if asyncio.run(_relieved()) != HANDLERS:
            raise AssertionError("a handler did not run")


async def _relieved() -> int:
    manager = MemoryManager(1)
    ran: list[object] = []
    for _ in range(HANDLERS):
        manager.on_pressure(ran.append)
    async with manager:
        return len(ran)
