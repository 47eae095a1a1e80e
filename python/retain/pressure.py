"""MemoryManager: gauge -> level -> relief. It is about RAM, never about remembered facts.

The gauge is the native ``MemorySampler``: a thread without the interpreter lock, which wakes the event loop
only when the level changes. What follows here: handlers give bytes back, by priority, each for itself, until
the level has fallen; when it stays low for a while, they may take again what they gave.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from retain._core import MemorySampler
from retain.errors import InvalidInput
from retain.footprint import Degradation, Level, Timing, Trend, degradation, seconds_to_limit, trend_of

__all__ = ["Level", "MemoryManager", "MemorySampler", "PressureEvent"]

logger = logging.getLogger(__name__)

EVENTS_MAX = 256
SWITCH_INTERVAL_MS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureEvent:
    """The level changed."""

    before: Level
    level: Level
    used_bytes: int
    limit_bytes: int


class Gauge(Protocol):
    """What the manager needs of a sampler; ``MemorySampler`` is one."""

    def start(self) -> None:
        """Begins to sample."""

    def stop(self) -> None:
        """Ends it."""

    def fileno(self) -> int:
        """A descriptor that is readable when the level has changed; below 0: there is none."""

    def take(self) -> int:
        """Clears the descriptor; the level."""

    def measure(self) -> int:
        """Reads now; the level."""

    def history(self) -> list[tuple[float, int, int, int]]:
        """Samples, oldest first: seconds, bytes, limit, level."""

    def stats(self) -> dict[str, Any]:
        """Counters and the last reading."""


Handler = Callable[[Level], object | Awaitable[object]]
Listener = Callable[[PressureEvent], object]


class _Registered:
    """A handler, what it may take, and what became of it."""

    __slots__ = (
        "deadline_s", "failures", "handler", "level", "missed", "name", "priority", "restore", "runs", "us_max",
    )  # fmt: skip

    def __init__(
        self, handler: Handler, restore: Handler | None, priority: int, deadline_ms: float, name: str, level: Level
    ) -> None:  # fmt: skip
        self.handler = handler
        self.restore = restore
        self.priority = priority
        self.deadline_s = deadline_ms / 1000
        self.name = name
        self.level = level
        self.runs = self.failures = self.missed = self.us_max = 0

    def stats(self) -> dict[str, int]:
        return {
            "runs": self.runs, "failures": self.failures, "missed_deadlines": self.missed,
            "us_max": self.us_max,
        }  # fmt: skip


class MemoryManager:
    """Watches the footprint of this process and has it relieved before a limit is reached.

    Handlers run in the event loop that ``start`` was called in. The first one runs in the same turn of
    the loop that learns of the change, if it is no coroutine function.

    Args:
        limit_bytes: a limit beside those of the system (control group, RLIMIT_AS, RLIMIT_DATA, machine).
        thresholds: fractions of a limit at which low, medium and high begin.
        interval_ms: time between readings near a threshold: 0.6 of it closest by, ten times that while the
            process rests. Further away a reading follows when the process has worked enough to come near.
        interval_max_ms: longest time between readings.
        switch_interval_ms: while it watches, a thread may keep the interpreter lock this long when others want
            it (``sys.setswitchinterval``, 5 ms by default): the loop cannot answer before; None changes nothing.
        hysteresis: how far below its threshold a level ends.
        cooldown_ms: shortest time between two reliefs at one level.
        restore_ms: how long the level must be lower before handlers may take back what they gave.
        history: most samples kept.
        gauge: where readings come from; None is the native sampler.
        clock: seconds, for cooldowns.

    Raises:
        InvalidInput: an option is out of its bounds.
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        thresholds: tuple[float, float, float] = (0.70, 0.85, 0.95),
        interval_ms: float = 10.0,
        *,
        interval_max_ms: float = 250.0,
        switch_interval_ms: float | None = None,
        hysteresis: float = 0.05,
        cooldown_ms: float = 1_000.0,
        restore_ms: float = 5_000.0,
        history: int = 512,
        gauge: Gauge | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if gauge is None:
            try:
                gauge = MemorySampler(
                    limit_bytes,
                    thresholds,
                    hysteresis,
                    interval_ms,
                    max(interval_max_ms, interval_ms),
                    history,
                )
            except (ValueError, OverflowError, TypeError) as error:
                field, colon, problem = str(error).partition(": ")
                raise InvalidInput(*((field, problem) if colon else ("limit_bytes", field))) from None
        self._gauge = gauge
        self._clock = clock
        if switch_interval_ms is not None and not 0 < switch_interval_ms <= SWITCH_INTERVAL_MS_MAX:
            raise InvalidInput("switch_interval_ms", f"must be above 0 and at most {SWITCH_INTERVAL_MS_MAX}")
        self._switch_interval_s = switch_interval_ms and switch_interval_ms / 1000
        self._switch_interval_before_s = 0.0
        self._timing = Timing(cooldown_ms / 1000, restore_ms / 1000)
        self._handlers: list[_Registered] = []
        self._listeners: list[Listener] = []
        self._events: deque[PressureEvent] = deque(maxlen=EVENTS_MAX)
        self._level = Level.UNKNOWN
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._emptying = False
        self._late: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._reliefs = self._restores = self._events_dropped = self._listener_failures = 0

    async def __aenter__(self) -> Self:
        """Starts."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops."""
        await self.stop()

    async def start(self) -> None:
        """Begins to watch, in this event loop. Running already: does nothing.

        Raises:
            OSError: the system has no thread or descriptor to give.
        """
        if self._loop is not None:
            return
        self._gauge.start()
        self._loop = asyncio.get_running_loop()
        if self._switch_interval_s is not None:
            self._switch_interval_before_s = sys.getswitchinterval()
            sys.setswitchinterval(self._switch_interval_s)
        if self._gauge.fileno() >= 0:
            self._loop.add_reader(self._gauge.fileno(), self.poll)
        self.poll()

    async def stop(self) -> None:
        """Ends watching and whatever handler still runs. No thread is left behind."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._switch_interval_s is not None:
            sys.setswitchinterval(self._switch_interval_before_s)
        if self._gauge.fileno() >= 0:
            loop.remove_reader(self._gauge.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._gauge.stop()
        ending: set[asyncio.Future[Any]] = {*self._late, *([self._running] if self._running else [])}
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=1)

    @property
    def level(self) -> Level:
        """The level that was learnt of last."""
        return self._level

    def on_pressure(
        self,
        handler: Handler,
        priority: int = 0,
        *,
        deadline_ms: float = 1_000.0,
        name: str | None = None,
        level: Level = Level.LOW,
        restore: Handler | None = None,
    ) -> Callable[[], None]:
        """Registers a handler: called with the level when it rises, and again while it stays.

        What it raises is logged and counted. A coroutine that takes longer than its deadline is cancelled
        and left behind; a plain function cannot be stopped, its overrun is counted.

        Args:
            handler: gives bytes back; may be called at one level more than once.
            priority: the lowest value runs first; equals in order of registration.
            deadline_ms: longest time for one call.
            name: for logs and ``stats``.
            level: below this level it is not called.
            restore: called with the level once that has been lower for a while.

        Returns:
            A function that takes the handler out again.
        """
        if deadline_ms <= 0:
            raise InvalidInput("deadline_ms", "must be above 0")
        label = name or str(getattr(handler, "__qualname__", type(handler).__name__))
        entry = _Registered(handler, restore, priority, deadline_ms, label, level)
        self._handlers.append(entry)
        self._handlers.sort(key=lambda one: one.priority)
        return lambda: _remove(self._handlers, entry)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls ``listener`` with each change of the level, after the first handler; returns how to end it."""
        self._listeners.append(listener)
        return lambda: _remove(self._listeners, listener)

    def poll(self) -> None:
        """Learns the level and does what is due. Called by the loop; may be called at any time in it."""
        level = Level(self._gauge.take())
        if level != self._level:
            self._announce(level)
        now = self._clock()
        if self._running is None:
            if self._timing.relief_due(level, now):
                self._relieve(level)
            elif self._timing.restore_due(level, now):
                self._restore(level)
        self._set_timer()

    async def exhausted(self) -> None:
        """Has all handlers give up what HIGH asks for, whatever the reading says: an allocation has failed.

        Returns when they have, each within its deadline; of several callers at a time all wait for the same relief.
        Not started: does nothing.
        """
        if self._running is not None and not self._emptying:
            await asyncio.wait([self._running])
        if self._loop is None:
            return
        if self._running is None:
            self._reliefs += 1
            self._emptying = True
            self._go_on(self._empty())
        if self._running is not None:
            await asyncio.wait([self._running])

    def history(self) -> list[tuple[float, int, int, int]]:
        """The kept samples, oldest first: seconds, bytes in use, their limit, level."""
        return self._gauge.history()

    def trend(self) -> Trend:
        """Where the footprint is going, over the kept samples of the limit that is nearest now."""
        samples = self._gauge.history()
        limit = samples[-1][2] if samples else 0
        return trend_of([(at, used) for at, used, bound, _ in samples if bound == limit])

    def forecast(self) -> float | None:
        """Seconds until the limit is reached if the trend holds; None where it does not rise steadily."""
        last = self._gauge.stats()
        return seconds_to_limit(self.trend(), last["used_bytes"], last["limit_bytes"])

    def degradation(self) -> Degradation:
        """What the process should do without at present."""
        return degradation(max(self._level, self._timing.given_up))

    def stats(self) -> dict[str, Any]:
        """Level, last reading and counters, as JSON values; handlers by name."""
        return {
            "level": self._level.name.lower(),
            **self._gauge.stats(),
            "given_up": self._timing.given_up.name.lower(),
            "reliefs": self._reliefs,
            "restores": self._restores,
            "events_dropped": self._events_dropped,
            "listener_failures": self._listener_failures,
            "handlers": {entry.name: entry.stats() for entry in self._handlers},
        }

    def _announce(self, level: Level) -> None:
        last = self._gauge.stats()
        event = PressureEvent(
            before=self._level, level=level, used_bytes=last["used_bytes"], limit_bytes=last["limit_bytes"]
        )
        self._level = level
        if not self._listeners or self._loop is None:
            return
        self._events_dropped += len(self._events) == self._events.maxlen
        self._events.append(event)
        if len(self._events) == 1:
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        while self._events:
            event = self._events.popleft()
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except Exception:
                    self._listener_failures += 1
                    logger.exception("pressure.listener_failed")

    def _relieve(self, level: Level) -> None:
        """Runs plain handlers here and now; from the first coroutine on, a task does the rest."""
        self._reliefs += 1
        waiting = iter([entry for entry in self._handlers if entry.level <= level])
        for entry in waiting:
            answer = self._call(entry, entry.handler, level)
            if answer is not None:
                self._go_on(self._relieve_slowly(level, entry, answer, waiting))
                return
            if self._gauge.measure() < level:
                break
        self._relieved(level)

    async def _relieve_slowly(
        self, level: Level, entry: _Registered, answer: asyncio.Future[Any], waiting: Iterator[_Registered]
    ) -> None:
        await self._await(entry, answer)
        for following in waiting:
            if self._gauge.measure() < level:
                break
            coming = self._call(following, following.handler, level)
            if coming is not None:
                await self._await(following, coming)
        self._gauge.measure()
        self._relieved(level)

    async def _empty(self) -> None:
        try:
            for entry in self._handlers:
                answer = self._call(entry, entry.handler, Level.HIGH)
                if answer is not None:
                    await self._await(entry, answer)
            self._gauge.measure()
            self._relieved(Level.HIGH)
        finally:
            self._emptying = False

    def _relieved(self, before: Level) -> None:
        after = Level(self._gauge.take())
        self._timing.relieved(before, after, self._clock())
        if after != self._level:
            self._announce(after)

    def _restore(self, level: Level) -> None:
        self._restores += 1
        entries = [entry for entry in self._handlers if entry.restore is not None]
        self._timing.restored(level, self._clock())
        pending = [
            (entry, answer)
            for entry in reversed(entries)
            if entry.restore is not None and (answer := self._call(entry, entry.restore, level)) is not None
        ]
        if pending:
            self._go_on(self._await_each(pending))

    async def _await_each(self, pending: Sequence[tuple[_Registered, asyncio.Future[Any]]]) -> None:
        for entry, answer in pending:
            await self._await(entry, answer)

    def _call(self, entry: _Registered, work: Handler, level: Level) -> asyncio.Future[Any] | None:
        """Calls a handler; its task, if that is still to be awaited."""
        started = time.perf_counter_ns()
        entry.runs += 1
        try:
            answer = work(level)
        except Exception:
            entry.failures += 1
            logger.exception("pressure.handler_failed name=%s", entry.name)
            return None
        if inspect.isawaitable(answer):
            task = asyncio.ensure_future(answer)
            self._late.add(task)
            task.add_done_callback(lambda done: self._ended(entry, done))
            return task
        self._took(entry, started)
        return None

    async def _await(self, entry: _Registered, task: asyncio.Future[Any]) -> None:
        started = time.perf_counter_ns()
        await asyncio.wait([task], timeout=entry.deadline_s)
        if not task.done():
            task.cancel()
        self._took(entry, started)

    def _ended(self, entry: _Registered, task: asyncio.Future[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            entry.failures += 1
            logger.error("pressure.handler_failed name=%s", entry.name, exc_info=error)

    @staticmethod
    def _took(entry: _Registered, started_ns: int) -> None:
        elapsed_us = (time.perf_counter_ns() - started_ns) // 1000
        entry.us_max = max(entry.us_max, elapsed_us)
        entry.missed += elapsed_us > entry.deadline_s * 1e6

    def _go_on(self, work: Any) -> None:
        self._running = asyncio.get_running_loop().create_task(work, name="retain-relief")
        self._running.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("pressure.relief_failed", exc_info=error)
        if self._loop is not None:
            self.poll()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = self._timing.wake_in(self._level, self._clock())
        if delay is not None and self._loop is not None and self._running is None:
            self._timer = self._loop.call_later(delay, self.poll)


def _remove(entries: list[Any], entry: object) -> None:
    with suppress(ValueError):
        entries.remove(entry)
