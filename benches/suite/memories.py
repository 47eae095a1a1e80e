"""The whole of it: open, remember, recall, at 1,000 and at 10,000 memories of made-up text."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import retain
from retain.retrieval.context import count_tokens
from suite.texts import notes

SIZES = (1_000, 10_000)
CHUNK = 1_000
ASKED = 20
TOGETHER = 64
FIRST = 5


class Filled:
    """Stores that are filled once for all benchmarks of a class; each run works on a copy.

    The folder that they belong to stays the one they were filled for.
    """

    params = SIZES
    param_names = ("memories",)
    timeout = 300

    def setup_cache(self) -> str:
        place = Path.cwd() / "stores"
        for size in SIZES:
            asyncio.run(_fill(place / str(size), size))
        return str(place)

    def setup(self, place: str, size: int) -> None:
        self.folder = Path(place) / str(size)
        self.place = tempfile.mkdtemp(prefix="retain-asv-")
        self.home = Path(self.place) / "home"
        shutil.copytree(self.folder, self.home)
        self.texts = notes(size)

    def teardown(self, *_: object) -> None:
        shutil.rmtree(self.place)


class Opened(Filled):
    """A service that stays open over the runs of one benchmark."""

    settings: ClassVar[dict[str, int]] = {"cache_entries_max": 0}

    def setup(self, place: str, size: int) -> None:
        super().setup(place, size)
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        opened = retain.open(self.home, folder=self.folder, **self.settings)
        self.memory = self.run(self.stack.enter_async_context(opened))
        step = max(1, size // ASKED)
        self.asked = [note.name for note in self.texts[::step]][:ASKED]
        self.questions = [note.text[:60] for note in self.texts[::step]][:ASKED]
        self.fresh = itertools.count()
        first = self.run(self.memory.recall(self.asked[0]))
        if not any(self.asked[0] in hit.memory.text for hit in first.hits):
            raise AssertionError("a memory that is there was not found")

    def teardown(self, *_: object) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        super().teardown()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)


class Recall(Opened):
    """Twenty recalls, the cache off."""

    def time_names(self, *_: object) -> None:
        self.run(self._recall(self.asked))

    def time_questions(self, *_: object) -> None:
        self.run(self._recall(self.questions))

    def time_with_filter(self, *_: object) -> None:
        self.run(self._recall(self.questions, filter={"kind": "note", "since": "2020-01-01"}))

    def time_context(self, *_: object) -> None:
        self.run(self._contexts())

    def track_right_in_first_five(self, *_: object) -> float:
        """Of the twenty names, how many recalls have the right memory among the first five."""
        answers = self.run(self._recall(self.asked))
        return sum(
            any(name in hit.memory.text for hit in answer.hits[:FIRST])
            for name, answer in zip(self.asked, answers, strict=True)
        )

    async def _recall(self, texts: list[str], **options: Any) -> list[retain.Recall]:
        return [await self.memory.recall(text, limit=FIRST, **options) for text in texts]

    async def _contexts(self) -> None:
        for text in self.questions:
            await self.memory.context(text)


class CachedRecall(Opened):
    """The same twenty recalls with the cache on: after the first round nothing is read."""

    settings: ClassVar[dict[str, int]] = {}

    def time_again(self, *_: object) -> None:
        self.run(self._recall())

    async def _recall(self) -> None:
        for text in self.asked:
            await self.memory.recall(text, limit=FIRST)


class Remember(Opened):
    """Durable writes: one by one, and as many as a group commit holds."""

    def time_one(self, *_: object) -> None:
        self.run(self.memory.remember(f"one more note, number {next(self.fresh)}"))

    def time_together(self, *_: object) -> None:
        self.run(self._together())

    def peakmem_together(self, *_: object) -> None:
        self.run(self._together())

    def track_writes_a_commit(self, *_: object) -> float:
        self.run(self._together())
        writer = self.run(self.memory.stats())["process"]["writer"]
        return writer["writes"] / writer["commits"]

    async def _together(self) -> None:
        texts = [f"a note among many, number {next(self.fresh)}" for _ in range(TOGETHER)]
        await asyncio.gather(*map(self.memory.remember, texts))


class Footprint(Filled):
    """Memory of a process that opens a store and asks twenty questions."""

    def peakmem_recall(self, *_: object) -> None:
        asyncio.run(self._ask())

    def track_bytes_a_memory(self, _: str, size: int) -> float:
        return sum(path.stat().st_size for path in self.home.iterdir() if path.is_file()) / size

    track_bytes_a_memory.unit = "bytes"  # type: ignore[attr-defined]

    async def _ask(self) -> None:
        async with retain.open(self.home, folder=self.folder) as memory:
            for note in self.texts[:ASKED]:
                await memory.recall(note.name)


OPEN = "import asyncio, retain, sys\nasync def main():\n async with retain.open(sys.argv[1]): pass\nasyncio.run(main())"


class Start(Filled):
    """Processes: import alone, and import with an open store."""

    def time_import(self, *_: object) -> None:
        subprocess.run([sys.executable, "-c", "import retain; retain.open"], check=True)

    def time_import_and_open(self, *_: object) -> None:
        subprocess.run([sys.executable, "-c", OPEN, str(self.home)], check=True, cwd=self.folder)

    def peakmem_open(self, *_: object) -> None:
        asyncio.run(self._open())

    async def _open(self) -> None:
        async with retain.open(self.home, folder=self.folder):
            pass

    def track_modules(self, *_: object) -> int:
        """How many modules an open store has loaded: what start-up is made of."""
        code = f"{OPEN}\nprint(len(sys.modules))"
        command = [sys.executable, "-c", code, str(self.home)]
        return int(subprocess.run(command, check=True, cwd=self.folder, capture_output=True).stdout)

    track_modules.unit = "modules"  # type: ignore[attr-defined]

    def time_server(self, *_: object) -> None:
        """A server that is started and sees the end of its input at once."""
        environment = {**os.environ, "RETAIN_HOME": str(self.home)}
        command = [sys.executable, "-P", "-m", "retain", "serve"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=self.folder, env=environment)


class Tools:
    """What the client pays for the tools in each session."""

    def track_tokens(self) -> int:
        # Imported here, so that a commit in which the table lies elsewhere still runs all the rest.
        from retain.config import Settings
        from retain.interfaces.mcp_tools import listing, tools

        return count_tokens(str(listing(tools(Settings(home=Path("/nowhere"))))))

    track_tokens.unit = "tokens"  # type: ignore[attr-defined]


async def _fill(home: Path, size: int) -> None:
    texts = [{"text": note.text} for note in notes(size)]
    async with retain.open(home, folder=home) as memory:
        for start in range(0, size, CHUNK):
            await memory.remember_many(texts[start : start + CHUNK])
