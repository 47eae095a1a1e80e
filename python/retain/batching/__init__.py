"""BatchProcessor: collects items by priority, hands them on in batches, retries, sets poison aside.

The queue is the Rust ``BatchQueue``: lowest priority value first, first in first out among equals. A batch
that fails for a reason that may pass is tried again; one that fails otherwise is taken apart, so that a bad
item never takes its neighbours with it.
"""

from retain._core import BatchQueue
from retain.batching.groups import Group
from retain.batching.processor import BatchProcessor
from retain.batching.records import BatchStats, DeadLetter, Progress, is_retryable

__all__ = ["BatchProcessor", "BatchQueue", "BatchStats", "DeadLetter", "Group", "Progress", "is_retryable"]
