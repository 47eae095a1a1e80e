"""What each cache level costs beside its peers, and what it saves on real recalls.

    python benches/cache_levels.py [--repo PATH] [--memories 2750] [--copies 4] [--queries 100] [--json FILE]

PATH is a git history, see ``corpora.py``. Speed of parts: L1 through ``get_nowait`` beside a bare L1, L2 beside
redis-py's own asyncio client (both its pipeline of 100 GET and its one MGET of 100 keys), L3 beside diskcache and
lmdb where they are installed; peers take turns in the same run. A read of L3 is of an entry that was read before.
Savings: recalls asked anew, again (L1), and by a service opened anew (in this Python process) on a warm disk (L3)
or a shared server (L2). Every answer is checked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import retain
from corpora import known_items, records
from measuring import Figure, against, arguments, publish, right
from retain.cache import L1Cache, MultiLevelCache
from retain.cache.l3 import DiskCache
from retain.cache.levels import Entry

KEYS = 2_000
ROUNDS = 7
GETS = 4_000
VALUE = random.Random(1).randbytes(1_024)


def p50_us(call: Callable[[str], Any], keys: Sequence[str]) -> float:
    times = []
    for key in keys:
        started = time.perf_counter_ns()
        call(key)
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1_000


async def p50_async_us(call: Callable[[], Awaitable[Any]], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        await call()
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1_000


async def in_turns(calls: dict[str, Callable[[], Awaitable[Any]]], rounds: int) -> dict[str, float]:
    """The p50 of each call; they alternate, for the load of a machine changes more slowly than they do."""
    times: dict[str, list[int]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter_ns()
            await call()
            times[name].append(time.perf_counter_ns() - started)
    return {name: statistics.median(taken) / 1_000 for name, taken in times.items()}


def best(calls: dict[str, Callable[[str], Any]], count: int) -> dict[str, float]:
    """The least p50 of several rounds, in which the calls take turns."""
    rng, found = random.Random(2), dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        keys = [f"key-{rng.randrange(KEYS):06d}" for _ in range(count)]
        for name, call in calls.items():
            found[name] = min(found[name], p50_us(call, keys))
    return found


def disk(place: Path) -> list[Figure]:
    ours = DiskCache(place / "l3")
    gets: dict[str, Callable[[str], Any]] = {"retain": ours.get}
    sets: dict[str, Callable[[str], Any]] = {"retain": lambda key: ours.set(key, VALUE)}
    if importlib.util.find_spec("diskcache"):
        import diskcache

        peer = diskcache.Cache(str(place / "diskcache"))
        gets["diskcache"], sets["diskcache"] = peer.get, lambda key: peer.set(key, VALUE)
    if importlib.util.find_spec("lmdb"):
        import lmdb

        env = lmdb.open(str(place / "lmdb"), map_size=1 << 28, sync=False)

        def lmdb_get(key: str) -> Any:
            with env.begin() as transaction:
                return transaction.get(key.encode())

        def lmdb_set(key: str) -> None:
            with env.begin(write=True) as transaction:
                transaction.put(key.encode(), VALUE)

        gets["lmdb"], sets["lmdb"] = lmdb_get, lmdb_set
    for store in sets.values():
        for i in range(KEYS):
            store(f"key-{i:06d}")
    got, put = best(gets, GETS), best(sets, GETS // 8)
    figures = [
        right(
            "L3 get",
            sum(call(f"key-{i:06d}") == VALUE for call in gets.values() for i in range(KEYS)),
            len(gets) * KEYS,
        )
    ]
    for name in [name for name in gets if name != "retain"]:
        most = 0.25 if name == "diskcache" else None
        figures.append(against("L3 get 1 KiB p50", got["retain"], "us", name, got[name], ratio_max=most))
        figures.append(against("L3 set 1 KiB p50", put["retain"], "us", name, put[name]))
    ours.close()
    return figures


def first_level() -> list[Figure]:
    cache = MultiLevelCache(L1Cache(KEYS))
    for i in range(KEYS):
        cache.l1.set(f"key-{i:06d}", i)
    times = best({"bare": cache.l1.get, "nowait": cache.get_nowait}, GETS)
    found = asyncio.run(_awaited(cache))
    return [
        against("L1 hit by get_nowait p50", times["nowait"], "us", "bare L1", times["bare"], ratio_max=2.0),
        against("L1 hit by await get p50", found, "us", "bare L1", times["bare"]),
    ]


async def _awaited(cache: MultiLevelCache) -> float:
    return min([await p50_async_us(lambda: cache.get("key-000001"), GETS) for _ in range(ROUNDS)])


async def server(url: str) -> list[Figure]:
    from redis.asyncio import Redis

    from retain.cache.l2 import RedisLevel

    level, client = RedisLevel(url, timeout_s=10.0), Redis.from_url(url)
    names = [f"k{i}" for i in range(100)]
    await level.set_many([Entry(name, VALUE) for name in names])
    for name in names:
        await client.set(name, VALUE)

    async def bare_pipeline() -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        return await pipeline.execute()

    one = {"ours": lambda: level.get("k1"), "bare": lambda: client.get("k1")}
    hundred = {
        "ours 100": lambda: level.get_many(names), "pipeline 100": bare_pipeline,
        "mget 100": lambda: client.mget(names),
    }  # fmt: skip
    found = {**await in_turns(one, 3_000), **await in_turns(hundred, 600)}
    good = sum(value == VALUE for value in (await level.get_many(names)).values())
    await level.close()
    await client.aclose()
    return [
        right("L2 get_many", good, 100),
        against("L2 get 1 KiB p50", found["ours"], "us", "redis-py", found["bare"], ratio_max=1.1),
        against(
            "L2 get_many 100 p50",
            found["ours 100"],
            "us",
            "redis-py pipeline",
            found["pipeline 100"],
            ratio_max=1.1,
        ),
        against(
            "L2 get_many 100 p50", found["ours 100"], "us", "redis-py mget", found["mget 100"], ratio_max=1.1
        ),
    ]


async def ask(
    home: Path, queries: Sequence[str], times: int, **settings: Any
) -> tuple[list[float], list[list[str]]]:
    """p50 in microseconds of each time that all queries are asked in one process life, and the last answers."""
    medians, answers = [], []
    async with retain.open(home, folder=home, **settings) as memory:
        for _ in range(times):
            spent, answers = [], []
            for query in queries:
                started = time.perf_counter_ns()
                recall = await memory.recall(query)
                spent.append((time.perf_counter_ns() - started) / 1_000)
                answers.append([hit.memory.id for hit in recall.hits])
            medians.append(statistics.median(spent))
    return medians, answers


async def savings(
    home: Path, corpus: Sequence[str], queries: Sequence[str], copies: int, url: str | None
) -> list[Figure]:
    async with retain.open(home, folder=home) as memory:
        for number in range(copies):
            await memory.remember_many([{"text": f"{text}\n{number}"} for text in corpus])
    plain, truth = await ask(home, queries, 2)
    off, same = await ask(home, queries, 2, cache_entries_max=0)
    good = [truth == same]
    disk_on = {"cache_disk_bytes_max": 1 << 26}
    await ask(home, queries, 1, **disk_on)
    warm, same = await ask(home, queries, 1, **disk_on)
    good.append(truth == same)
    figures = [
        against("recall asked again, L1", plain[1], "us", "no cache", off[1]),
        against("recall after reopening, warm L3", warm[0], "us", "cold", plain[0]),
    ]
    if url:
        await ask(home, queries, 1, redis_url=url)
        shared, same = await ask(home, queries, 1, redis_url=url)
        good.append(truth == same)
        figures.append(against("recall after reopening, shared L2", shared[0], "us", "cold", plain[0]))
    async with retain.open(home, folder=home) as memory:
        await memory.remember("one more memory, and every answer may be another")
    after, _ = await ask(home, queries, 1, **disk_on)
    figures.append(against("the same after one remember, warm L3", after[0], "us", "cold", plain[0]))
    return [right("recalls by level", sum(good), len(good)), *figures]


def start_server(place: Path) -> tuple[subprocess.Popen[bytes], str] | None:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None or not importlib.util.find_spec("redis"):
        return None
    with socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        port = str(spare.getsockname()[1])
    process = subprocess.Popen(
        [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(place)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
        except OSError:
            if process.poll() is not None:
                return None
        else:
            return process, f"redis://127.0.0.1:{port}/0"


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--memories", type=int, default=2_750)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--queries", type=int, default=100)
    args = parser.parse_args()
    texts = records(args.repo, args.memories)
    items = [item for family in known_items(texts, args.queries, 7).values() for item in family]
    corpus = [record.text for record in texts]
    queries = [item.query for item in items][: args.queries]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        running = start_server(place)
        try:
            url = running[1] if running else None
            figures = [*first_level(), *(asyncio.run(server(url)) if url else []), *disk(place)]
            figures += asyncio.run(savings(place / "home", corpus, queries, args.copies, url))
        finally:
            if running:
                running[0].kill()
                running[0].wait()
    details = {"python": sys.version, "load": os.getloadavg(), "memories": len(corpus) * args.copies}
    return publish(figures, details, args.json)


if __name__ == "__main__":
    sys.exit(main())
