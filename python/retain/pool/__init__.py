"""ConnectionPool: a fair, bounded, cancellation-safe async pool of anything that can be made and destroyed."""

from retain.pool.connections import ConnectionPool
from retain.pool.lease import Lease
from retain.pool.records import PoolStats
from retain.pool.threads import PatientThreads

__all__ = ["ConnectionPool", "Lease", "PatientThreads", "PoolStats"]
