# ruff: noqa: PYI021 - this file is the contract, and its docstrings say what is promised
"""The Rust core of retain: a cache, a batch queue and a cost estimator.

This file is the contract: how to call. How it works is written once, in the Rust sources
(``rust/core``). All classes may be used from several threads at once.
"""

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, final, overload

__all__ = ["BUILD_PROFILE", "VERSION", "BatchQueue", "CostEstimator", "L1Cache"]

VERSION: Final[str]
"""The version of the extension; equal to the package's."""
BUILD_PROFILE: Final[str]
""""release", or "debug" (never measure that one)."""

_T = TypeVar("_T")
_Interval: TypeAlias = tuple[float, float, float]
_Filter: TypeAlias = tuple[Any, ...]

@final
class L1Cache:
    """A bounded map in this process, with time to live, idle time, tags and a choice of eviction policies.

    Keys are compared as in a dict: by hash, then identity, then ``==``. No lock is held while a
    key's ``__eq__`` or a value's destructor runs; both may use the cache. What ``__hash__`` or
    ``__eq__`` raises, the call raises, with the cache as it was.

    An entry's bytes are the ``size`` given with it, else an estimate: 64 for the entry, and for key
    and value each 48 + length if it is a str or bytes, 64 if it is anything else.
    """

    def __new__(
        cls,
        max_entries: int = 10_000,
        max_bytes: int | None = None,
        policy: str = "lru",
        ttl: float | None = None,
        idle_ttl: float | None = None,
    ) -> L1Cache:
        """An empty cache.

        Args:
            max_entries: the most entries; 0 switches the cache off (it stores nothing).
            max_bytes: the most bytes over all entries; None for no such bound.
            policy: "lru", or "wtinylfu": about as many hits where only recency counts, far more where
                there are scans, loops, or few keys that get most hits; evicting costs a third more.
            ttl: seconds that an entry lives unless set otherwise; None for ever.
            idle_ttl: seconds after its last read or write at which an entry ends, if its ttl does not
                end it before; None for never.

        Raises:
            ValueError: a limit below 0 or above 2**32 - 2 entries, a ttl not above 0, or another policy.
        """

    @overload
    def get(self, key: Hashable, default: None = None, /) -> Any | None: ...
    @overload
    def get(self, key: Hashable, default: _T, /) -> Any | _T: ...
    def get_or_compute(self, key: Hashable, loader: Callable[[], _T], ttl: float | None = None) -> Any | _T:
        """The value of the key; where there is none, what ``loader()`` returns, which is stored.

        Threads and coroutines that ask for a key that is being computed wait for that: the loader runs
        once, its error is raised for all, and is not stored, so that the next call tries again. If
        the one who computes is interrupted or cancelled, one of those who wait computes instead. A hit
        costs as much as ``get``.

        Args:
            key: any hashable.
            loader: called without arguments; no lock is held while it runs.
            ttl: seconds from now; None for the cache's default.

        Raises:
            RuntimeError: the loader asks, directly or through others that wait for it, for its own key;
                or this call would block the event loop that computes the key.
        """

    def get_or_compute_async(
        self, key: Hashable, loader: Callable[[], Awaitable[_T]], ttl: float | None = None
    ) -> Coroutine[Any, Any, Any | _T]:
        """As ``get_or_compute``, for coroutines: await it; ``loader`` is a coroutine function."""

    def set(
        self,
        key: Hashable,
        value: Any,
        ttl: float | None = None,
        size: int | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Store a value, over an older one, evicting what no longer fits. O(1), or O(log n) with ttl.

        An entry larger than ``max_bytes`` is not stored, and an older value of its key is removed.

        Args:
            key: any hashable.
            value: anything.
            ttl: seconds from now; None for the cache's default, ``math.inf`` for ever.
            size: bytes that the entry counts; None for an estimate.
            tags: names for ``invalidate_tag``; they replace those of the older value.

        Raises:
            ValueError: ttl is not above 0, or size is below 0.
        """

    def delete(self, key: Hashable) -> bool:
        """Remove a key; whether it was there."""

    @overload
    def pop(self, key: Hashable, default: None = None) -> Any | None: ...
    @overload
    def pop(self, key: Hashable, default: _T) -> Any | _T: ...
    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """The pairs that are there; each key counts a hit or a miss."""

    def set_many(
        self, items: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]], ttl: float | None = None
    ) -> None:
        """Store pairs in their order, as ``set`` does one by one."""

    def clear(self) -> None:
        """Remove all entries and give back the memory; the counters stay."""

    def resize(self, max_entries: int | None = None, max_bytes: int | None = None) -> None:
        """Set new limits and evict what they no longer allow; None leaves a limit as it is.

        Raises:
            ValueError: a limit below 0 or above 2**32 - 2 entries.
        """

    def invalidate_tag(self, tag: str) -> int:
        """Remove the entries with this tag; how many there were."""

    def keys(self) -> list[Any]:
        """All keys, in no particular order. O(n)."""

    def stats(self) -> dict[str, int]:
        """The counters, by name.

        ``hits`` and ``misses`` of get and get_many, ``insertions``, ``evictions`` (a limit was
        reached), ``expirations`` (the time was over), and now ``entries`` and ``bytes``.
        """

    def __len__(self) -> int: ...
    def __contains__(self, key: Hashable, /) -> bool:
        """Whether a live entry is there; counts no hit and does not defer its eviction."""

@final
class BatchQueue:
    """A priority queue with lanes, delayed items and bulk calls.

    The lowest priority value leaves first, as in ``asyncio.PriorityQueue``; equals leave in the order
    they came. Items are never compared. Push and pop are O(log n) amortised, over all lanes
    O(log n + lanes).
    """

    def __new__(cls, capacity: int | None = None) -> BatchQueue:
        """An empty queue of at most ``capacity`` items, delayed ones included.

        Raises:
            ValueError: capacity is below 1.
        """

    def push(self, item: Any, priority: int = 0, lane: str = "", due_ms: int = 0) -> None:
        """Add an item.

        Args:
            item: anything.
            priority: 64-bit signed; the lowest leaves first.
            lane: a kind of work, to be popped alone or with the others.
            due_ms: a time in milliseconds on the caller's clock, of at least 1, before which the item
                is delayed: only ``pop_due`` gives it. 0 for an item that is ready.

        Raises:
            retain.errors.QueueFull: there is no room; nothing was added.
            OverflowError: priority or due_ms is out of its range.
            TypeError: priority or due_ms is no int.
        """

    def push_many(
        self, items: Iterable[Any], priorities: Iterable[int] | None = None, lane: str = ""
    ) -> None:
        """Add ready items in this order, all or none; without priorities each has 0.

        Raises:
            retain.errors.QueueFull: there is no room for all; nothing was added.
            ValueError: there are not as many priorities as items.
            OverflowError: a priority does not fit into 64 bits.
            TypeError: a priority is no int.
        """

    def pop(self) -> Any:
        """Remove and return the first ready item of all lanes.

        Raises:
            IndexError: no item is ready.
        """

    def pop_batch(self, n: int, lane: str | None = None) -> list[Any]:
        """Remove up to ``n`` ready items, of one lane or of all, in order.

        Raises:
            OverflowError: n is below 0.
        """

    def pop_due(self, now_ms: int, n: int, lane: str | None = None) -> list[Any]:
        """Remove up to ``n`` delayed items whose due time is ``now_ms`` or before.

        The earliest due come first, then the lowest priority value, then the first pushed.

        Raises:
            OverflowError: now_ms or n is below 0.
        """

    def next_due_ms(self) -> int | None:
        """The earliest due time of a delayed item; None if there is none."""

    def lanes(self) -> dict[str, int]:
        """Each lane that holds items, with their count, delayed ones included."""

    def clear(self) -> None:
        """Remove all items."""

    def stats(self) -> dict[str, int | None]:
        """The counters, by name.

        ``pushed``, ``popped``, ``refused`` (for want of room) and ``peak`` since the queue was made; now
        ``items``, ``delayed`` of them, and ``capacity`` or None.
        """

    def __len__(self) -> int: ...

@final
class CostEstimator:
    """Row counts of filters and prices of plans, as intervals ``(min, expected, max)``.

    Operators: "fts_match", "fts_rank", "row_fetch", "index_scan", "rowid_probe", "sort",
    "cache_probe". An operator costs ``startup_us + row_us * rows`` microseconds, sorting
    ``row_us`` a comparison (n log2 n), and ``row_bytes * rows`` bytes.

    Every number must be finite and at least 0, else ValueError names it.
    """

    def __new__(cls, coefficients: dict[str, tuple[float, float, float]] | None = None) -> CostEstimator:
        """An estimator without statistics.

        Args:
            coefficients: ``(startup_us, row_us, row_bytes)`` by operator, such as ``coefficients()``
                once returned; an operator left out has its default.

        Raises:
            ValueError: an unknown operator or a bad number.
        """

    def set_total(self, rows: int) -> None:
        """Set the number of rows in the table; 0 at first."""

    def set_values(
        self,
        field: str,
        counts: Sequence[tuple[str, int]],
        distinct: int,
        rows: int,
        multi_valued: bool | None = None,
    ) -> None:
        """Replace the most common values of a field.

        Args:
            field: its name.
            counts: the most common values, each once, with the number of rows that have it.
            distinct: how many distinct values there are in all.
            rows: how many rows have the field.
            multi_valued: whether a row can have several values (tags, paths). None is careful:
                bounds hold either way, and ``expected`` takes it for so if the counts sum up to
                more than rows.

        Raises:
            ValueError: the numbers contradict each other.
        """

    def set_histogram(self, field: str, bounds: Sequence[int], rows: int) -> None:
        """Replace the equi-depth histogram of an integer field.

        Args:
            field: its name.
            bounds: ascending; between neighbours lie equally many rows (the least value, the
                quantiles, the greatest value). At least 2, unless rows is 0.
            rows: how many rows have the field.

        Raises:
            ValueError: too few bounds, or not ascending.
        """

    def rows(self, tree: _Filter) -> _Interval:
        """How many rows meet a filter: 0 <= min <= expected <= max <= total.

        Bounds are certain as far as the statistics are current; a field without statistics may have
        none or all. ``expected`` damps the effect of each further condition.

        Args:
            tree: nested tuples ``("all",)``, ``("and", [tree, ...])``, ``("or", [tree, ...])``,
                ``("not", tree)``, ``("in", field, [value, ...])``, ``("glob", field, pattern)`` (``*``
                also matches ``/``), ``("range", field, low | None, high | None)`` (both included).

        Raises:
            ValueError: an unknown node, or nested deeper than 100.
            TypeError: a part of the wrong type.
        """

    def price(self, steps: Sequence[tuple[str, _Interval]]) -> dict[str, _Interval]:
        """What a plan costs: ``{"us": interval, "bytes": interval}``.

        Args:
            steps: operators, each with the interval of rows it meets.

        Raises:
            ValueError: an unknown operator, or rows that are not ascending.
        """

    def price_many(self, plans: Sequence[Sequence[tuple[str, _Interval]]]) -> list[dict[str, _Interval]]:
        """What each plan costs, in their order; other threads run meanwhile."""

    def observe(self, steps: Sequence[tuple[str, float]], actual_us: float) -> None:
        """Learn from an execution.

        Args:
            steps: operators, each with the number of rows it really met; not empty.
            actual_us: the time it took in microseconds.

        Raises:
            ValueError: an unknown operator, no steps, or a bad number; nothing was learnt.
        """

    def coefficients(self) -> dict[str, tuple[float, float, float]]:
        """``(startup_us, row_us, row_bytes)`` of every operator as learnt so far, to be persisted."""

    def q_error(self) -> dict[str, float]:
        """How far off the last 512 predictions were: ``count``, ``median``, ``p95``.

        A q-error is the larger of predicted over actual and actual over predicted; 1 is exact.
        """
