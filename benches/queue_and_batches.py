"""The batch queue and the batch processor beside their peers, in one run.

    python benches/queue_and_batches.py [--items 1000000] [--large 10000000] [--json FILE]

Times are CPU time of this process, least of interleaved rounds. Every answer is checked: what leaves a queue
against a sorted list, what a pipeline answers against its items. Peers that cannot be imported are named.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import queue
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from measuring import Figure, arguments, at_least, publish, right
from retain.batching import BatchProcessor, BatchQueue

ROUNDS = 3
BATCH = 64
ATTEMPTS = 5

Priorities = list[int]
Items = list[Any]


class Clock:
    """Adds up CPU time between start and stop, the collector having run before."""

    def __enter__(self) -> Self:
        gc.collect()
        self.start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.s = time.process_time() - self.start


def ours_one_by_one(items: Items, priorities: Priorities) -> tuple[float, Items]:
    ours = BatchQueue()
    push, pop = ours.push, ours.pop
    with Clock() as clock:
        for item, priority in zip(items, priorities, strict=True):
            push(item, priority)
        out = [pop() for _ in items]
    return clock.s, out


def ours_in_bulk(items: Items, priorities: Priorities) -> tuple[float, Items]:
    ours = BatchQueue()
    out: Items = []
    with Clock() as clock:
        ours.push_many(items, priorities)
        while batch := ours.pop_batch(BATCH):
            out += batch
    return clock.s, out


def asyncio_queue(items: Items, priorities: Priorities) -> tuple[float, Items]:
    theirs: asyncio.PriorityQueue[tuple[int, int, Any]] = asyncio.PriorityQueue()
    put, get = theirs.put_nowait, theirs.get_nowait
    with Clock() as clock:
        for number, (item, priority) in enumerate(zip(items, priorities, strict=True)):
            put((priority, number, item))
        out = [get()[2] for _ in items]
    return clock.s, out


def thread_queue(items: Items, priorities: Priorities) -> tuple[float, Items]:
    theirs: queue.PriorityQueue[tuple[int, int, Any]] = queue.PriorityQueue()
    put, get = theirs.put, theirs.get
    with Clock() as clock:
        for number, (item, priority) in enumerate(zip(items, priorities, strict=True)):
            put((priority, number, item))
        out = [get()[2] for _ in items]
    return clock.s, out


def queues(items: Items, priorities: Priorities) -> tuple[list[Figure], dict[str, float]]:
    ways: dict[str, Callable[[Items, Priorities], tuple[float, Items]]] = {
        "retain one by one": ours_one_by_one,
        "retain in bulk": ours_in_bulk,
        "asyncio.PriorityQueue": asyncio_queue,
        "queue.PriorityQueue": thread_queue,
    }
    order = [item for _, _, item in sorted(zip(priorities, range(len(items)), items, strict=True))]
    least = dict.fromkeys(ways, float("inf"))
    correct = 0
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds, out = way(items, priorities)
            least[name] = min(least[name], seconds)
            correct += all(a is b for a, b in zip(out, order, strict=True))
    peer = least["asyncio.PriorityQueue"]
    rates = {name: len(items) / seconds for name, seconds in least.items()}
    beside = f"asyncio.PriorityQueue {rates['asyncio.PriorityQueue']:,.0f}/s"
    return [
        at_least("queue put+get one by one", peer / least["retain one by one"], "times", 10, beside=beside),
        at_least("queue put+get in bulk", peer / least["retain in bulk"], "times", 20, beside=beside),
        right("queue order", correct, ROUNDS * len(ways)),
    ], rates


async def echo(items: Sequence[Any]) -> Sequence[Any]:
    return items


async def ours_pipeline(items: Items, priorities: Priorities | None) -> tuple[float, Items]:
    work: BatchProcessor[Any, Any] = BatchProcessor(echo, batch_size=BATCH, max_attempts=ATTEMPTS)
    with Clock() as clock:
        out = await work.submit_many(items, priority=priorities)
    return clock.s, out


async def ours_with_futures(items: Items, priorities: Priorities | None) -> tuple[float, Items]:
    work: BatchProcessor[Any, Any] = BatchProcessor(echo, batch_size=BATCH, max_attempts=ATTEMPTS)
    with Clock() as clock:
        if priorities is None:
            futures = [work.submit(item) for item in items]
        else:
            futures = [work.submit(i, priority=p) for i, p in zip(items, priorities, strict=True)]
        await work.drain()
    return clock.s, [future.result() for future in futures]


async def peer_pipeline(items: Items, priorities: Priorities | None) -> tuple[float, Items]:
    """asyncio.PriorityQueue and the loop that people write around it; results go to a list by number."""
    theirs: asyncio.PriorityQueue[tuple[int, int, Any]] = asyncio.PriorityQueue()
    out: Items = [None] * len(items)
    with Clock() as clock:
        for number, item in enumerate(items):
            theirs.put_nowait((0 if priorities is None else priorities[number], number, item))
        while not theirs.empty():
            batch = []
            while len(batch) < BATCH and not theirs.empty():
                batch.append(theirs.get_nowait())
            for attempt in range(ATTEMPTS):
                try:
                    results = await echo([item for _, _, item in batch])
                except Exception:
                    await asyncio.sleep(0.05 * 2**attempt)
                else:
                    for (_, number, _), result in zip(batch, results, strict=True):
                        out[number] = result
                    break
    return clock.s, out


async def tenacity_pipeline(items: Items, _: Priorities | None) -> tuple[float, Items]:
    """A retry object around each item, as its documentation shows; a tenth of the items."""
    tenacity = importlib.import_module("tenacity")
    few = items[: len(items) // 10]

    @tenacity.retry(stop=tenacity.stop_after_attempt(ATTEMPTS), wait=tenacity.wait_random_exponential(0.05))
    async def one(item: Any) -> Any:
        return (await echo([item]))[0]

    with Clock() as clock:
        out = [await one(item) for item in few]
    return clock.s * 10, out + items[len(few) :]


async def pipelines(
    items: Items, priorities: Priorities | None, label: str
) -> tuple[list[Figure], dict[str, float]]:
    ways: dict[str, Any] = {
        "retain": ours_pipeline, "retain, a future each": ours_with_futures, "asyncio.PriorityQueue": peer_pipeline,
    }  # fmt: skip
    try:
        importlib.import_module("tenacity")
        ways["tenacity"] = tenacity_pipeline
    except ImportError as reason:
        print(f"tenacity left out: {reason}")
    least = dict.fromkeys(ways, float("inf"))
    correct = 0
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds, out = await way(items, priorities)
            least[name] = min(least[name], seconds)
            correct += out == items
    best = min((name for name in ways if not name.startswith("retain")), key=least.__getitem__)
    rates = {f"{label}: {name}": len(items) / seconds for name, seconds in least.items()}
    return [
        at_least(
            f"pipeline, {label}", least[best] / least["retain"], "times", 4,
            beside=f"{best} {rates[f'{label}: {best}']:,.0f}/s, retain {rates[f'{label}: retain']:,.0f}/s",
        ),
        right(f"pipeline, {label}", correct, ROUNDS * len(ways)),
    ], rates  # fmt: skip


async def linear(small: int, large: int) -> list[Figure]:
    """Time an item of a large pipeline over that of a small one."""
    cost = {}
    correct = 0
    for count in (small, large):
        items = list(range(count))
        runs = [await ours_pipeline(items, None) for _ in range(2)]
        correct += sum(out == items for _, out in runs)
        cost[count] = min(seconds for seconds, _ in runs) / count
    ratio = cost[large] / cost[small]
    name = f"time an item, {large:,} over {small:,}"
    return [
        Figure(what=name, ours=ratio, unit="times", target="<= 1.5", met=ratio <= 1.5),
        right("pipeline, large", correct, 4),
    ]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    options = parser.parse_args()
    rng = random.Random(1)
    priorities = [rng.randrange(-(2**63), 2**63) for _ in range(options.items)]
    figures, rates = queues([object() for _ in priorities], priorities)
    for given, label in ((priorities, "random priorities"), (None, "one priority")):
        more, found = asyncio.run(pipelines(list(range(options.items)), given, label))
        figures += more
        rates |= found
    figures += asyncio.run(linear(options.items // 10, options.large))
    return publish(figures, {"items per second": rates}, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
