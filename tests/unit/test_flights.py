"""What callers of ``get_or_compute`` may rely on while a value is being computed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from retain.cache import L1Cache


class Loader:
    """Runs until it is let go, and counts its runs."""

    def __init__(self, answer: object = "value") -> None:
        self.answer = answer
        self.runs = 0
        self.started = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> object:
        self.runs += 1
        self.started.set()
        assert self.released.wait(20)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - what happened is what is compared
        return error


def waiting(cache: L1Cache, count: int, loader: Loader, pool: ThreadPoolExecutor) -> list[object]:
    """What ``count`` threads get that asked while the loader ran."""
    begun = threading.Barrier(count)

    def ask() -> object:
        if begun.wait(20) == 0:
            pass
        return outcome(lambda: cache.get_or_compute("key", loader))

    asking = [pool.submit(ask) for _ in range(count)]
    assert loader.started.wait(20)
    loader.released.set()
    return [future.result(20) for future in asking]


def test_a_loader_runs_once_and_its_value_is_stored() -> None:
    cache = L1Cache()
    assert cache.get_or_compute("key", lambda: 1) == 1
    assert cache.get_or_compute("key", lambda: 2) == 1
    assert cache.get("key") == 1
    assert cache.get_or_compute("none", lambda: None) is None
    assert "none" in cache
    stats = cache.stats()
    assert (stats["hits"], stats["misses"], stats["insertions"]) == (2, 2, 2)


def test_a_value_that_is_not_stored_is_given_all_the_same() -> None:
    assert L1Cache(0).get_or_compute("key", lambda: 1) == 1


def test_threads_that_miss_together_share_one_loader() -> None:
    cache, loader = L1Cache(), Loader()
    with ThreadPoolExecutor(32) as pool:
        assert waiting(cache, 32, loader, pool) == ["value"] * 32
    assert loader.runs == 1


def test_an_error_is_everybodys_and_the_next_call_tries_again() -> None:
    cache, loader = L1Cache(), Loader(LookupError("no"))
    first = threading.Thread(target=lambda: outcome(lambda: cache.get_or_compute("key", loader)))
    first.start()
    assert loader.started.wait(20)
    with ThreadPoolExecutor(8) as pool:
        followers = [pool.submit(outcome, lambda: cache.get_or_compute("key", loader)) for _ in range(8)]
        loader.released.set()
        answers = {future.result(20) for future in followers}
    first.join()
    assert all(isinstance(answer, LookupError) for answer in answers)
    assert cache.get_or_compute("key", lambda: "later") == "later"


def test_a_leader_that_exits_leaves_the_lead_to_a_follower() -> None:
    cache, loader = L1Cache(), Loader(SystemExit())
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(outcome, lambda: cache.get_or_compute("key", loader))
        assert loader.started.wait(20)
        follower = pool.submit(cache.get_or_compute, "key", lambda: "mine")
        loader.released.set()
        assert isinstance(leader.result(20), SystemExit)
        assert follower.result(20) == "mine"


def test_a_loader_that_asks_for_its_own_key_is_an_error_and_not_a_deadlock() -> None:
    cache = L1Cache()
    with pytest.raises(RuntimeError, match="'key'"):
        cache.get_or_compute("key", lambda: cache.get_or_compute("key", lambda: 1))
    assert cache.get_or_compute("a", lambda: cache.get_or_compute("b", lambda: 1)) == 1


def test_loaders_that_wait_for_each_other_are_an_error_and_not_a_deadlock() -> None:
    cache = L1Cache()
    meet = threading.Barrier(2)

    def ask(mine: str, other: str) -> object:
        def loader() -> object:
            meet.wait(20)
            return cache.get_or_compute(other, lambda: f"{other} alone")

        return outcome(lambda: cache.get_or_compute(mine, loader))

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, "a", "b"), pool.submit(ask, "b", "a")]
        assert any(isinstance(answer.result(20), RuntimeError) for answer in answers)
