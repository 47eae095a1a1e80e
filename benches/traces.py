"""Seeded key traces for caches, after ``../shared/perf/traces.py``; needs numpy.

Where that file is present its own traces are used, so that figures compare with earlier ones.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CAPACITY = 10_000
ACCESSES = 1_000_000
SEED = 20261122
SHARED = Path(__file__).resolve().parents[2] / "shared" / "perf" / "traces.py"
Trace = np.ndarray[Any, np.dtype[np.int64]]


def zipf_of(rng: np.random.Generator, keys: int, count: int) -> Trace:
    """Zipf with theta 0.99, popularity scattered over the keys."""
    shares = np.cumsum(1.0 / np.arange(1, keys + 1) ** 0.99)
    return rng.permutation(keys)[np.searchsorted(shares / shares[-1], rng.random(count))]


def zipf(rng: np.random.Generator) -> Trace:
    """A million keys."""
    return zipf_of(rng, 1_000_000, ACCESSES)


def zipf_scan(rng: np.random.Generator) -> Trace:
    """After every 10,000 accesses a scan over as many keys that never come again."""
    popular = zipf_of(rng, 100_000, ACCESSES // 2).reshape(-1, CAPACITY)
    scans = np.arange(100_000, 100_000 + ACCESSES // 2).reshape(-1, CAPACITY)
    return np.stack([popular, scans], axis=1).reshape(-1)


def loop(_rng: np.random.Generator) -> Trace:
    """Round and round 1.25 times the capacity."""
    return np.tile(np.arange(12_500), 40)


def shift(rng: np.random.Generator) -> Trace:
    """Popularity is drawn anew five times."""
    return np.concatenate([zipf_of(rng, 100_000, ACCESSES // 5) for _ in range(5)])


def recency(rng: np.random.Generator) -> Trace:
    """What was used comes back by age, heavy-tailed; 15 % are new."""
    ages = np.minimum((rng.pareto(0.35, ACCESSES) + 1) * 40, 5e8).astype(np.int64).tolist()
    is_new = (rng.random(ACCESSES) < 0.15).tolist()
    out: list[int] = []
    fresh = 0
    for i, age in enumerate(ages):
        if is_new[i] or age > i:
            out.append(fresh)
            fresh += 1
        else:
            out.append(out[i - age])
    return np.array(out)


def churn(rng: np.random.Generator) -> Trace:
    """60 % long-lived keys, 40 % keys read one to four times in a short while."""
    out = np.where(rng.random(ACCESSES) < 0.60, zipf_of(rng, 20_000, ACCESSES), -1)
    free = np.flatnonzero(out < 0)
    used = np.zeros(len(free), bool)
    for fresh, i in enumerate(range(len(free)), 20_000):
        if used[i]:
            continue
        out[free[i]] = fresh
        for _ in range(int(rng.integers(0, 4))):
            j = i + 1 + int(rng.integers(0, 800))
            if j < len(free) and not used[j]:
                used[j] = True
                out[free[j]] = fresh
    return out


TRACES = {f.__name__: f for f in (zipf, zipf_scan, loop, shift, recency, churn)}


def key(number: int) -> str:
    """A key of 20 characters."""
    return f"memory:item:{number:08d}"


def keys_of(name: str) -> list[str]:
    """The keys of a trace in the order of access; equal keys are one object."""
    numbers = _load(name)
    unique, places = np.unique(numbers, return_inverse=True)
    names = [key(number) for number in unique.tolist()]
    return [names[place] for place in places.tolist()]


def _load(name: str) -> Trace:
    if not SHARED.exists():
        return TRACES[name](np.random.default_rng(SEED))
    os.environ.setdefault("BENCH_TRACES", str(Path(tempfile.gettempdir()) / "retain-traces"))
    spec = importlib.util.spec_from_file_location("shared_traces", SHARED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Trace = module.load(name)
    return found
