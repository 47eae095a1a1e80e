"""What the performance tests share: a benchmark with percentiles, text and plans of the benches, a store on loan.

They run once as tests of behaviour. ``pytest tests/performance --benchmark-enable`` measures and prints the table.
What is asserted of speed is a ratio to something measured beside it, with room for a busy machine.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SUITE = Path(__file__).resolve().parents[2] / "benches" / "suite"


@pytest.fixture
def measured(benchmark: Any) -> Callable[..., Any]:
    """Runs a function as benchmark, adds p50, p95 and p99 in microseconds, and gives its last result."""

    def run(function: Callable[..., Any], *arguments: Any, setup: Callable[[], Any] | None = None) -> Any:
        if setup is None:
            result = benchmark(function, *arguments)
        else:
            result = benchmark.pedantic(function, args=arguments, setup=setup, rounds=20)
        if benchmark.stats is not None:
            times = sorted(benchmark.stats.stats.data)
            for name, share in (("p50_us", 0.50), ("p95_us", 0.95), ("p99_us", 0.99)):
                benchmark.extra_info[name] = times[min(len(times) - 1, int(share * len(times)))] * 1e6
        return result

    return run


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test that is not async itself."""
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="session")
def texts() -> ModuleType:
    """The made-up notes of the benches."""
    return _module("texts")


@pytest.fixture(scope="session")
def plans() -> ModuleType:
    """The queries of known complexity of the benches."""
    return _module("plans")


def _module(name: str) -> ModuleType:
    import sys

    label = f"retain_benches_{name}"
    spec = importlib.util.spec_from_file_location(label, SUITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def best_ns() -> Callable[..., float]:
    """The least nanoseconds of several runs: what a busy machine disturbs least."""

    def least(function: Callable[[], object], rounds: int = 7) -> float:
        found = float("inf")
        for _ in range(rounds):
            started = time.perf_counter_ns()
            function()
            found = min(found, time.perf_counter_ns() - started)
        return found

    return least
