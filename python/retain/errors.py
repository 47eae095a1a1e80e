"""The whole exception tree of retain.

    RetainError
    ├── InvalidInput         a field is missing, of the wrong type, or over a named limit
    │   └── InvalidFilter    a filter tree that cannot be read
    ├── NotFound             an id that names nothing here ("could not look" is another error)
    ├── Conflict             the same source_id with other content, or a memory changed meanwhile
    ├── StoreError           the store could not do it; nothing was acknowledged
    │   ├── StoreUnusable    wrong SQLite, wrong schema version, not a database, no permission
    │   ├── KeyMissing       it is encrypted with a key that is not here
    │   ├── StoreBusy        another process held the write lock past the limit (retryable)
    │   ├── StoreFull        no space left on the device (retryable)
    │   └── StoreCorrupt     a content hash or an integrity check failed
    ├── SpoolError           the spool could not be written or read
    ├── PoolTimeout          no connection came free in time (retryable)
    ├── PoolClosed           the pool is closed
    ├── QueueFull            the batch queue is at its bound, or the item was shed to make room (retryable)
    ├── QueueClosed          the batch processor is closed
    ├── CacheLevelDown       a cache level below the first cannot be used now (retryable)
    └── EmbeddingFailed      an embedding model cannot be loaded or reached (retryable)

Each class carries a stable ``code``, and says whether a retry can help. One table in
``retain.interfaces.replies`` maps codes to exit codes and to MCP answers.
"""

from __future__ import annotations


class RetainError(Exception):
    """Base of every error that retain raises on purpose.

    Attributes:
        code: stable machine-readable name, for programs.
        retryable: whether the same call may succeed later.
        hint: what the user can do about it, or None.
    """

    code = "retain_error"
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InvalidInput(RetainError):
    """A field of the caller's input is wrong.

    Attributes:
        field: the name of the field as the caller wrote it.
        limit: the limit that was broken, or None where the type was wrong.
    """

    code = "invalid_input"

    def __init__(
        self,
        field: str,
        problem: str,
        *,
        limit: float | str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{field}: {problem}", hint=hint)
        self.field = field
        self.limit = limit


class InvalidFilter(InvalidInput):
    """A filter tree that cannot be read; ``field`` is the path of the bad node."""

    code = "invalid_filter"


class NotFound(RetainError):
    """The id names nothing in this store."""

    code = "not_found"


class Conflict(RetainError):
    """What the caller asks for contradicts what is stored."""

    code = "conflict"


class StoreError(RetainError):
    """The store could not do it; nothing of the call was acknowledged."""

    code = "store_error"


class StoreUnusable(StoreError):
    """The store cannot be opened: wrong SQLite, wrong schema, no permission, not a database."""

    code = "store_unusable"


class KeyMissing(StoreError):
    """What is encrypted cannot be opened: its key is not here, or another one is in its place."""

    code = "key_missing"


class StoreBusy(StoreError):
    """Another process held the write lock for longer than the limit."""

    code = "store_busy"
    retryable = True


class StoreFull(StoreError):
    """No space is left on the device of the store."""

    code = "store_full"
    retryable = True


class StoreCorrupt(StoreError):
    """A content hash or an integrity check failed."""

    code = "store_corrupt"


class SpoolError(RetainError):
    """The spool could not be written or read."""

    code = "spool_error"


class PoolTimeout(RetainError):
    """No connection came free within the acquire timeout."""

    code = "pool_timeout"
    retryable = True


class PoolClosed(RetainError):
    """The pool was closed before or while a connection was awaited."""

    code = "pool_closed"


class QueueFull(RetainError):
    """The batch queue is at its bound, and the item was refused or made room for another."""

    code = "queue_full"
    retryable = True


class QueueClosed(RetainError):
    """The batch processor was closed before or while the item was offered."""

    code = "queue_closed"


class CacheLevelDown(RetainError):
    """A cache level below the first cannot be used now; ``MultiLevelCache`` goes on without it."""

    code = "cache_level_down"
    retryable = True


class EmbeddingFailed(RetainError):
    """An embedding model cannot be loaded, reached or understood; recall goes on without it."""

    code = "embedding_failed"
    retryable = True
