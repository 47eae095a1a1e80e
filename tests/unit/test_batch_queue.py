"""What a caller of the batch queue may rely on."""

import gc
import random
import weakref
from typing import Any

import pytest

from retain._core import BatchQueue
from retain.errors import QueueFull


def drain(queue: BatchQueue) -> list[Any]:
    return queue.pop_batch(len(queue))


def test_the_lowest_priority_value_leaves_first() -> None:
    queue = BatchQueue()
    for priority in (5, -1, 3, 2**63 - 1, -(2**63)):
        queue.push(priority, priority)
    assert drain(queue) == [-(2**63), -1, 3, 5, 2**63 - 1]


def test_equals_leave_in_the_order_they_came() -> None:
    queue = BatchQueue()
    for n in range(100):
        queue.push(n, priority=n % 2)
    queue.push_many(range(100, 200), [n % 2 for n in range(100, 200)])
    assert drain(queue) == [*range(0, 200, 2), *range(1, 200, 2)]


def test_items_are_never_compared() -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __lt__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    queue = BatchQueue()
    items = [Incomparable() for _ in range(20)]
    queue.push_many(items)
    assert all(a is b for a, b in zip(drain(queue), items, strict=True))


def test_popping_an_empty_queue_is_an_index_error() -> None:
    queue = BatchQueue()
    with pytest.raises(IndexError):
        queue.pop()
    queue.push("later", due_ms=10)
    with pytest.raises(IndexError):
        queue.pop()
    assert queue.pop_batch(5) == []


def test_a_lane_is_popped_alone_or_with_all_others() -> None:
    queue = BatchQueue()
    queue.push_many(["a1", "a2"], [3, 1], lane="a")
    queue.push("b1", 2, lane="b")
    queue.push("b2", 2, lane="b", due_ms=5)
    assert queue.lanes() == {"a": 2, "b": 2}
    assert queue.pop_batch(9, lane="b") == ["b1"]
    assert queue.pop_batch(9, lane="none") == []
    assert queue.pop() == "a2"
    assert queue.lanes() == {"a": 1, "b": 1}


def test_a_delayed_item_comes_out_when_due_and_only_then() -> None:
    queue = BatchQueue()
    queue.push("second", priority=0, due_ms=200, lane="x")
    queue.push("first", priority=9, due_ms=100)
    queue.push("third", priority=1, due_ms=200)
    assert queue.next_due_ms() == 100
    assert queue.pop_due(99, 10) == []
    assert queue.pop_due(200, 1) == ["first"]
    assert queue.pop_due(200, 10, lane="") == ["third"]
    assert queue.pop_due(10**15, 10) == ["second"]
    assert queue.next_due_ms() is None
    assert len(queue) == 0


def test_a_full_queue_refuses_and_keeps_what_it_has() -> None:
    queue = BatchQueue(capacity=3)
    queue.push_many("ab")
    with pytest.raises(QueueFull, match="capacity of 3") as caught:
        queue.push_many("cd")
    assert caught.value.retryable
    assert len(queue) == 2
    queue.push("c", due_ms=1)
    with pytest.raises(QueueFull):
        queue.push("d")
    assert queue.stats() == {
        "pushed": 3, "popped": 0, "shed": 0, "refused": 3, "peak": 3, "items": 3, "delayed": 1, "capacity": 3,
    }  # fmt: skip
    assert queue.pop() == "a"
    queue.push("d")
    assert drain(queue) == ["b", "d"]


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_a_value_error(capacity: int) -> None:
    with pytest.raises(ValueError, match=r"^capacity:"):
        BatchQueue(capacity)


@pytest.mark.parametrize(
    ("priority", "error"),
    [(2**63, OverflowError), (-(2**63) - 1, OverflowError), (1.5, TypeError), ("1", TypeError)],
)
def test_a_priority_is_a_64_bit_int(priority: Any, error: type[Exception]) -> None:
    queue = BatchQueue()
    with pytest.raises(error):
        queue.push("a", priority)
    with pytest.raises(error):
        queue.push_many(["a", "b"], [1, priority])
    assert len(queue) == 0


def test_times_and_counts_are_not_negative() -> None:
    queue = BatchQueue()
    with pytest.raises(OverflowError):
        queue.push("a", due_ms=-1)
    with pytest.raises(OverflowError):
        queue.pop_batch(-1)
    with pytest.raises(OverflowError):
        queue.pop_due(-1, 1)


@pytest.mark.parametrize("priorities", [[1], [1, 2, 3]])
def test_priorities_are_as_many_as_items(priorities: list[int]) -> None:
    queue = BatchQueue()
    with pytest.raises(ValueError, match=r"^priorities:"):
        queue.push_many(["a", "b"], priorities)
    assert len(queue) == 0


def test_an_iterator_that_raises_adds_nothing() -> None:
    def items() -> Any:
        yield "a"
        raise LookupError

    queue = BatchQueue()
    with pytest.raises(LookupError):
        queue.push_many(items())
    assert len(queue) == 0


def test_clearing_drops_everything_and_keeps_the_counters() -> None:
    class Item:
        pass

    queue = BatchQueue()
    item = Item()
    alive = weakref.ref(item)
    queue.push(item)
    queue.push(1, due_ms=5, lane="x")
    del item
    queue.clear()
    assert alive() is None
    assert (len(queue), queue.lanes(), queue.next_due_ms()) == (0, {}, None)
    assert queue.stats()["pushed"] == 2


def test_a_destructor_may_use_the_queue_that_drops_its_object() -> None:
    queue = BatchQueue(capacity=1)
    seen: list[int] = []

    class Farewell:
        def __del__(self) -> None:
            seen.append(len(queue))

    queue.push(Farewell())
    with pytest.raises(QueueFull):
        queue.push(Farewell())
    with pytest.raises(QueueFull):
        queue.push_many([Farewell()])
    queue.clear()
    gc.collect()
    assert len(seen) == 3


def test_a_cycle_through_the_queue_is_collected() -> None:
    class Holder:
        queue: BatchQueue

    holder = Holder()
    holder.queue = BatchQueue()
    holder.queue.push(holder)
    holder.queue.push(holder, due_ms=5)
    alive = weakref.ref(holder)
    del holder
    gc.collect()
    assert alive() is None


def test_random_pushes_and_pops_agree_with_a_sorted_list() -> None:
    rng = random.Random(5)
    queue = BatchQueue()
    twin: list[tuple[int, int]] = []
    for number in range(5000):
        priority = rng.randrange(-50, 50)
        queue.push(number, priority)
        twin.append((priority, number))
        if rng.random() < 0.4:
            twin.sort()
            count = rng.randrange(1, 4)
            assert queue.pop_batch(count) == [number for _, number in twin[:count]]
            del twin[:count]
    assert drain(queue) == [number for _, number in sorted(twin)]


def test_a_large_queue_stays_stable() -> None:
    queue = BatchQueue()
    priorities = [n * 7919 % 10 for n in range(200_000)]
    queue.push_many(range(200_000), priorities)
    popped = drain(queue)
    assert popped == sorted(range(200_000), key=priorities.__getitem__)


def test_numbers_go_on_from_call_to_call_and_come_back_with_the_items() -> None:
    queue = BatchQueue()
    queue.push("a", 5)
    assert queue.push_many(["b", "c"], [9, 1]) == 1
    assert queue.pop_numbered(2) == (["c", "a"], [2, 0])
    assert queue.push_many([], lane="x") == 3
    assert queue.pop_numbered(9, lane="") == (["b"], [1])


def test_the_next_lane_is_that_of_the_first_item_of_the_lanes_that_are_not_busy() -> None:
    queue = BatchQueue()
    assert queue.next_lane() is None
    queue.push("a", 2, lane="x")
    queue.push("b", 1, lane="y")
    assert (queue.next_lane(), queue.next_lane({"y"}), queue.next_lane({"x", "y"})) == ("y", "x", None)


@pytest.mark.parametrize("oldest", [False, True])
def test_shedding_takes_the_last_or_the_oldest_wherever_they_are(oldest: bool) -> None:
    rng = random.Random(6)
    queue = BatchQueue()
    twin: list[tuple[int, int]] = []
    for step in range(30_000):
        priority = rng.randrange(1000)
        number = queue.push_many([step], [priority], rng.choice("ab"))
        twin.append((priority, number))
        if len(twin) > 2000:
            items, numbers = queue.shed(1, oldest)
            gone = twin.pop(0) if oldest else max(twin)
            assert numbers == items == [gone[1]]
            if not oldest:
                twin.remove(gone)
    assert queue.stats()["shed"] == 28_000
    assert queue.pop_numbered(3000)[1] == [number for _, number in sorted(twin)]
