"""The cache and its levels; each may be used alone."""

from retain.cache.l1 import L1Cache

__all__ = ["L1Cache"]
