"""The batch processor: order, retries, poison set aside, lanes, bounds, and no future left without an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.batching import BatchProcessor, DeadLetter, is_retryable
from retain.errors import InvalidInput, QueueFull, StoreBusy, StoreCorrupt

pytestmark = pytest.mark.anyio


class Handler:
    """Doubles numbers, keeps the batches it was given, and fails as told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.poison: set[int] = set()
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if bad := self.poison.intersection(items):
            raise ValueError(f"poison {sorted(bad)}")
        return [item * 2 for item in items]


def processor(handler: Any, **options: Any) -> BatchProcessor[int, int]:
    return BatchProcessor(handler, **({"backoff_ms": 0.001, "random": lambda: 1.0} | options))


async def test_items_are_answered_in_their_order_and_in_full_batches() -> None:
    handler = Handler()
    work = processor(handler, batch_size=4)
    futures = work.submit_many(range(10))
    assert await asyncio.gather(*futures) == [n * 2 for n in range(10)]
    assert handler.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    stats = work.stats()
    assert (stats.done, stats.batches, stats.retries, stats.dead, stats.waiting) == (10, 3, 0, 0, 0)


async def test_items_that_come_while_a_batch_runs_go_together_into_the_next() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler)
    first = work.submit(1)
    await asyncio.sleep(0)
    rest = [work.submit(n) for n in (2, 3, 4)]
    handler.gate.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert handler.batches == [[1], [2, 3, 4]]


async def test_the_lowest_priority_value_goes_first_and_equals_keep_their_order() -> None:
    handler = Handler()
    work = processor(handler)
    for item, priority in [(1, 5), (2, 0), (3, 5), (4, -1), (5, 0)]:
        work.submit(item, priority=priority)
    await work.drain()
    assert handler.batches == [[4, 2, 5, 1, 3]]


async def test_lanes_are_never_mixed_in_a_batch_and_have_sizes_of_their_own() -> None:
    handler = Handler()
    work = processor(handler, batch_size=10, batch_sizes={"slow": 2})
    work.submit_many([1, 2, 3], lane="slow")
    work.submit_many([11, 12, 13], lane="fast")
    await work.drain()
    assert handler.batches == [[1, 2], [3], [11, 12, 13]]


async def test_a_lane_that_is_always_full_does_not_starve_the_others() -> None:
    handler = Handler()
    work = processor(handler, batch_size=1)

    async def refill(items: Sequence[int]) -> Sequence[int]:
        if items[0] < 50:
            work.submit(items[0] + 1, lane="greedy")
        return await handler(items)

    work = processor(refill, batch_size=1)
    work.submit(0, lane="greedy")
    work.submit(1000, lane="patient")
    await work.drain()
    assert [1000] in handler.batches[:3]


async def test_what_is_urgent_in_one_lane_goes_before_what_is_not_in_another() -> None:
    handler = Handler()
    work = processor(handler)
    work.submit(1, lane="first", priority=9)
    work.submit(2, lane="second", priority=0)
    await work.drain()
    assert handler.batches == [[2], [1]]


async def test_a_failure_that_may_pass_is_tried_again_with_the_same_batch() -> None:
    handler = Handler()
    handler.failures = [StoreBusy("busy"), TimeoutError()]
    work = processor(handler)
    assert await asyncio.gather(*work.submit_many([1, 2])) == [2, 4]
    assert handler.batches == [[1, 2]] * 3
    assert (work.stats().retries, work.stats().batches, work.stats().dead) == (2, 1, 0)


async def test_the_wait_between_tries_doubles_up_to_its_limit_and_is_jittered() -> None:
    work = processor(Handler(), backoff_ms=10, backoff_max_ms=35, random=lambda: 0.5)
    assert [work._wait_s(attempt) for attempt in (1, 2, 3, 4, 60)] == [0.005, 0.01, 0.0175, 0.0175, 0.0175]


async def test_tries_end_at_their_limit_and_the_whole_batch_is_given_up_with_its_error() -> None:
    handler = Handler()
    handler.failures = [StoreBusy(str(n)) for n in range(9)]
    letters: list[DeadLetter[int]] = []
    work = processor(handler, max_attempts=3, on_dead=letters.append)
    answers = await asyncio.gather(*work.submit_many([1, 2]), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["2", "2"]
    assert len(handler.batches) == 3
    assert [(letter.item, letter.attempts, str(letter.error)) for letter in letters] == [(1, 3, "2"), (2, 3, "2")]
    assert (work.stats().dead, work.stats().done) == (2, 0)


async def test_a_poisonous_item_is_set_aside_and_its_neighbours_are_handled() -> None:
    handler = Handler()
    handler.poison = {3}
    letters: list[DeadLetter[int]] = []
    work = processor(handler, on_dead=letters.append)
    answers = await asyncio.gather(*work.submit_many(range(5)), return_exceptions=True)
    assert answers[:3] + answers[4:] == [0, 2, 4, 8]
    assert isinstance(answers[3], ValueError)
    assert [(letter.item, letter.attempts) for letter in letters] == [(3, 1)]
    assert (work.stats().done, work.stats().dead) == (4, 1)


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.integers(0, 30), max_size=40),
    poison=st.sets(st.integers(0, 30)),
    busy=st.integers(0, 8),
    size=st.integers(1, 9),
)
def test_every_item_gets_its_own_answer_whatever_fails(items: list[int], poison: set[int], busy: int, size: int) -> None:
    async def run() -> None:
        handler = Handler()
        handler.poison = poison
        handler.failures = [StoreBusy("busy")] * busy
        work = processor(handler, batch_size=size, max_attempts=10)
        answers = await asyncio.gather(*work.submit_many(items), return_exceptions=True)
        for item, answer in zip(items, answers, strict=True):
            assert isinstance(answer, ValueError) if item in poison else answer == item * 2
        dead = sum(item in poison for item in items)
        assert (work.stats().done, work.stats().dead) == (len(items) - dead, dead)

    asyncio.run(run())


async def test_a_full_queue_refuses_and_takes_nothing_of_what_was_offered() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler, capacity=2)
    running = work.submit(0)
    await asyncio.sleep(0)
    kept = [*work.submit_many([1])]
    with pytest.raises(QueueFull):
        work.submit_many([2, 3])
    kept.append(work.submit(2))
    with pytest.raises(QueueFull):
        work.submit(3)
    handler.gate.set()
    assert await asyncio.gather(running, *kept) == [0, 2, 4]
    assert [item for batch in handler.batches for item in batch] == [0, 1, 2]


async def test_an_item_that_nobody_waits_for_any_more_is_not_handled() -> None:
    handler = Handler()
    work = processor(handler, batch_size=2)
    futures = work.submit_many(range(5))
    for number in (0, 1, 3):
        futures[number].cancel()
    await work.drain()
    assert handler.batches == [[2], [4]]
    assert [future.cancelled() for future in futures] == [True, True, False, True, False]


@pytest.mark.parametrize("failing", [False, True])
async def test_cancelling_while_the_batch_runs_harms_nobody_else(failing: bool) -> None:
    handler = Handler()
    handler.gate.clear()
    handler.failures = [KeyError("x")] * 3 if failing else []
    work = processor(handler)
    first, second = work.submit_many([1, 2])
    await asyncio.sleep(0)
    first.cancel()
    handler.gate.set()
    (answer,) = await asyncio.gather(second, return_exceptions=True)
    assert isinstance(answer, KeyError) if failing else answer == 4
    await work.drain()
    assert first.cancelled()


async def test_a_cancelled_worker_cancels_what_runs_and_what_waits() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler, batch_size=1)
    futures = list(work.submit_many(range(4)))
    await asyncio.sleep(0)
    (worker,) = work._workers
    worker.cancel()
    await asyncio.wait(futures)
    assert all(future.cancelled() for future in futures)
    assert work.stats().waiting == 0
    handler.gate.set()
    assert await work.submit(5) == 10  # and the processor works on


async def test_a_handler_that_cancels_itself_loses_only_its_own_batch() -> None:
    handler = Handler()

    async def cancels_once(items: Sequence[int]) -> Sequence[int]:
        if not handler.batches:
            handler.batches.append(list(items))
            raise asyncio.CancelledError
        return await handler(items)

    work = processor(cancels_once, batch_size=1)
    first, second = work.submit_many([1, 2])
    assert await second == 4
    assert first.cancelled()


@pytest.mark.parametrize("results", [[], [1], [1, 2, 3]])
async def test_a_handler_with_too_few_or_too_many_results_fails_every_item(results: list[int]) -> None:
    async def miscounts(items: Sequence[int]) -> Sequence[int]:
        return results if len(items) > 1 else [*results, 0, 0]

    work = processor(miscounts)
    answers = await asyncio.gather(*work.submit_many([1, 2]), return_exceptions=True)
    assert all(isinstance(answer, ValueError) for answer in answers)
    assert work.stats().done == 0


async def test_a_listener_that_fails_keeps_nobody_from_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    handler.poison = {1, 3}

    def fails(_: DeadLetter[int]) -> None:
        raise RuntimeError("listener")

    work = processor(handler, on_dead=fails)
    with caplog.at_level(logging.ERROR):
        answers = await asyncio.gather(*work.submit_many([1, 2, 3]), return_exceptions=True)
    assert (type(answers[0]), answers[1], type(answers[2])) == (ValueError, 4, ValueError)
    assert caplog.text.count("batch.on_dead_failed") == 2


async def test_draining_waits_for_what_is_queued_and_for_what_comes_meanwhile() -> None:
    handler = Handler()
    work = processor(handler, batch_size=2)
    await work.drain()
    futures = list(work.submit_many(range(3)))
    futures[0].add_done_callback(lambda _: futures.append(work.submit(9)))
    await work.drain()
    assert [future.result() for future in futures] == [0, 2, 4, 18]


async def test_submitting_nothing_starts_nothing() -> None:
    work = processor(Handler())
    assert list(work.submit_many([])) == []
    assert await work.submit_many([]) == []
    assert not work._workers


@pytest.mark.parametrize(
    ("options", "field"),
    [({"batch_size": 0}, "batch_size"), ({"max_attempts": 0}, "max_attempts"), ({"batch_sizes": {"x": 0}}, "x")],
)
async def test_sizes_below_one_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        processor(Handler(), **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("error", "expected"),
    [(StoreBusy("x"), True), (StoreCorrupt("x"), False), (TimeoutError(), True), (ValueError(), False)],
)
async def test_retrying_is_worth_it_where_the_error_says_so(error: Exception, expected: bool) -> None:
    assert is_retryable(error) is expected


async def test_the_caller_may_say_what_is_worth_retrying() -> None:
    handler = Handler()
    handler.failures = [KeyError("x")]
    always: Callable[[Exception], bool] = lambda _: True  # noqa: E731
    assert await processor(handler, retryable=always).submit(1) == 2
