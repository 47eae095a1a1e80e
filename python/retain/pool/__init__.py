"""ConnectionPool: a fair, bounded, cancellation-safe async pool of anything that can be made and destroyed."""

from retain.pool.connections import ConnectionPool
from retain.pool.lease import Lease
from retain.pool.records import PoolStats

__all__ = ["ConnectionPool", "Lease", "PoolStats"]
