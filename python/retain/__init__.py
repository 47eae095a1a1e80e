"""retain: long-term memory for Claude Code that never waits, never loses and never lies.

    import retain

    async with retain.open() as memory:
        await memory.remember("we use decimal.Decimal for money", kind="decision")
        answer = await memory.recall("how do we store prices?")

Every name is resolved on first use, because each hook process pays for this file.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from retain.batching import BatchProcessor
    from retain.cache.multilevel import MultiLevelCache
    from retain.config import Settings
    from retain.memory.opening import open  # noqa: A004 - the public name is retain.open
    from retain.memory.service import MemoryService
    from retain.model import Draft, Hit, Memory, Query, Recall
    from retain.pool import ConnectionPool
    from retain.pressure import MemoryManager
    from retain.retrieval.planner import QueryPlanner

__all__ = [
    "BatchProcessor",
    "ConnectionPool",
    "Draft",
    "Hit",
    "Memory",
    "MemoryManager",
    "MemoryService",
    "MultiLevelCache",
    "Query",
    "QueryPlanner",
    "Recall",
    "Settings",
    "__version__",
    "open",
]

_HOMES = {
    "BatchProcessor": "retain.batching",
    "ConnectionPool": "retain.pool",
    "Draft": "retain.model",
    "Hit": "retain.model",
    "Memory": "retain.model",
    "MemoryManager": "retain.pressure",
    "MemoryService": "retain.memory.service",
    "MultiLevelCache": "retain.cache.multilevel",
    "Query": "retain.model",
    "QueryPlanner": "retain.retrieval.planner",
    "Recall": "retain.model",
    "Settings": "retain.config",
    "open": "retain.memory.opening",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from retain._core import VERSION

        return VERSION
    if name not in _HOMES:
        raise AttributeError(f"module 'retain' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
