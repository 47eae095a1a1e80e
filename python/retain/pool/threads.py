"""Threads that make do with fewer where the system has no memory for another stack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


class PatientThreads(ThreadPoolExecutor):
    """Threads that make do with fewer than allowed where the system has no memory for another stack.

    The standard pool raises then, with the work already queued: it would run though its caller was told no.
    """

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
