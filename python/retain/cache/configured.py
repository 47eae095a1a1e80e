"""The levels below L1 that the settings name; what they need is imported only then."""

from __future__ import annotations

from retain import keys
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

    return _sealed(settings, RedisLevel(settings.redis_url, prefix=REDIS_PREFIX))


def disk_level(settings: Settings) -> Level | None:
    """L3, or None where it is off or cannot be had."""
    if not settings.cache_disk_bytes_max:
        return None
    from retain.cache.disk_level import DiskLevel
    from retain.cache.l3 import DiskCache

    try:
        folder = settings.home / DISK_FOLDER
        disk = DiskCache(folder, bytes_max=settings.cache_disk_bytes_max)
    except CacheLevelDown:
        return None
    return _sealed(settings, DiskLevel(disk))


def _sealed(settings: Settings, level: Level) -> Level:
    """The level, sealed where the data directory is encrypted."""
    key = keys.of_home(settings.home)
    if key is None:
        return level
    from retain.cache.sealed import SealedLevel

    return SealedLevel(level, key)
