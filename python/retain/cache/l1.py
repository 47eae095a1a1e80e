"""The first level of the cache: in this process, written in Rust."""

from retain._core import L1Cache

__all__ = ["L1Cache"]
