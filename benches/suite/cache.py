"""The first level of the cache."""

from __future__ import annotations

import random
import tracemalloc
from itertools import accumulate

from retain.cache import L1Cache

ENTRIES = 10_000
MILLION = 1_000_000


class L1:
    """One thread, keys of 20 characters, a cache of 10,000 entries under either policy."""

    params = ("lru", "wtinylfu")
    param_names = ("policy",)

    def setup(self, policy: str) -> None:
        rng = random.Random(3)
        self.names = [f"{number:08d}{rng.getrandbits(48):012x}" for number in range(ENTRIES)]
        rng.shuffle(self.names)
        self.others = [f"other {name}" for name in self.names]
        self.cache = L1Cache(ENTRIES, policy=policy)
        for name in self.names:
            self.cache.set(name, name)

    def time_get_hit(self, _: str) -> None:
        get = self.cache.get
        for name in self.names:
            get(name)

    def time_get_miss(self, _: str) -> None:
        get = self.cache.get
        for name in self.others:
            get(name)

    def time_get_many(self, _: str) -> None:
        self.cache.get_many(self.names)

    def time_set_over(self, _: str) -> None:
        put = self.cache.set
        for name in self.names:
            put(name, name)

    def time_evict(self, _: str) -> None:
        put = self.cache.set
        for number in range(ENTRIES):
            put(number, number)
        for name in self.names:
            put(name, name)

    def track_hits_of_zipf(self, policy: str) -> float:
        """Share of hits where a thousand entries serve 100,000 reads that follow Zipf's law."""
        weights = list(accumulate((rank + 1) ** -0.99 for rank in range(100_000)))
        asked = random.Random(11).choices(range(100_000), cum_weights=weights, k=100_000)
        cache = L1Cache(1_000, policy=policy)
        hits = 0
        for key in asked:
            if cache.get(key) is None:
                cache.set(key, key)
            else:
                hits += 1
        return 100 * hits / len(asked)

    track_hits_of_zipf.unit = "%"  # type: ignore[attr-defined]


class L1Memory:
    """A million entries."""

    def peakmem_million(self) -> L1Cache:
        cache = L1Cache(MILLION)
        for number in range(MILLION):
            cache.set(number, number)
        return cache

    def track_python_bytes(self) -> float:
        """Bytes an entry that Python knows of, the keys among them; the table itself is in Rust."""
        tracemalloc.start()
        cache = L1Cache(ENTRIES)
        for number in range(ENTRIES):
            cache.set(number + MILLION, None)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used / len(cache)

    track_python_bytes.unit = "bytes"  # type: ignore[attr-defined]
