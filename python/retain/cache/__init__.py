"""The cache and its levels; each may be used alone. L2 and L3 are imported only where they are configured."""

from retain.cache.l1 import L1Cache
from retain.cache.loading import Unstored
from retain.cache.multilevel import MultiLevelCache

__all__ = ["L1Cache", "MultiLevelCache", "Unstored"]
