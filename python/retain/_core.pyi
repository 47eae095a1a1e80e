# ruff: noqa: PYI021 - this file is the contract, and its docstrings say what is promised
"""The Rust core of retain: a cache, a batch queue, a cost estimator, a sampler, a vector matrix, a redactor.

This file is the contract: how to call. How it works is written once, in the Rust sources
(``rust/core``, ``rust/sampler``). All classes may be used from several threads at once.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, final, overload

from typing_extensions import Buffer

__all__ = [
    "BUILD_PROFILE",
    "VERSION",
    "BatchQueue",
    "CostEstimator",
    "Expressions",
    "L1Cache",
    "MemorySampler",
    "Postings",
    "Redactor",
    "RowLengths",
    "Space",
    "SpaceCorpus",
    "VectorMatrix",
    "ascending_keys",
    "key_id",
    "open_with_key",
    "open_with_secret",
    "public_key",
    "quantise",
    "seal_to_public",
    "seal_with_key",
]

VERSION: Final[str]
"""The version of the extension; equal to the package's."""
BUILD_PROFILE: Final[str]
""""release", or "debug" (never measure that one)."""

_T = TypeVar("_T")
_Interval: TypeAlias = tuple[float, float, float]
_NamedPlan: TypeAlias = tuple[
    tuple[str, int | None],
    list[tuple[str, _Interval]],
    _Interval,
    _Interval,
    _Interval,
    float,
    list[tuple[str, int | None, float]],
]

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

        Threads that ask for a key that is being computed wait for that: the loader runs
        once, its error is raised for all, and is not stored, so that the next call tries again. If
        the one who computes is interrupted or cancelled, one of those who wait computes instead. A hit
        costs as much as ``get``.

        Args:
            key: any hashable.
            loader: called without arguments; no lock is held while it runs.
            ttl: seconds from now; None for the cache's default.

        Raises:
            RuntimeError: the loader asks, directly or through others that wait for it, for its own key.
        """

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

    def push_many(self, items: Iterable[Any], priorities: Iterable[int] | None = None, lane: str = "") -> int:
        """Add ready items in this order, all or none; without priorities each has 0.

        Returns:
            The number of the first item; each further one's is one more. Numbers are never used again.

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

    def pop_numbered(self, n: int, lane: str | None = None) -> tuple[list[Any], list[int]]:
        """As ``pop_batch``, with the number of each item (see ``push_many``)."""

    def next_lane(self, busy: set[str] | None = None) -> str | None:
        """The lane of the ready item that comes first, of the lanes that are not ``busy``.

        None if there is none.
        """

    def shed(self, n: int, oldest: bool = False) -> tuple[list[Any], list[int]]:
        """Remove up to ``n`` ready items to make room, with their numbers.

        Those of the highest priority value, of these the latest first; or with ``oldest`` those that
        came first. O(log² n) each, amortised; the first call with ``oldest`` sorts all items.

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

        ``pushed``, ``popped``, ``shed``, ``refused`` (for want of room) and ``peak`` since the queue was made; now
        ``items``, ``delayed`` of them, and ``capacity`` or None.
        """

    def __len__(self) -> int: ...

@final
class CostEstimator:
    """Row counts of filters and prices of plans, as intervals ``(min, expected, max)``.

    Operators: the keys of ``coefficients()``. One costs ``startup_us + row_us * rows`` microseconds, sorting
    ``row_us`` a comparison (n log2 n), and ``row_bytes * rows`` bytes. A way (lexical_first, rank_first,
    filter_first, filter_scan) takes ``factors()`` times what its operators cost.

    Every number must be finite and at least 0, else ValueError names it.
    """

    def __new__(
        cls,
        coefficients: dict[str, tuple[float, float, float]] | None = None,
        corrections: dict[str, tuple[float, float]] | None = None,
    ) -> CostEstimator:
        """An estimator without statistics.

        Args:
            coefficients: ``(startup_us, row_us, row_bytes)`` by operator, such as ``coefficients()``
                once returned; an operator left out has its default.
            corrections: ``(factor, count)``, such as ``corrections()`` once returned.

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

    def set_sample(self, field: str, values: Sequence[str], entries: int) -> None:
        """Add to the values of a field an even sample of its entries, for patterns and uncommon values.

        Args:
            field: its name; nothing happens where ``set_values`` was not called for it.
            values: a value that many rows have occurs often.
            entries: how many values all rows have together.
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

    def rows(self, tree: object) -> _Interval:
        """How many rows meet a filter: 0 <= min <= expected <= max <= total.

        Bounds are certain as far as the statistics are current; a field without statistics may have
        none or all. ``expected`` damps the effect of each further condition.

        Args:
            tree: a filter of ``retain.model``, or nested tuples
                ``("all",)``, ``("and", [tree, ...])``, ``("or", [tree, ...])``,
                ``("not", tree)``, ``("in", field, [value, ...])``, ``("glob", field, pattern)`` (``*``
                also matches ``/``), ``("range", field, low | None, high | None)`` (both included).

        Raises:
            ValueError: an unknown node, or nested deeper than 100.
            TypeError: a part of the wrong type.
        """

    def plan(
        self,
        tree: object,
        words: int,
        postings: Sequence[float] | None,
        reading: tuple[float, float, float] | None,
        limit: float,
        *,
        choose: bool = True,
    ) -> _NamedPlan:
        """The cheapest way to answer a question, in one crossing.

        Args:
            tree: as for ``rows``.
            words: how many words are asked for; 0 asks for the newest rows.
            postings: in how many rows each word occurs; None takes a share of all rows for each.
            reading: stems looked up in the full-text index, its entries that single stems read, and those that
                phrases skip over; None takes the postings.
            limit: rows wanted.
            choose: False gives the way that needs no statistics.

        Returns:
            ``((name, driver), steps, rows, us, bytes, ahead, rejected)``: the driver is the place of the
            condition whose index gives the keys (None: the index of times), ``ahead`` the rows to rank
            before the filter is tested, ``rejected`` the other ways as ``(name, driver, expected us)``.

        Raises:
            ValueError, TypeError: as for ``rows``.
        """

    def ways(
        self,
        tree: object,
        words: int,
        postings: Sequence[float] | None,
        reading: tuple[float, float, float] | None,
        limit: float,
    ) -> list[_NamedPlan]:
        """Every way that ``plan`` considers, each with its steps and price, the cheapest first."""

    def plan_many(
        self,
        questions: Sequence[
            tuple[object, int, Sequence[float] | None, tuple[float, float, float] | None, float]
        ],
        *,
        choose: bool = True,
    ) -> list[_NamedPlan]:
        """``plan`` for each ``(tree, words, postings, reading, limit)``, in order; other threads run meanwhile."""

    def price(self, steps: Sequence[tuple[str, _Interval]], way: str | None = None) -> dict[str, _Interval]:
        """What a plan costs: ``{"us": interval, "bytes": interval}``.

        Args:
            steps: operators, each with the interval of rows it meets.
            way: whose factor counts; None is the operators alone.

        Raises:
            ValueError: an unknown operator or way, or rows that are not ascending.
        """

    def price_many(self, plans: Sequence[Sequence[tuple[str, _Interval]]]) -> list[dict[str, _Interval]]:
        """What each plan costs, in their order; other threads run meanwhile."""

    def observe(
        self, way: str, steps: Sequence[tuple[str, float]], estimated_us: float, actual_us: float
    ) -> None:
        """Learn from an execution how fast the machine is now and how far the way is off beyond that.

        Args:
            way: what was done.
            steps: operators, each with the number of rows it really met, as far as that is known; not empty.
            estimated_us: the time it was expected to take in microseconds, for ``q_error``.
            actual_us: the time it took.

        Raises:
            ValueError: an unknown way or operator, no steps, or a bad number; nothing was learnt.
        """

    def calibrate(self, runs: Sequence[tuple[Sequence[tuple[str, float]], float]]) -> None:
        """Fit the coefficients to runs made for it: steps as for ``observe``, and microseconds.

        They are no predictions, so ``q_error`` does not count them. What executions taught is forgotten.

        Raises:
            ValueError: as for ``observe``; nothing was learnt.
        """

    def coefficients(self) -> dict[str, tuple[float, float, float]]:
        """``(startup_us, row_us, row_bytes)`` of every operator as calibrated, to be persisted."""

    def corrections(self) -> dict[str, tuple[float, float]]:
        """What executions taught, to be persisted: ``(factor, count)`` of "machine" and of each way beyond it."""

    def factors(self) -> dict[str, float]:
        """By which factor each way takes longer now than its operators cost."""

    def q_error(self) -> dict[str, float]:
        """How far off the last 512 predictions were: ``count``, ``median``, ``p95``.

        A q-error is the larger of predicted over actual and actual over predicted; 1 is exact.
        """

@final
class MemorySampler:
    """Reads the footprint of this process on a native thread, which needs no interpreter lock.

    Levels are -1 unknown, 0 normal, 1 low, 2 medium, 3 high. The fullest of these decides: resident bytes
    against ``limit_bytes`` and against the machine's memory, the control group's use (without file pages
    that can be dropped) against its limit, address space and data against RLIMIT_AS and RLIMIT_DATA.
    Stalls (PSI) and hits of the group's limit may raise the level to low or medium, a second later.

    Not on Linux, the level stays unknown. In a forked child a sampler is dead: unknown, and no call waits.
    """

    def __new__(
        cls,
        limit_bytes: int | None = None,
        thresholds: tuple[float, float, float] = (0.7, 0.85, 0.95),
        hysteresis: float = 0.05,
        interval_ms: float = 10.0,
        interval_max_ms: float = 250.0,
        history: int = 512,
    ) -> MemorySampler:
        """A sampler that does not run yet; it holds file descriptors until it is collected.

        Args:
            limit_bytes: a limit beside those of the system.
            thresholds: fractions of a limit at which low, medium and high begin.
            hysteresis: how far below its threshold a level ends.
            interval_ms: time between readings where a growth of 4 MiB in a millisecond of work would reach
                the next threshold before; 0.6 of it within a quarter of that distance; ten times that while
                the process rests or, further away, the level is raised.
            interval_max_ms: longest time between readings. Further away a reading follows when the process
                has worked (processor time of all its threads) as long as it needs to come near.
            history: most samples kept; those of one level are at least 50 ms apart.

        Raises:
            ValueError: an option is out of its bounds.
            OSError: no file descriptors are left.
        """

    def start(self) -> None:
        """Take a first reading and start the thread; does nothing where it runs or is not supported.

        Raises:
            OSError: no thread could be started.
        """

    def stop(self) -> None:
        """End the thread and wait for it; whoever is in ``wait`` returns. May be called again."""

    def fileno(self) -> int:
        """A descriptor that is readable from a change of the level until ``take``."""

    def take(self) -> int:
        """Make the descriptor unreadable until the next change; the level. Keeps the interpreter lock."""

    def measure(self) -> int:
        """Read now, in this thread; the level after it. Some microseconds, keeps the interpreter lock."""

    def wait(self, changes: int, timeout_ms: float) -> int:
        """Wait until the level has changed more than ``changes`` times; how often it has.

        Returns early after ``timeout_ms``, and after ``stop``.

        Raises:
            ValueError: timeout_ms is below 0 or above 1e12.
        """

    def history(self) -> list[tuple[float, int, int, int]]:
        """The kept samples, oldest first: seconds, bytes in use, their limit, level."""

    def stats(self) -> dict[str, Any]:
        """The counters, by name.

        ``readings`` and ``changes`` (of the level); of the last reading ``resident_bytes``, and of the fullest
        gauge ``used_bytes``, ``limit_bytes`` and ``source`` ("setting", "machine", "cgroup", "rlimit_as",
        "rlimit_data"; "unsupported" before the first); ``stalled`` (share of the last second, or None),
        ``limit_hits`` (seconds in which a limit of the group was hit), ``interval_ms`` until the next.
        """

    @property
    def level(self) -> int:
        """The level of the last reading."""

    @property
    def supported(self) -> bool:
        """Whether this system can say how large the process is."""

    @property
    def running(self) -> bool:
        """Whether the thread runs."""

@final
class SpaceCorpus:
    """Texts, as terms, to fit a ``Space`` to; used up by ``fit``."""

    def __new__(
        cls,
        dim: int = 128,
        terms_max: int = 32_768,
        text_terms_max: int = 192,
        pairs_max: int = 4_000_000,
    ) -> SpaceCorpus:
        """An empty corpus.

        Args:
            dim: numbers in a vector, 1 to 1,024.
            terms_max: terms that get a vector: the most frequent ones, of equals the last seen.
            text_terms_max: different terms of one text that count, from its beginning.
            pairs_max: at most about so many pairs of terms count, those with the most evidence (8 bytes each).

        Raises:
            ValueError: a limit is out of its bounds.
        """

    def add(self, texts: Sequence[Sequence[str]]) -> None:
        """Add texts, each as its terms in order.

        Raises:
            ValueError: the corpus was fitted.
        """

    def __len__(self) -> int: ...
    def fit(self, seed: int) -> Space:
        """The space of these texts; the same texts and seed give the same space. Other threads run meanwhile.

        Raises:
            ValueError: the corpus was fitted before.
        """

@final
class Space:
    """Terms with a direction each; immutable."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Space:
        """The space that ``to_bytes`` wrote.

        Raises:
            ValueError: the bytes are damaged (a checksum is kept) or of another format.
        """

    def to_bytes(self) -> bytes:
        """The space as bytes, with format and checksum."""

    def embed(self, terms: Sequence[str]) -> bytes:
        """``dim`` signed bytes of which only the direction counts; zeros where no term is known."""

    def embed_many(self, texts: Sequence[Sequence[str]]) -> list[bytes]:
        """``embed`` for each text, in their order; other threads run meanwhile."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def documents(self) -> int:
        """Texts that it was fitted to."""

    @property
    def terms(self) -> int:
        """Terms that have a vector."""

    @property
    def footprint_bytes(self) -> int:
        """Bytes of RAM that it takes, about."""

def ascending_keys(keys: str) -> bytes:
    """The whole numbers of a JSON list as int64 of this machine, ascending and each once.

    Raises:
        ValueError: it is no such list.
    """

@final
class RowLengths:
    """How many tokens the rows of a full-text index have, 12 bytes a row; good for several snapshots at once."""

    def __new__(cls) -> RowLengths: ...
    def put(self, rows: str, until: int) -> None:
        """Take lengths that were read from one snapshot.

        Args:
            rows: ``key origin sizes`` of each, joined by commas: the flush that brought it, and FTS5's numbers of
                tokens by column as hexadecimal digits.
            until: the number of the next flush then; what a later one has told stays.

        Raises:
            ValueError: it is something else; the rows before it were taken.
        """

@final
class Postings:
    """The rows of a question's words, from the pages of an FTS5 index, ranked as its ``bm25`` does to the last bit.

    For each word: ``begin``, ``extend`` for each list that goes on, then ``end``; for a phrase all of that with
    ``part`` for each of its stems, then ``phrase``. ``rust/core/postings`` tells the format.
    """

    def __new__(cls, weights: Sequence[float]) -> Postings:
        """Without words; ``weights`` of the columns."""

    def segment(self, newest: int, deleted: Sequence[bytes]) -> None:
        """Add a segment: the number of its newest flush, and its pages of deleted rows.

        Raises:
            ValueError: such a page cannot be read.
        """

    def begin(self, term: bytes, leaves: Sequence[bytes]) -> list[int]:
        """Look a term up in one leaf of each segment; the numbers of the segments whose list goes on.

        Raises:
            ValueError: a page cannot be read.
        """

    def extend(self, segment: int, page: bytes) -> bool:
        """Add the next page to a list; whether it goes on still.

        Raises:
            ValueError: the page cannot be read.
        """

    def part(self, place: int) -> None:
        """Take the lists as those of the stem at this place of a phrase; the places in any order.

        Raises:
            ValueError: an entry cannot be read.
        """

    def phrase(self) -> int:
        """End a phrase; how many rows hold it."""

    def end(self) -> int:
        """Take the lists as those of a word; how many rows hold it.

        Raises:
            ValueError: an entry cannot be read.
        """

    def keep(self, keys: Buffer) -> None:
        """Leave only these rows, int64 ascending.

        Raises:
            ValueError: not whole numbers of 8 bytes.
        """

    def missing(self, lengths: RowLengths) -> list[int]:
        """The rows whose length is not known, ascending."""

    def best(self, lengths: RowLengths, total: int, tokens: int, most: int) -> list[tuple[int, float]]:
        """The best rows with their bm25: larger is better, of equal ones the larger key first.

        Args:
            lengths: of the rows.
            total: rows of the index.
            tokens: of all of them.
            most: rows that are wanted.

        Raises:
            ValueError: the length of a row is not known.
        """

@final
class VectorMatrix:
    """int8 vectors by 64-bit key, searched exactly, with filters inside.

    A row is a direction: ``dim`` signed bytes as ``quantise`` makes them, padded in RAM to whole 64 bytes;
    beside them it takes about 20 bytes and ``dim / 8``. Keys, rows and queries are
    contiguous buffers: int64, int8 and float32 of this machine. ``bytes`` are not copied. The interpreter
    lock is released in every call; searches run side by side, and a change waits for them.
    """

    def __new__(cls, dim: int) -> VectorMatrix:
        """An empty matrix.

        Args:
            dim: components of a vector, a multiple of 16 up to 4,096.

        Raises:
            ValueError: another dim.
        """

    def put(self, keys: Buffer, rows: Buffer) -> int:
        """Take or replace rows, one for each key; how many keys are new.

        Raises:
            ValueError: not ``dim`` bytes for each key; nothing was changed.
        """

    def remove(self, keys: Buffer) -> int:
        """Remove rows; how many of the keys were there."""

    def clear(self) -> int:
        """Remove every row; how many bytes that gave back."""

    def search(
        self, query: Buffer, k: int, keys: Buffer | None = None, way: str | None = None
    ) -> tuple[list[tuple[int, float]], str]:
        """The ``k`` rows that point most nearly where the query does.

        A filter never leaves fewer: the ``k`` best among the keys come back, or all of them.

        Args:
            query: ``dim`` float32 of any length.
            k: how many at most.
            keys: search among these only; keys without a row are passed over. Ascending ones save a sort.
            way: "vector_scan" (all rows, the filter asked late), "vector_ids" (the rows of the keys one by one),
                "vector_bits" and "vector_bit_ids" (the same over the components' signs, the nearest
                ``max(1000, 100 * k, matching / 250)`` then scored); None for the cheapest by ``prices``, and then
                over signs only where at least 20,000 rows match.

        Returns:
            Key and cosine, best first, of equals the larger key; and the way that was taken. Without keys that
            is the first or third, whatever was asked for.

        Raises:
            ValueError: a query of another length or not finite, or an unknown way.
            OverflowError: k is below 0.
        """

    def set_costs(self, costs: Mapping[str, tuple[float, float]]) -> None:
        """Replace the costs of some ways by measured ones.

        Raises:
            ValueError: an unknown way, or a number that is negative or not finite; nothing was changed.
        """

    def prices(self, matching: int | None = None, k: int = 10) -> dict[str, float]:
        """Microseconds that each way would take with so many keys, or without.

        Only ways that ``search`` considers; of equals the first is taken.

        Raises:
            OverflowError: a number below 0.
        """

    @property
    def dim(self) -> int:
        """Components of a vector."""

    @property
    def bytes(self) -> int:
        """What rows and index take."""

    def __len__(self) -> int: ...

def quantise(values: Buffer, dim: int) -> bytes:
    """Vectors of ``dim`` float32 as rows for ``VectorMatrix.put``, of ``dim`` signed bytes each.

    All are turned by the same fixed rotation, which changes no cosine and lets every component say about as
    much; then each is scaled so that its largest component is ±127.

    Raises:
        ValueError: no whole vectors, or a component is infinite or not a number.
    """

@final
class Expressions:
    """A list of regular expressions, each tried only where one of its keywords stands in the text.

    Immutable. In the syntax of Rust's ``regex``, so nothing backtracks; ``^`` and ``$`` are the ends of a line. Texts
    of 4 KiB and more are looked through without the interpreter lock.
    """

    def __new__(cls, expressions: Sequence[tuple[Sequence[str], str]]) -> Expressions:
        """Takes (keywords, expression), at most 64; an expression is compiled when it is first tried.

        Raises:
            ValueError: there are too many, or one has no keyword.
        """

    def first(self, text: str, start: int, stop: int) -> int | None:
        """Which expression from ``start`` to before ``stop`` is the first that is found in the text.

        Raises:
            ValueError: one that had to be tried is no expression.
        """

@final
class Redactor:
    """Finds the secrets of texts and replaces each by ``[redacted:rule]``, in time linear in the text.

    Immutable. Texts of 4 KiB and more are looked through without the interpreter lock.
    """

    def __new__(cls, *, pii: bool = False, allowed: Sequence[tuple[str, int]] = ...) -> Redactor:
        """Reads the rules that the extension carries; their expressions are compiled when first needed.

        Args:
            pii: look for personal data too: mail addresses, telephone numbers, cards, accounts.
            allowed: rules with the fingerprints of values that are no secrets.
        """

    def redact(self, text: str) -> tuple[str, list[tuple[str, int]]] | None:
        """The text without its secrets and how many each rule found, or None where there are none."""

    def redact_many(self, texts: Sequence[str]) -> list[tuple[str, list[tuple[str, int]]] | None]:
        """What ``redact`` says of each text, in one call."""

    def find(self, text: str) -> list[tuple[str, int, int]]:
        """Rule, start and end (characters) of each secret, sorted, not overlapping."""

    @property
    def names(self) -> list[str]:
        """The names of all rules, the one preferred among overlapping finds first; some occur twice."""

    @staticmethod
    def names_secret(key: str) -> bool:
        """Whether a key of a mapping says that its value is a secret."""

    @staticmethod
    def is_placeholder(value: str) -> bool:
        """Whether a value stands for a secret instead of being one."""

    @staticmethod
    def fingerprint(value: str) -> int:
        """64 bits of the SHA-256 of a value."""

    @staticmethod
    def version() -> int:
        """A number that changes with the rules; below 2**56."""

def seal_with_key(key: bytes, nonce: bytes, data: Buffer) -> bytes:
    """The data sealed by XSalsa20-Poly1305 (libsodium's secretbox), 16 bytes longer than it was.

    Raises:
        ValueError, TypeError: the key has not 32 bytes, or the nonce not 24.
    """

def open_with_key(key: bytes, nonce: bytes, sealed: Buffer) -> bytes | None:
    """What was sealed with this key and nonce; None where that is not so, or a byte was changed."""

def public_key(secret: bytes) -> bytes:
    """The public key (X25519) of a secret of 32 bytes."""

def key_id(public: bytes) -> bytes:
    """The 8 bytes by which a public key is named."""

def seal_to_public(public: bytes, ephemeral: bytes, data: Buffer) -> bytes:
    """Data that only the secret behind a public key opens (libsodium's sealed box), 48 bytes longer than it was.

    Args:
        public: for whom.
        ephemeral: 32 random bytes that serve this call alone.
        data: what is sealed.
    """

def open_with_secret(secret: bytes, sealed: Buffer) -> bytes | None:
    """What was sealed to the public key of a secret; None where that is not so, or a byte was changed."""
