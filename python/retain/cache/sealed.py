"""A cache level of an encrypted data directory: names and values leave this process sealed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from retain.cache.levels import Entry, Level
from retain.sealing import Key, Unsealable


class SealedLevel:
    """A level whose values only the owner of a key can read, and whose names say nothing to others."""

    def __init__(self, level: Level, key: Key) -> None:
        self._level = level
        self._key = key

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there and was sealed with this key."""
        names = {self._named(key): key for key in keys}
        found: dict[str, bytes] = {}
        for name, sealed in (await self._level.get_many(list(names))).items():
            with suppress(Unsealable):
                found[names[name]] = self._key.open(sealed, "cache")
        return found

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        """See ``Level``."""
        sealed = [
            replace(
                entry,
                key=self._named(entry.key),
                value=self._key.seal(entry.value, "cache"),
                tags=tuple(map(self._named, entry.tags)),
            )
            for entry in entries
        ]
        await self._level.set_many(sealed, only_new=only_new)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """See ``Level``."""
        return await self._level.delete_many([self._named(key) for key in keys])

    async def invalidate_tag(self, tag: str) -> None:
        """See ``Level``."""
        await self._level.invalidate_tag(self._named(tag))

    async def clear(self) -> None:
        """See ``Level``."""
        await self._level.clear()

    def stats(self) -> dict[str, int]:
        """See ``Level``."""
        return self._level.stats()

    async def close(self) -> None:
        """See ``Level``."""
        await self._level.close()

    def _named(self, name: str) -> str:
        return self._key.named(name.encode("utf-8", "surrogatepass"), "cache-name")
