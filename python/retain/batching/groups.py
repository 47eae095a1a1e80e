"""Who waits for an item: a future of its own, or a group that is answered as a whole."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar, overload

R = TypeVar("R")

FINISHED_MAX: Final = 64
"""Finished groups that may lie among the open ones before they are swept out."""

_PENDING: Final = object()


class _Failed:
    """Stands in the place of a result, which may itself be an exception."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Group(Sequence["asyncio.Future[R]"], Generic[R]):
    """The answers to items submitted together.

    ``await group`` waits for all and gives the results in the order of the items, or raises the first
    error. ``await group.outcomes()`` gives errors in the place of results. As a sequence it holds one
    future for each item, made when asked for: a group that is only awaited never pays for them. Cancelling
    who awaits the group cancels the group, as with ``asyncio.gather``.
    """

    __slots__ = ("_base", "_failed", "_futures", "_gone", "_open", "_owners", "_settled", "_slots")

    def __init__(self, owners: Owners, base: int, size: int) -> None:
        """Made by ``BatchProcessor.submit_many``."""
        self._owners = owners
        self._base = base
        self._slots: list[Any] = [_PENDING] * size
        self._open = size
        self._failed = 0
        self._gone = False
        self._futures: dict[int, asyncio.Future[R]] | None = None
        self._settled: asyncio.Future[None] | None = None

    async def outcomes(self) -> list[R | BaseException]:
        """Waits for all; each result, or in its place the error. O(1) beyond the waiting if none failed."""
        if self._open:
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            try:
                await asyncio.shield(self._settled)
            except asyncio.CancelledError:
                self.cancel()
                raise
        if not self._failed:
            return self._slots
        return [slot.error if isinstance(slot, _Failed) else slot for slot in self._slots]

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self._results().__await__()

    async def _results(self) -> list[R]:
        await self.outcomes()
        if self._failed:
            raise next(slot.error for slot in self._slots if isinstance(slot, _Failed))
        return self._slots

    def done(self) -> bool:
        """Whether every item was handled or given up."""
        return self._open == 0

    def cancel(self) -> None:
        """Lets go of the items that are not in the handler's hands: each is dropped when its turn comes."""
        if self._open:
            self._watch()
            self._gone = True

    def __len__(self) -> int:
        return len(self._slots)

    @overload
    def __getitem__(self, index: int) -> asyncio.Future[R]: ...
    @overload
    def __getitem__(self, index: slice) -> list[asyncio.Future[R]]: ...
    def __getitem__(self, index: int | slice) -> asyncio.Future[R] | list[asyncio.Future[R]]:
        if isinstance(index, slice):
            return [self._future(place) for place in range(len(self))[index]]
        return self._future(range(len(self))[index])

    def __iter__(self) -> Iterator[asyncio.Future[R]]:
        return map(self._future, range(len(self)))

    def _future(self, place: int) -> asyncio.Future[R]:
        futures = self._watch()
        future = futures.get(place)
        if future is None:
            future = futures[place] = asyncio.get_running_loop().create_future()
            if self._slots[place] is not _PENDING:
                _resolve(future, self._slots[place])
        return future

    def _watch(self) -> dict[int, asyncio.Future[R]]:
        if self._futures is None:
            self._futures = {}
            self._owners.watched += self._open > 0
        return self._futures

    def _set(self, place: int, slot: object) -> int:
        """Answers one item; how many that changed."""
        if self._slots[place] is not _PENDING:
            return 0
        self._slots[place] = slot
        self._failed += isinstance(slot, _Failed)
        future = self._futures.get(place) if self._futures else None
        if future is not None:
            _resolve(future, slot)
        self._close(1)
        return 1

    def _close(self, count: int) -> None:
        self._open -= count
        if self._open == 0:
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)
            self._owners.finished(watched=self._futures is not None)


def _resolve(future: asyncio.Future[Any], slot: object) -> None:
    if future.done():
        return
    if not isinstance(slot, _Failed):
        future.set_result(slot)
    elif isinstance(slot.error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(slot.error)


class Owners:
    """Finds who waits for an item by the item's number.

    A group's items have numbers in a row, so a group costs one entry however long it is.

    Attributes:
        open: items not answered yet.
        watched: open groups that were cancelled, or may be in part because futures were asked for.
    """

    __slots__ = ("_bases", "_finished", "_futures", "_groups", "open", "watched")

    def __init__(self) -> None:
        self.open = 0
        self.watched = 0
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._bases: list[int] = []
        self._groups: list[Group[Any]] = []
        self._finished = 0

    def future(self, number: int) -> asyncio.Future[Any]:
        """A future for one item."""
        self.open += 1
        future = self._futures[number] = asyncio.get_running_loop().create_future()
        return future

    def group(self, number: int, size: int) -> Group[Any]:
        """A group for items with numbers from this one on, which must be above all before."""
        group: Group[Any] = Group(self, number, size)
        if size:
            self.open += size
            self._bases.append(number)
            self._groups.append(group)
        return group

    def answer(self, numbers: Sequence[int], results: Sequence[Any]) -> None:
        """Gives each item its result. The loop is what a batch costs; so it is written for speed."""
        base = stop = count = 0
        group: Group[Any] | None = None
        slots: list[Any] = []
        for number, result in zip(numbers, results, strict=True):
            if not base <= number < stop:
                if group is not None:
                    self._closed(group, count)
                    group, base, stop, count = None, 0, 0, 0
                found = self._open_group(number, result)
                if found is None:
                    continue
                group, slots = found, found._slots
                base, stop = found._base, found._base + len(slots)
            slots[number - base] = result
            count += 1
        if group is not None:
            self._closed(group, count)

    def _open_group(self, number: int, result: object) -> Group[Any] | None:
        """The group to fill in bulk; or None, the item being answered here, where futures wait."""
        future = self._futures.pop(number, None)
        if future is None:
            group = self._group_of(number)
            if group._futures is None:
                return group
            self.open -= group._set(number - group._base, result)
        else:
            self.open -= 1
            _resolve(future, result)
        return None

    def _closed(self, group: Group[Any], count: int) -> None:
        self.open -= count
        group._close(count)

    def fail(self, numbers: Iterable[int], error: BaseException) -> int:
        """Gives each item that has no answer yet an error; a CancelledError cancels. How many."""
        slot = _Failed(error)
        before = self.open
        for number in numbers:
            future = self._futures.pop(number, None)
            if future is not None:
                self.open -= 1
                _resolve(future, slot)
            elif self._bases and self._bases[0] <= number:
                group = self._group_of(number)
                place = number - group._base
                if place < len(group):
                    self.open -= group._set(place, slot)
        return before - self.open

    def cancelled(self, numbers: Sequence[int]) -> list[int]:
        """The places, not the numbers, of items that nobody waits for any more."""
        if not self._futures and not self.watched:
            return []
        return [place for place, number in enumerate(numbers) if self._is_cancelled(number)]

    def _is_cancelled(self, number: int) -> bool:
        future = self._futures.get(number)
        if future is None and self.watched:
            group = self._group_of(number)
            if group._gone:
                return True
            future = (group._futures or {}).get(number - group._base)
        return future is not None and future.cancelled()

    def _group_of(self, number: int) -> Group[Any]:
        return self._groups[bisect_right(self._bases, number) - 1]

    def finished(self, *, watched: bool) -> None:
        """A group is told out; now and then those are swept out."""
        self.watched -= watched
        self._finished += 1
        if self._finished > FINISHED_MAX and self._finished * 2 > len(self._groups):
            self._groups = [group for group in self._groups if not group.done()]
            self._bases = [group._base for group in self._groups]
            self._finished = 0
