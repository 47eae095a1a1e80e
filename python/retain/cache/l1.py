"""The first level of the cache: in this process, written in Rust."""

from retain._core import L1Cache
from retain.cache import flights  # the extension calls it when a key must be computed

__all__ = ["L1Cache", "flights"]
