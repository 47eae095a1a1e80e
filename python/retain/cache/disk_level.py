"""The disk cache as a level of ``MultiLevelCache``."""

from __future__ import annotations

from collections.abc import Sequence

from retain.cache.l3 import DiskCache
from retain.cache.levels import Entry


class DiskLevel:
    """A ``DiskCache`` as a level: its calls run on the event loop, for a hop to a thread costs more than they."""

    def __init__(self, disk: DiskCache) -> None:
        self._disk = disk

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See ``DiskCache``."""
        if len(keys) == 1:
            value = self._disk.get(keys[0])
            return {} if value is None else {keys[0]: value}
        return self._disk.get_many(keys)

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        """See ``DiskCache``."""
        self._disk.set_many(entries, only_new=only_new)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """See ``DiskCache``."""
        return self._disk.delete_many(keys)

    async def invalidate_tag(self, tag: str) -> None:
        """See ``DiskCache``."""
        self._disk.invalidate_tag(tag)

    async def clear(self) -> None:
        """See ``DiskCache``."""
        self._disk.clear()

    def stats(self) -> dict[str, int]:
        """See ``DiskCache``."""
        return self._disk.stats()

    async def close(self) -> None:
        """See ``DiskCache``."""
        self._disk.close()
