"""What the performance cases share: a benchmark with percentiles, an event loop, ratios, a real server of each kind.

They run once as tests of behaviour. ``pytest tests/performance --benchmark-enable`` measures and prints the table;
``--benchmark-json=FILE`` adds p50, p95 and p99 of each case. What is asserted of speed is a ratio to something
measured beside it, with room for a busy machine. docs/performance-cases.md is the list of the cases.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from servers import RedisServer, redis_binary

ROUNDS = 20
PERCENTILES = (("p50_us", 0.50), ("p95_us", 0.95), ("p99_us", 0.99))


class Measured:
    """A benchmark that gives the function's last result and reports p50, p95 and p99 in microseconds."""

    def __init__(self, benchmark: BenchmarkFixture) -> None:
        self._benchmark = benchmark
        self.note = benchmark.extra_info

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls it as often as the clock needs to time it well."""
        result = self._benchmark(function, *arguments)
        if self._benchmark.stats is not None:
            self._report([seconds * 1e6 for seconds in self._benchmark.stats.stats.data])
        return result

    def rounds(self, function: Callable[..., Any], *arguments: Any, rounds: int = ROUNDS) -> Any:
        """Calls it a fixed number of times: where a call is long, or must not be repeated at will."""
        result = self._benchmark.pedantic(function, args=arguments, rounds=rounds)
        if self._benchmark.stats is not None:
            self._report([seconds * 1e6 for seconds in self._benchmark.stats.stats.data])
        return result

    def each(
        self, function: Callable[..., Sequence[float]], *arguments: Any, rounds: int = ROUNDS
    ) -> list[float]:
        """Calls it a fixed number of times; reported are the microseconds that it gives, one for each operation."""
        found: list[float] = []
        self._benchmark.pedantic(lambda: found.extend(function(*arguments)), rounds=rounds)
        self._report(found)
        return found

    def _report(self, times_us: Sequence[float]) -> None:
        ordered = sorted(times_us)
        for name, share in PERCENTILES:
            self.note[name] = ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@pytest.fixture
def measured(benchmark: BenchmarkFixture) -> Measured:
    return Measured(benchmark)


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    """Runs coroutines on one loop for the length of the test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def best_ns() -> Callable[..., float]:
    """The least nanoseconds of several runs, what a busy machine disturbs least."""

    def least(function: Callable[[], object], rounds: int = 7) -> float:
        found = float("inf")
        for _ in range(rounds):
            started = time.perf_counter_ns()
            function()
            found = min(found, time.perf_counter_ns() - started)
        return found

    return least


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Redis or Valkey of this run's own."""
    with RedisServer(redis_binary(), tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders that last as long as the run."""
    return tmp_path_factory.mktemp
