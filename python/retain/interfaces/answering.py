"""Answers the questions of hooks by an open service, each within its deadline.

Fails open: whatever goes wrong or takes too long, the answer is ``{}`` and the session goes on without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from retain.errors import RetainError
from retain.interfaces.questions import DEADLINES_S, EMPTY, asked_event, rendered
from retain.model import Event

if TYPE_CHECKING:
    from retain.memory.service import MemoryService

logger = logging.getLogger(__name__)


class Answering:
    """Answers questions by a service, each within its deadline.

    Args:
        service: the open service; may raise where the store cannot be used.
    """

    def __init__(self, service: Callable[[], Awaitable[MemoryService]]) -> None:
        self._service = service
        self._late: set[asyncio.Task[bytes]] = set()

    async def answer(self, frame: bytes) -> bytes:
        """The bytes to print.

        Raises:
            ValueError: the frame is no question.
        """
        event = asked_event(frame)
        if event is None:
            return EMPTY
        task = asyncio.create_task(self._answered(event))
        try:
            await asyncio.wait([task], timeout=DEADLINES_S[event.name])
        finally:
            if not task.done():
                # A read that is cancelled still waits for its thread, so it is left to end by itself.
                task.cancel()
                self._late.add(task)
                task.add_done_callback(self._late.discard)
        if task in self._late:
            logger.warning("answer.late event=%s", event.name)
            return EMPTY
        return task.result()

    async def _answered(self, event: Event) -> bytes:
        try:
            service = await self._service()
            with service.precedence.question():
                return rendered(event.name, await service.injector.inject(event))
        except RetainError as error:
            logger.warning("answer.failed event=%s code=%s", event.name, error.code)
        except Exception:
            logger.exception("answer.failed event=%s", event.name)
        return EMPTY
