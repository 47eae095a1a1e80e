"""How many items make a batch: for all, for one lane, or found out from the handler's latency."""

from __future__ import annotations

from collections.abc import Mapping

from retain.errors import InvalidInput

STEP_MAX = 2.0
"""A size at most doubles or halves from one batch to the next."""


class Sizes:
    """The sizes of batches by lane.

    With a target, each lane has its own size, which follows the latency of its batches: half of the
    way to what would just meet the target, growing only after a batch that was full.

    Args:
        default: most items of a batch, and with a target what a lane begins with.
        lanes: the same for some lanes.
        target_ms: latency of one call of the handler to aim at; None: sizes stay.
        most: no size grows beyond it.

    Raises:
        InvalidInput: a size below 1, or a target that is not above 0.
    """

    __slots__ = ("_default", "_found", "_lanes", "_most", "target_ms")

    def __init__(self, default: int, lanes: Mapping[str, int], target_ms: float | None, most: int) -> None:
        if target_ms is not None and target_ms <= 0:
            raise InvalidInput("target_ms", "must be above 0", limit=0)
        self.target_ms = target_ms
        self._most = most
        self._lanes: dict[str, int] = {}
        self._found: dict[str, float] = {}
        self.set(default)
        for lane, size in lanes.items():
            self.set(size, lane)

    def of(self, lane: str) -> int:
        """Most items of the next batch of a lane."""
        if self._found and lane in self._found:
            return round(self._found[lane])
        return self._lanes.get(lane, self._default)

    def set(self, size: int, lane: str | None = None) -> None:
        """Sets the size of one lane or of all without their own, and forgets what was found out.

        Raises:
            InvalidInput: the size is below 1.
        """
        if size < 1:
            raise InvalidInput(lane or "batch_size", "must be at least 1", limit=1)
        if lane is None:
            self._default = size
            self._found.clear()
        else:
            self._lanes[lane] = size
            self._found.pop(lane, None)

    def learn(self, lane: str, items: int, took_ms: float) -> None:
        """Takes the latency of a batch into account."""
        if self.target_ms is None:
            return
        size = self._found.get(lane, float(self.of(lane)))
        fits = items * self.target_ms / max(took_ms, 1e-3)
        if fits > size and items < round(size):
            return  # it might have been larger, but there was no more
        fits = min(max(fits, size / STEP_MAX), size * STEP_MAX)
        self._found[lane] = min(max((size + fits) / 2, 1.0), float(self._most))

    def now(self) -> dict[str, int]:
        """Every size; "" is that of lanes without their own, unless the lane "" found one."""
        names = {"", *self._lanes, *self._found}
        return {lane: self.of(lane) for lane in sorted(names)}
