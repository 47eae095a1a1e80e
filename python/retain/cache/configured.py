"""The levels below L1 that the settings name; what they need is imported only then."""

from __future__ import annotations

from retain.cache.levels import Level
from retain.config import Settings
from retain.errors import CacheLevelDown

DISK_FOLDER = "cache"
REDIS_PREFIX = "retain:"


def server_level(settings: Settings) -> Level | None:
    """L2, or None where no server is named.

    Raises:
        InvalidInput: redis is not installed, or the address cannot be read.
    """
    if not settings.redis_url:
        return None
    from retain.cache.l2 import RedisLevel

    return RedisLevel(settings.redis_url, prefix=REDIS_PREFIX)


def disk_level(settings: Settings) -> Level | None:
    """L3, or None where it is off or cannot be had."""
    if not settings.cache_disk_bytes_max:
        return None
    from retain.cache.disk_level import DiskLevel
    from retain.cache.l3 import DiskCache

    try:
        folder = settings.home / DISK_FOLDER
        return DiskLevel(DiskCache(folder, bytes_max=settings.cache_disk_bytes_max))
    except CacheLevelDown:
        return None
