"""The second level of the cache: Redis or Valkey, shared by processes and machines.

Needs the extra ``redis``. Nothing from the server is ever unpickled: a value is bytes behind a version byte,
and what does not parse is absent. A tag is a key of its own that holds a random number, its generation; an
entry carries the generations it was written under and counts only while all of them stand. So
``invalidate_tag`` is one DEL, and a tag that the server evicts takes its entries with it, never the reverse.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from retain.cache.levels import CircuitBreaker, Entry
from retain.errors import CacheLevelDown, InvalidInput

T = TypeVar("T")

VERSION = 1
TTL_MAX_S = 7 * 86_400.0
"""Nothing stays on a shared server for longer, whoever forgets it."""

SCAN_COUNT = 1_000
GENERATION_BYTES = 12
_PLAIN = bytes((VERSION, 0, 0))
_HEAD_BYTES = len(_PLAIN)
_TAG = "t:"
_ENTRY = "e:"


class RedisLevel:
    """A level on a Redis or Valkey server.

    Connections are made on first use and anew after a failure. A call never waits longer than
    ``timeout_s`` to connect and ``timeout_s`` for each answer; after failures in a row the server is
    left alone for a time that grows, and tried again.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: begins every key; what separates this cache from others on the server.
        timeout_s: longest wait for the server.
        value_bytes_max: larger values are not stored.
        ttl_max_s: longest life of an entry.
        breaker: decides when the server is left alone; None makes one.

    Raises:
        InvalidInput: redis is not installed, or the url cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "retain:",
        timeout_s: float = 0.1,
        value_bytes_max: int = 1 << 20,
        ttl_max_s: float = TTL_MAX_S,
        connections_max: int = 32,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._client, self._errors = _connect(url, timeout_s, connections_max)
        self._prefix = prefix
        self._places = asyncio.Semaphore(connections_max)
        self._entry = prefix + _ENTRY
        self._value_bytes_max = value_bytes_max
        self._ttl_max_s = ttl_max_s
        self._breaker = breaker or CircuitBreaker(clock=time.monotonic)
        self._counts = dict.fromkeys(("hits", "misses", "writes", "failures", "too_large", "unreadable"), 0)

    async def get(self, key: str) -> bytes | None:
        """The value, or None.

        Raises:
            CacheLevelDown: the server did not answer in time.
        """
        data = await self._ask(self._client.get, self._entry + key)
        if data is None:
            self._counts["misses"] += 1
            return None
        if data.startswith(_PLAIN):
            self._counts["hits"] += 1
            plain: bytes = data[_HEAD_BYTES:]
            return plain
        return (await self._read({key: data})).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are there, in one round trip; a second one where some have tags.

        Raises:
            CacheLevelDown: the server did not answer in time.
        """
        if not keys:
            return {}
        entry = self._entry
        answers = await self._ask(self._client.mget, [entry + key for key in keys])
        found, tagged = {}, {}
        for key, data in zip(keys, answers, strict=True):
            if data is None:
                continue
            if data.startswith(_PLAIN):
                found[key] = data[_HEAD_BYTES:]
            else:
                tagged[key] = data
        self._counts["hits"] += len(found)
        self._counts["misses"] += len(keys) - len(found) - len(tagged)
        return {**found, **await self._read(tagged)} if tagged else found

    async def set(self, key: str, value: bytes, ttl: float | None = None, tags: Sequence[str] = ()) -> None:
        """Stores a value over an older one; see ``set_many``."""
        await self.set_many((Entry(key, value, ttl, tuple(tags)),))

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        """Stores values in one round trip, after one that asks for generations where there are tags.

        Of a value that is too large, the older one is removed.

        Raises:
            CacheLevelDown: the server did not answer in time; some may be stored.
        """
        if not entries:
            return
        generations = await self._generations(sorted({tag for entry in entries for tag in entry.tags}))
        pipeline = self._client.pipeline(transaction=False)
        for entry in entries:
            name = self._entry + entry.key
            if len(entry.value) > self._value_bytes_max:
                self._counts["too_large"] += 1
                pipeline.delete(name)
                continue
            data = _head({tag: generations[tag] for tag in entry.tags}) + entry.value
            pipeline.set(name, data, px=self._ttl_ms(entry.ttl), nx=only_new)
        await self._ask(pipeline.execute)
        self._counts["writes"] += len(entries)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Removes keys; how many were there.

        Raises:
            CacheLevelDown: the server did not answer in time.
        """
        if not keys:
            return 0
        entry = self._entry
        return int(await self._ask(self._client.delete, *(entry + key for key in keys)))

    async def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""
        return bool(await self.delete_many((key,)))

    async def invalidate_tag(self, tag: str) -> None:
        """Makes every entry with this tag count as absent, whoever wrote it.

        Raises:
            CacheLevelDown: the server did not answer in time.
        """
        await self._ask(self._client.delete, self._prefix + _TAG + tag)

    async def clear(self) -> None:
        """Removes every key with this prefix, a thousand a round trip; not one step.

        Raises:
            CacheLevelDown: the server did not answer in time; some may be left.
        """
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self._prefix) + "*"
        cursor = 0
        while True:
            cursor, names = await self._ask(self._client.scan, cursor, pattern, SCAN_COUNT)
            if names:
                await self._ask(self._client.unlink, *names)
            if not cursor:
                return

    def stats(self) -> dict[str, int]:
        """What happened so far; ``skipped`` counts calls while the server was left alone."""
        breaker = self._breaker
        return {
            **self._counts, "skipped": breaker.skipped, "opened": breaker.opened, "open": int(breaker.is_open),
        }  # fmt: skip

    async def close(self) -> None:
        """Closes the connections."""
        try:
            await self._client.aclose()
            await self._client.connection_pool.disconnect()
        except self._errors:
            return

    async def _ask(self, command: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        self._breaker.check("the cache server")
        try:
            async with self._places:
                answer = await command(*arguments)
        except self._errors as error:
            self._counts["failures"] += 1
            self._breaker.failed()
            raise CacheLevelDown(f"the cache server failed: {type(error).__name__}") from error
        self._breaker.succeeded()
        return answer

    async def _read(self, there: Mapping[str, bytes]) -> dict[str, bytes]:
        """Parses what was read and drops what is of another version or of a dead generation."""
        heads = {key: _read_head(data) for key, data in there.items()}
        tags = sorted({tag for head in heads.values() if head for tag in head[1]})
        answers = await self._ask(self._client.mget, [self._prefix + _TAG + t for t in tags]) if tags else ()
        alive = {tag: answer for tag, answer in zip(tags, answers, strict=True) if answer is not None}
        found = {}
        for key, head in heads.items():
            if head is None:
                self._counts["unreadable"] += 1
            elif all(alive.get(tag) == generation.encode() for tag, generation in head[1].items()):
                found[key] = there[key][head[0] :]
        self._counts["hits"] += len(found)
        self._counts["misses"] += len(there) - len(found)
        return found

    async def _generations(self, tags: Sequence[str]) -> dict[str, str]:
        """The generation of each tag, made where it has none; lives longer than any entry written now."""
        if not tags:
            return {}
        pipeline = self._client.pipeline(transaction=True)
        lasting_ms = self._ttl_ms(None) * 2
        for tag in tags:
            name = self._prefix + _TAG + tag
            pipeline.set(name, secrets.token_hex(GENERATION_BYTES), nx=True)
            pipeline.pexpire(name, lasting_ms)
            pipeline.get(name)
        answers: list[bytes | None] = (await self._ask(pipeline.execute))[2::3]
        return {
            tag: (answer or b"").decode("ascii", "replace") for tag, answer in zip(tags, answers, strict=True)
        }

    def _ttl_ms(self, ttl: float | None) -> int:
        return max(1, int(1_000 * (self._ttl_max_s if ttl is None else min(ttl, self._ttl_max_s))))


def _head(generations: Mapping[str, str]) -> bytes:
    if not generations:
        return _PLAIN
    tags = orjson.dumps(generations)
    return bytes((VERSION,)) + len(tags).to_bytes(2, "big") + tags


def _read_head(data: bytes) -> tuple[int, dict[str, str]] | None:
    """Where the value begins, and the generation of each tag; None for what another version wrote."""
    if len(data) < _HEAD_BYTES or data[0] != VERSION:
        return None
    end = _HEAD_BYTES + int.from_bytes(data[1:_HEAD_BYTES], "big")
    if end == _HEAD_BYTES:
        return end, {}
    if end > len(data):
        return None
    try:
        generations = orjson.loads(data[_HEAD_BYTES:end])
    except ValueError:
        return None
    if not isinstance(generations, dict) or not all(isinstance(g, str) for g in generations.values()):
        return None
    return end, generations


def _connect(url: str, timeout_s: float, connections_max: int) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client, untyped (its stubs differ from version to version), and the errors that it raises."""
    try:
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Disconnected
        from redis.exceptions import RedisError
    except ImportError:
        raise InvalidInput(
            "redis_url", "redis is not installed", hint="pip install 'retain[redis]'"
        ) from None
    try:
        retry = Retry(NoBackoff(), 1, supported_errors=(Disconnected,))
        pool = ConnectionPool.from_url(
            url,
            max_connections=connections_max,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A connection that the server closed meanwhile is replaced at once; a slow server is not asked twice.
            retry=retry,
        )
    except (ValueError, TypeError) as error:
        raise InvalidInput("redis_url", f"cannot be read: {error}") from None
    return Redis(connection_pool=pool, retry=retry), (RedisError, OSError, TimeoutError)
