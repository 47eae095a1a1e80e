"""The batch processor: order, retries, poison set aside, lanes, bounds, and no future left without an answer."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.batching import BatchProcessor, DeadLetter, Progress, is_retryable
from retain.batching.keyed import KeyedQueue
from retain.batching.sizes import Sizes
from retain.errors import InvalidInput, QueueClosed, QueueFull, StoreBusy, StoreCorrupt

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
    assert [(letter.item, letter.attempts, str(letter.error)) for letter in letters] == [
        (1, 3, "2"),
        (2, 3, "2"),
    ]
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
def test_every_item_gets_its_own_answer_whatever_fails(
    items: list[int], poison: set[int], busy: int, size: int
) -> None:
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
    [
        ({"batch_size": 0}, "batch_size"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"batch_sizes": {"x": 0}}, "x"),
    ],
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


# Groups: one awaitable for many items.


async def test_a_group_is_awaited_as_one_and_answers_in_the_order_of_its_items() -> None:
    handler = Handler()
    work = processor(handler, batch_size=3)
    first = work.submit_many([1, 2, 3, 4], priority=[9, 0, 5, 0])
    second = work.submit_many([5, 6], priority=3)
    assert await second == [10, 12]
    assert await first == await first == [2, 4, 6, 8]
    assert handler.batches == [[2, 4, 5], [6, 3, 1]]
    assert (first.done(), len(first), await first[-1]) == (True, 4, 8)
    assert [await future for future in first[1:3]] == [4, 6]


async def test_awaiting_a_group_raises_the_first_error_and_outcomes_shows_each() -> None:
    handler = Handler()
    handler.poison = {2, 4}
    group = processor(handler).submit_many([1, 2, 3, 4])
    with pytest.raises(ValueError, match="2"):
        await group
    assert [type(outcome) for outcome in await group.outcomes()] == [int, ValueError, int, ValueError]
    assert isinstance(group[1].exception(), ValueError)


async def test_cancelling_who_awaits_a_group_drops_what_has_not_begun() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler, batch_size=2)
    other = work.submit_many([100], priority=9)
    waiter = asyncio.ensure_future(work.submit_many(range(6)).outcomes())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiter.cancel()
    handler.gate.set()
    assert await other == [200]
    await work.drain()
    assert handler.batches == [[0, 1], [100]]
    assert work.stats().cancelled == 4


async def test_many_small_groups_and_single_items_each_get_their_own_answers() -> None:
    work = processor(Handler(), batch_size=7)
    groups = []
    for n in range(300):
        single = work.submit(n, priority=-n)
        groups.append((n, single, work.submit_many([n, n + 1], priority=[n, -n])))
        if n % 50 == 0:
            await work.drain()
    for n, single, group in groups:
        assert (await single, await group) == (n * 2, [n * 2, n * 2 + 2])
    assert len(work._owners._groups) < 300


# Order


async def test_a_key_gives_each_item_its_priority_once() -> None:
    asked: list[int] = []

    def key(item: int) -> int:
        asked.append(item)
        return -item

    handler = Handler()
    work = processor(handler, key=key)
    work.submit(1)
    work.submit_many([3, 2])
    work.submit(9, priority=0)
    await work.drain()
    assert handler.batches == [[3, 2, 1, 9]]
    assert asked == [1, 3, 2]


async def test_any_comparable_key_orders_items_after_their_priority() -> None:
    handler = Handler()
    work = processor(handler, sort_key=functools.cmp_to_key(lambda a, b: (a % 10) - (b % 10)), batch_size=3)
    work.submit_many([25, 11, 31, 4])
    work.submit(9, priority=-1)
    await work.drain()
    assert handler.batches == [[9, 11, 31], [4, 25]]


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("ab"), st.sampled_from("pasto")), max_size=60))
def test_the_python_queue_agrees_with_a_sorted_list(operations: list[tuple[int, str, str]]) -> None:
    queue = KeyedQueue()
    twin: list[tuple[int, int, str]] = []
    number = 0
    for key, lane, operation in operations:
        if operation in "pa":
            assert queue.push_many([number], [key], lane) == number
            twin.append((key, number, lane))
            number += 1
        elif operation == "t" and twin:
            twin.sort()
            assert queue.next_lane() == twin[0][2]
            mine = [entry for entry in twin if entry[2] == lane][:2]
            assert queue.pop_numbered(2, lane)[1] == [entry[1] for entry in mine]
            twin = [entry for entry in twin if entry not in mine]
        elif twin:
            twin.sort(
                key=(lambda entry: entry[1]) if operation == "o" else (lambda entry: (-entry[0], -entry[1]))
            )
            assert queue.shed(1, operation == "o")[0] == [twin.pop(0)[1]]
        assert len(queue) == len(twin)
    queue.clear()
    assert (queue.next_lane(), queue.lanes()) == (None, {})


# Bounds


@pytest.mark.parametrize(("rule", "kept"), [("shed_lowest", [0, 1, 2, 3]), ("shed_oldest", [2, 3, 8, 9])])
@pytest.mark.parametrize("ordering", [{}, {"sort_key": lambda _: 0}], ids=["rust", "python"])
async def test_what_does_not_fit_makes_room_by_the_rule(
    rule: str, kept: list[int], ordering: dict[str, Any]
) -> None:
    handler = Handler()
    work = processor(handler, capacity=4, when_full=rule, **ordering)
    futures = {n: work.submit(n, priority=n) for n in (0, 1, 2, 9, 8)}
    futures[3] = work.submit_many([3], priority=3)[0]
    answers = dict(zip(futures, await asyncio.gather(*futures.values(), return_exceptions=True), strict=True))
    assert sorted(n for n, answer in answers.items() if answer == n * 2) == kept
    assert sum(isinstance(answer, QueueFull) for answer in answers.values()) == work.stats().shed == 2


async def test_who_waits_for_room_gets_it_in_the_order_of_coming() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler, batch_size=1, capacity=2, when_full="wait")
    work.submit_many([0, 1])
    large = asyncio.ensure_future(work.put_many([2, 3]))
    small = asyncio.ensure_future(work.put(4))
    gone = asyncio.ensure_future(work.put(5))
    last = asyncio.ensure_future(work.put(6))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        work.submit(9)  # it would go before those who wait
    gone.cancel()
    handler.gate.set()
    assert await (await large) == [4, 6]
    assert (await (await small), await (await last)) == (8, 12)
    assert handler.batches == [[n] for n in (0, 1, 2, 3, 4, 6)]
    with pytest.raises(QueueFull):
        await work.put_many([1, 2, 3])
    assert await (await work.put(1)) == 2


async def test_room_that_was_given_to_a_cancelled_waiter_goes_to_the_next() -> None:
    handler = Handler()

    async def cancels_first(items: Sequence[int]) -> Sequence[int]:
        first.cancel()  # its room was given to it in this very step
        return await handler(items)

    work = processor(cancels_first, batch_size=2, capacity=2, when_full="wait")
    first, second = (asyncio.ensure_future(work.put_many([n, n])) for n in (2, 3))
    work.submit_many([0, 1])
    assert await (await second) == [6, 6]
    await asyncio.gather(first, return_exceptions=True)
    assert (first.cancelled(), work._room._reserved) == (True, 0)
    await work.drain()
    assert [2, 2] not in handler.batches


# Retries aside, concurrency, lingering, sizes


async def test_unordered_a_batch_that_failed_waits_aside_while_others_go_on() -> None:
    handler = Handler()
    handler.failures = [StoreBusy("busy")]
    work = processor(handler, batch_size=2, ordered=False, capacity=4)
    group = work.submit_many(range(4))
    while not work.stats().retrying:  # noqa: ASYNC110 - step by step on purpose
        await asyncio.sleep(0)
    assert work.stats().waiting >= 2
    assert await group == [0, 2, 4, 6]
    assert handler.batches == [[0, 1], [2, 3], [0, 1]]
    assert (work.stats().retries, work.stats().retrying) == (1, 0)


async def test_unordered_tries_end_at_their_limit_as_well() -> None:
    handler = Handler()
    handler.failures = [StoreBusy(str(n)) for n in range(9)]
    work = processor(handler, ordered=False, max_attempts=3)
    answers = await work.submit_many([1, 2]).outcomes()
    assert [str(answer) for answer in answers] == ["2", "2"]
    assert [letter.attempts for letter in work.dead_letters()] == [3, 3]


@pytest.mark.parametrize(("ordered", "most"), [(True, 2), (False, 3)])
async def test_batches_run_beside_each_other_and_in_order_within_a_lane_if_asked(
    ordered: bool, most: int
) -> None:
    running: list[int] = []
    highest = 0
    seen: dict[int, list[int]] = {0: [], 1: []}

    async def handler(items: Sequence[int]) -> Sequence[int]:
        nonlocal highest
        running.append(items[0] % 2)
        highest = max(highest, len(running))
        assert not ordered or running.count(items[0] % 2) == 1
        for _ in range(items[0] % 5):
            await asyncio.sleep(0)
        seen[items[0] % 2] += items
        running.remove(items[0] % 2)
        return items

    work = processor(handler, batch_size=2, concurrency=3, ordered=ordered)
    groups = [work.submit_many(range(lane, 40, 2), lane=str(lane)) for lane in (0, 1)]
    for lane, group in enumerate(groups):
        assert await group == list(range(lane, 40, 2))
    assert highest == most
    assert not ordered or list(seen.values()) == [list(range(0, 40, 2)), list(range(1, 40, 2))]


async def test_a_batch_that_is_not_full_lingers_and_a_full_one_does_not() -> None:
    handler = Handler()
    work = processor(handler, batch_size=3, linger_ms=60_000)
    early = work.submit(1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert handler.batches == []
    assert await work.submit_many([2, 3]) == [4, 6]
    assert (await early, handler.batches) == (2, [[1, 2, 3]])
    last = work.submit(4)
    await work.drain()  # does not wait for company
    assert last.result() == 8
    assert await processor(handler, linger_ms=1).submit(5) == 10


async def test_the_size_of_batches_follows_the_latency_of_the_handler() -> None:
    now = 0.0
    sizes: list[int] = []

    async def one_ms_each(items: Sequence[int]) -> Sequence[int]:
        nonlocal now
        now += len(items) / 1000
        sizes.append(len(items))
        return items

    work = processor(one_ms_each, batch_size=4, target_ms=20, batch_size_max=64, clock=lambda: now)
    await work.submit_many(range(500))
    assert sizes[0] == 4
    assert all(18 <= size <= 21 for size in sizes[8:-1])
    assert work.stats().sizes[""] == sizes[-2]
    work.resize(3)
    await work.submit_many(range(3))
    assert sizes[-1] == 3


def test_sizes_stay_between_one_and_the_most_and_grow_only_after_full_batches() -> None:
    sizes = Sizes(10, {"own": 2}, 100.0, 30)
    sizes.learn("", 3, 1.0)
    assert sizes.of("") == 10
    for _ in range(9):
        sizes.learn("", sizes.of(""), 1.0)
        sizes.learn("own", sizes.of("own"), 1e6)
    assert sizes.now() == {"": 30, "own": 1}


# Dead letters, progress, closing


async def test_dead_letters_are_kept_up_to_a_limit() -> None:
    handler = Handler()
    handler.poison = {1, 2, 3}
    work = processor(handler, dead_max=2)
    await work.submit_many([1, 2], lane="a").outcomes()
    await work.submit_many([3, 4], lane="b").outcomes()
    assert [(letter.item, letter.lane) for letter in work.dead_letters()] == [(2, "a"), (3, "b")]
    assert (work.stats().dead, work.stats().letters) == (3, 2)


async def test_progress_is_told_and_a_listener_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    handler.failures = [StoreBusy("busy")]
    handler.poison = {3}
    told: list[Progress] = []
    work = processor(handler, on_progress=told.append, batch_size=2)
    await work.submit_many([1, 2, 3]).outcomes()
    assert [(event.kind, event.items, event.attempt) for event in told] == [
        ("retry", 2, 1), ("done", 2, 2), ("dead", 1, 1),
    ]  # fmt: skip
    broken = processor(handler, on_progress=lambda _: 1 / 0)
    with caplog.at_level(logging.ERROR):
        assert await broken.submit(5) == 10
    assert "batch.on_progress_failed" in caplog.text


async def test_closing_drains_and_takes_nothing_more() -> None:
    handler = Handler()
    handler.gate.clear()
    work = processor(handler, batch_size=1, capacity=1, when_full="wait")
    first = work.submit(1)
    late = asyncio.ensure_future(work.put(2))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(work.put(3))
    await asyncio.sleep(0)
    handler.gate.set()
    assert await work.close() == 0
    assert first.result() == 2
    assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], QueueClosed)
    for offer in (work.submit, lambda n: work.submit_many([n])):
        with pytest.raises(QueueClosed):
            offer(3)
    with pytest.raises(QueueClosed):
        await work.put(3)


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_is_left_at_the_timeout_of_closing_is_cancelled(ordered: bool) -> None:
    handler = Handler()
    handler.failures = [StoreBusy("busy")] * 9
    work = processor(handler, batch_size=2, backoff_ms=1e9, backoff_max_ms=1e9, ordered=ordered)
    group = work.submit_many(range(5))
    assert await work.close(timeout_ms=1) == 5
    assert all(future.cancelled() for future in group)
    assert (work.stats().waiting, work.stats().cancelled) == (0, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"when_full": "panic"},
        {"concurrency": 0},
        {"capacity": 0},
        {"target_ms": 0},
        {"key": int, "sort_key": int},
    ],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        processor(Handler(), **options)
