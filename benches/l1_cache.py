"""The first cache level beside its peers: time, hit ratio, footprint, single flight, threads.

    python benches/l1_cache.py [--json FILE] [--quick]

Peers are measured in the same run where they can be imported: cachebox, lru-dict, theine, moka-py (pip names),
functools.lru_cache and dict always. Times are minima over interleaved rounds, less the empty loop.
"""

from __future__ import annotations

import functools
import gc
import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import traces
from measuring import Figure, against, arguments, at_least, at_most, publish, right
from retain.cache import L1Cache

ENTRIES = 10_000
OURS = ("lru", "wtinylfu")
Get = Callable[[Any], Any]


class Contestant:
    """A cache under one face: what is called to read, to write, and to make an empty one."""

    def __init__(self, make: Callable[[int], Any], get: str, put: str) -> None:
        self.make, self._get, self._put = make, get, put

    def empty(self, entries: int) -> tuple[Get, Callable[[Any, Any], Any], Any]:
        cache = self.make(entries)
        return getattr(cache, self._get), getattr(cache, self._put), cache


def contestants() -> dict[str, Contestant]:
    """Ours by policy, and every peer that is installed."""
    found = {
        policy: Contestant(lambda n, policy=policy: L1Cache(n, policy=policy), "get", "set")  # type: ignore[misc]
        for policy in OURS
    }
    peers: dict[str, tuple[str, Callable[[Any, int], Any], str, str]] = {
        "cachebox": ("cachebox", lambda m, n: m.LRUCache(n), "get", "insert"),
        "cachebox LFU": ("cachebox", lambda m, n: m.LFUCache(n), "get", "insert"),
        "cachebox VTTL": ("cachebox", lambda m, n: m.VTTLCache(n), "get", "insert"),
        "lru-dict": ("lru", lambda m, n: m.LRU(n), "get", "__setitem__"),
        "theine": ("theine", lambda m, n: m.Cache(n), "get", "set"),
        "moka": ("moka_py", lambda m, n: m.Moka(n), "get", "set"),
    }
    for name, (module, make, get, put) in peers.items():
        try:
            imported = importlib.import_module(module)
            face = Contestant(functools.partial(make, imported), get, put)
            read, write, cache = face.empty(10)
            write("key", 1)
            assert (read("key")[0] if name == "theine" else read("key")) == 1
        except Exception as error:
            print(f"without {name}: {error!r}", file=sys.stderr)
            continue
        del cache
        found[name] = face
    return found


def loop_ns(call: Callable[..., Any] | None, keys: Sequence[Any], *rest: Any) -> float:
    """Nanoseconds a call takes, the loop included."""
    start = time.perf_counter_ns()
    if call is None:
        for _ in keys:
            pass
    elif not rest:
        for key in keys:
            call(key)
    else:
        value = rest[0]
        for key in keys:
            call(key, value)
    return (time.perf_counter_ns() - start) / len(keys)


def interleaved(
    calls: Mapping[str, Callable[..., Any]], keys: Sequence[Any], rounds: int, *rest: Any
) -> dict[str, float]:
    """The least time of each call over rounds in which all take their turns, less the loop's."""
    empty = min(loop_ns(None, keys) for _ in range(rounds))
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            least[name] = min(least[name], loop_ns(call, keys, *rest))
    return {name: ns - empty for name, ns in least.items()}


def compared(
    what: str, times: Mapping[str, float], unit: str, fastest_of: Sequence[str], most: float
) -> list[Figure]:
    """Ours by policy beside the best peer of those named, and every peer by itself."""
    peers = {name: times[name] for name in fastest_of if name in times}
    if not peers:
        return [Figure(what=f"{what}: {n}", ours=times[n], unit=unit) for n in times]
    best = min(peers, key=lambda name: peers[name])
    lines = [against(f"{what}, {p}", times[p], unit, best, peers[best], ratio_max=most) for p in OURS]
    others = [n for n in times if n not in OURS and n != best]
    return lines + [Figure(what=f"  {what}: {n}", ours=times[n], unit=unit) for n in others]


def reading(field: Mapping[str, Contestant], rounds: int) -> list[Figure]:
    keys = [traces.key(n * 7919 % ENTRIES) for n in range(ENTRIES)]
    copies = [("x" + key)[1:] for key in keys]
    calls: dict[str, Get] = {}
    for name, face in field.items():
        get, put, _ = face.empty(ENTRIES)
        for key in keys:
            put(key, 1)
        if name != "theine" and name != "moka":
            assert sum(get(key) is not None for key in keys) >= 0.95 * ENTRIES
        calls[name] = get
    calls["functools"] = functools.lru_cache(ENTRIES)(lambda _key: 1)
    calls["dict"] = dict.fromkeys(keys, 1).get
    for key in keys:
        calls["functools"](key)
    lines = []
    for what, asked in (("get hit, same key object", keys), ("get hit, equal key", copies)):
        times = interleaved(calls, asked, rounds)
        lines += compared(what, times, "ns", ("cachebox", "lru-dict", "functools"), 1.05)
        lines.append(against(f"{what}, lru", times["lru"], "ns", "dict", times["dict"], ratio_max=2.0))
    cache = L1Cache(ENTRIES)
    cache.set_many((key, 1) for key in keys)
    hundreds = [keys[n : n + 100] for n in range(0, 5000, 100)]
    one_by_one = {"many": cache.get_many, "singly": lambda some: {key: cache.get(key) for key in some}}
    times = interleaved(one_by_one, hundreds, rounds)
    lines.append(against("get_many(100)", times["many"], "ns", "100 gets", times["singly"], ratio_max=1.0))
    return lines


def writing(field: Mapping[str, Contestant], rounds: int) -> list[Figure]:
    keys = [traces.key(n) for n in range(2 * ENTRIES)]
    calls = {name: face.empty(ENTRIES)[1] for name, face in field.items()}
    times = interleaved(calls, keys, rounds, 1)
    return compared("set with eviction", times, "ns", ("cachebox", "lru-dict"), 1.0)


def replay(
    face: Contestant, keys: Sequence[str], is_theine: bool, entries: int = ENTRIES
) -> tuple[float, float]:
    """Per cent of hits, and processor nanoseconds an access."""
    get, put, _ = face.empty(entries)
    hits = 0
    start = time.process_time_ns()
    for key in keys:
        found = get(key)
        if found is None or (is_theine and not found[1]):
            put(key, key)
        else:
            hits += 1
    return 100 * hits / len(keys), (time.process_time_ns() - start) / len(keys)


def hit_ratios(field: Mapping[str, Contestant], repeats: int) -> list[Figure]:
    lines = []
    means: dict[str, float] = dict.fromkeys(field, 0.0)
    cost: dict[str, float] = dict.fromkeys(field, 0.0)
    for name in traces.TRACES:
        keys = traces.keys_of(name)
        ratios: dict[str, float] = {}
        for who, face in field.items():
            runs = [replay(face, keys, who == "theine") for _ in range(repeats if who in OURS else 1)]
            ratios[who] = runs[0][0]
            means[who] += runs[0][0] / len(traces.TRACES)
            cost[who] += min(ns for _, ns in runs) / len(traces.TRACES)
        peer = max((n for n in field if n not in OURS), key=lambda n: ratios[n], default="lru")
        best = max(ratios[peer], ratios["lru"])
        lines.append(at_least(f"hits on {name}, wtinylfu", ratios["wtinylfu"], "%", best - 2,
                              beside=f"{peer} {ratios[peer]:.1f}, lru {ratios['lru']:.1f}"))  # fmt: skip
    peer = max((n for n in field if n != "wtinylfu"), key=lambda n: means[n])
    lines.append(at_least("hits, mean of six traces", means["wtinylfu"], "%", means[peer], beside=peer))
    lines.append(
        against("processor time of a trace access", cost["wtinylfu"], "ns", "lru", cost["lru"], ratio_max=1.3)
    )
    lines += [Figure(what=f"  mean hits: {n}", ours=m, unit="%") for n, m in means.items() if n not in OURS]
    return lines


FOOTPRINT = """
import gc, sys
sys.path[:0] = {path!r}
from l1_cache import contestants
from measuring import resident_mb
import os
n = 1_000_000
keys, values = list(range(n)), [str(i) for i in range(n)]
face = contestants()[{name!r}]
gc.collect()
before = resident_mb(os.getpid())
_, put, cache = face.empty(n)
for key, value in zip(keys, values):
    put(key, value)
print((resident_mb(os.getpid()) - before) * 1e6 / n)
"""


def footprint(names: Sequence[str]) -> list[Figure]:
    path = [str(Path(__file__).parent), *sys.path]
    found: dict[str, float] = {}
    for name in names:
        command = [sys.executable, "-c", FOOTPRINT.format(path=path, name=name)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode == 0:
            found[name] = float(run.stdout)
        else:
            print(f"footprint without {name}: {run.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return compared("bytes an entry, 1M int -> str", found, "B", ("cachebox VTTL", "cachebox"), 1.1)


def single_flight(rounds: int) -> list[Figure]:
    keys = [traces.key(n) for n in range(ENTRIES)]
    lines = []
    for policy in OURS:
        cache = L1Cache(ENTRIES, policy=policy)
        cache.set_many((key, 1) for key in keys)
        gets = interleaved({"get": cache.get}, keys, rounds)["get"]
        warm = interleaved({"warm": cache.get_or_compute}, keys, rounds, int)["warm"]
        lines.append(against(f"get_or_compute, warm, {policy}", warm, "ns", "get", gets, ratio_max=1.5))
    runs, answers = _threads()
    lines.append(at_most("loader runs, 32 threads", runs, "runs", 1))
    lines.append(right("32 threads on one key", answers, 32))
    return lines


def _threads() -> tuple[int, int]:
    cache, runs, start = L1Cache(), 0, threading.Barrier(32)

    def loader() -> int:
        nonlocal runs
        runs += 1
        time.sleep(0.05)
        return 1

    def ask(_n: int) -> int:
        start.wait()
        return int(cache.get_or_compute("key", loader))

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))
    return runs, sum(answers)


def mixed(field: Mapping[str, Contestant], repeats: int) -> list[Figure]:
    """Zipf, nine reads to one write; then the reads from four threads at once."""
    keys = traces.keys_of("zipf")[:400_000]
    lines = []
    for who, face in field.items():
        least, hits = float("inf"), 0.0
        for _ in range(repeats):
            get, put, _ = face.empty(ENTRIES)
            found = 0
            start = time.process_time_ns()
            for n, key in enumerate(keys):
                if n % 10 == 0:
                    put(key, key)
                    continue
                value = get(key)
                if value is None or (who == "theine" and not value[1]):
                    put(key, key)
                else:
                    found += 1
            least = min(least, (time.process_time_ns() - start) / len(keys))
            hits = 100 * found / (0.9 * len(keys))
        lines.append(Figure(what=f"Zipf 90/10, {who}", ours=least, unit="ns", beside=f"{hits:.1f} % hits"))
    for who in [n for n in (*OURS, "cachebox", "lru-dict", "theine") if n in field]:
        get, put, _ = field[who].empty(ENTRIES)
        some = keys[:ENTRIES]
        for key in some:
            put(key, key)
        start = time.process_time_ns()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _n, get=get, some=some: [get(key) for key in some] and None, range(40)))  # type: ignore[misc]
        spent = (time.process_time_ns() - start) / (40 * len(some))
        lines.append(Figure(what=f"get, 4 threads, {who}", ours=spent, unit="ns CPU"))
    return lines


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no footprint")
    asked = parser.parse_args()
    rounds = 10 if asked.quick else 60
    field = contestants()
    gc.disable()
    figures = reading(field, rounds) + writing(field, rounds) + single_flight(rounds)
    figures += hit_ratios(field, 1 if asked.quick else 3) + mixed(field, 1 if asked.quick else 3)
    if not asked.quick:
        figures += footprint([*OURS, *(n for n in ("cachebox", "cachebox VTTL", "lru-dict") if n in field)])
    return publish(figures, {"entries": ENTRIES, "rounds": rounds}, asked.json)


if __name__ == "__main__":
    raise SystemExit(main())
