"""What a pool tells about itself, and what it asks of its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from retain.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Counters of a pool since it was made, and what is there now; named as psycopg_pool names them.

    Attributes:
        pool_min: connections kept even when idle.
        pool_max: most connections at one time.
        pool_size: connections now, those being made included.
        pool_available: of these, those that lie idle.
        requests_waiting: callers in line now.
        requests_num: calls of acquire.
        requests_queued: of these, those that had to stand in line.
        requests_errors: of these, those that got an error instead of a connection.
        requests_timeouts: of these, those that waited for too long.
        requests_wait_ms: time that all callers spent in line together.
        requests_wait_ms_max: the longest of these times.
        returns_bad: connections that came back broken.
        connections_num: calls of the factory.
        connections_errors: of these, those that failed.
        connections_lost: connections that failed a check.
        connections_destroyed: connections destroyed, for whatever reason.
    """

    pool_min: int
    pool_max: int
    pool_size: int
    pool_available: int
    requests_waiting: int
    requests_num: int
    requests_queued: int
    requests_errors: int
    requests_timeouts: int
    requests_wait_ms: float
    requests_wait_ms_max: float
    returns_bad: int
    connections_num: int
    connections_errors: int
    connections_lost: int
    connections_destroyed: int


def check_sizes(min_size: int, max_size: int) -> None:
    """Raises InvalidInput for sizes that contradict each other."""
    if max_size < 1:
        raise InvalidInput("max_size", "must be at least 1", limit=1)
    if not 0 <= min_size <= max_size:
        raise InvalidInput("min_size", "must lie between 0 and max_size", limit=max_size)
