"""Seeded key traces for caches, for any capacity; needs numpy.

Six habits of access (Zipf, Zipf with scans, loop, shifting popularity, recency, churn), all in proportion to the
capacity, so that a policy that was tuned at one size is tried at others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CAPACITY = 10_000
ACCESSES_PER_ENTRY = 100
ACCESSES_MAX = 3_000_000
LOOP_ROUNDS = 40
SEED = 20261122
Trace = np.ndarray[Any, np.dtype[np.int64]]


def zipf_of(rng: np.random.Generator, keys: int, count: int) -> Trace:
    """Zipf with theta 0.99, popularity scattered over the keys."""
    shares = np.cumsum(1.0 / np.arange(1, keys + 1) ** 0.99)
    return rng.permutation(keys)[np.searchsorted(shares / shares[-1], rng.random(count))]


def zipf(rng: np.random.Generator, capacity: int, accesses: int) -> Trace:
    """A hundred keys an entry."""
    return zipf_of(rng, 100 * capacity, accesses)


def zipf_scan(rng: np.random.Generator, capacity: int, accesses: int) -> Trace:
    """After as many accesses as entries a scan over as many keys that never come again."""
    popular = zipf_of(rng, 10 * capacity, accesses // 2).reshape(-1, capacity)
    scans = np.arange(10 * capacity, 10 * capacity + accesses // 2).reshape(-1, capacity)
    return np.stack([popular, scans], axis=1).reshape(-1)


def loop(_rng: np.random.Generator, capacity: int, _accesses: int) -> Trace:
    """Round and round 1.25 times the capacity."""
    return np.tile(np.arange(capacity * 5 // 4), LOOP_ROUNDS)


def shift(rng: np.random.Generator, capacity: int, accesses: int) -> Trace:
    """Popularity is drawn anew five times."""
    return np.concatenate([zipf_of(rng, 10 * capacity, accesses // 5) for _ in range(5)])


def recency(rng: np.random.Generator, capacity: int, accesses: int) -> Trace:
    """What was used comes back by age, heavy-tailed; 15 % are new."""
    drawn = (rng.pareto(0.35, accesses) + 1) * 0.004 * capacity
    ages = np.clip(drawn, 1, 5e8).astype(np.int64).tolist()
    is_new = (rng.random(accesses) < 0.15).tolist()
    out: list[int] = []
    fresh = 0
    for i, age in enumerate(ages):
        if is_new[i] or age > i:
            out.append(fresh)
            fresh += 1
        else:
            out.append(out[i - age])
    return np.array(out)


def churn(rng: np.random.Generator, capacity: int, accesses: int) -> Trace:
    """60 % long-lived keys, 40 % keys read one to four times in a short while."""
    out = np.where(rng.random(accesses) < 0.60, zipf_of(rng, 2 * capacity, accesses), -1)
    free = np.flatnonzero(out < 0)
    used = np.zeros(len(free), bool)
    reach = max(1, capacity * 8 // 100)
    for fresh, i in enumerate(range(len(free)), 2 * capacity):
        if used[i]:
            continue
        out[free[i]] = fresh
        for _ in range(int(rng.integers(0, 4))):
            j = i + 1 + int(rng.integers(0, reach))
            if j < len(free) and not used[j]:
                used[j] = True
                out[free[j]] = fresh
    return out


TRACES: Mapping[str, Callable[[np.random.Generator, int, int], Trace]] = {
    f.__name__: f for f in (zipf, zipf_scan, loop, shift, recency, churn)
}


def key(number: int) -> str:
    """A key of 20 characters."""
    return f"memory:item:{number:08d}"


def keys_of(name: str, capacity: int = CAPACITY, seed: int = SEED) -> list[str]:
    """The keys of a trace in the order of access; equal keys are one object."""
    accesses = min(ACCESSES_PER_ENTRY * capacity, ACCESSES_MAX)
    numbers = TRACES[name](np.random.default_rng(seed), capacity, accesses)
    unique, places = np.unique(numbers, return_inverse=True)
    names = [key(number) for number in unique.tolist()]
    return [names[place] for place in places.tolist()]
