"""A repository with a history that a test tells step by step, and the memories made on the way."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retain.capture import spool
from retain.git import head
from retain.memory.service import MemoryService

START_S = 1_790_000_000
STEP_S = 60


@dataclass
class Clock:
    """Every command of git and every memory takes a minute, so that nothing happens at the same time."""

    now_s: int = START_S

    def tick(self) -> int:
        self.now_s += STEP_S
        return self.now_s


@dataclass
class Story:
    """Git commands and memories in one order of time.

    ``open_at`` opens a service of the same store at another folder: a linked worktree, a clone.
    """

    path: Path
    home: Path
    service: MemoryService
    open_at: Callable[..., Awaitable[MemoryService]]
    clock: Clock = field(default_factory=Clock)
    facts: dict[str, Any] = field(default_factory=dict)

    def git(self, *arguments: str, at: Path | None = None) -> str:
        now = f"{self.clock.tick()} +0000"
        answer = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=at or self.path,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "GIT_AUTHOR_DATE": now, "GIT_COMMITTER_DATE": now, "GIT_EDITOR": "true"},
        )
        return answer.stdout.strip()

    def write(self, name: str, text: str, at: Path | None = None) -> None:
        path = (at or self.path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, message: str, at: Path | None = None, **files: str) -> str:
        """Writes files (their names with ``_`` for the dot), commits everything and returns the hash."""
        for name, text in files.items():
            self.write(name.replace("_", "."), text, at)
        self.git("add", "-A", at=at)
        self.git("commit", "-q", "--allow-empty", "-m", message, at=at)
        return self.git("rev-parse", "HEAD", at=at)

    async def told(
        self,
        word: str,
        kind: str = "decision",
        *,
        paths: tuple[str, ...] = (),
        service: MemoryService | None = None,
    ) -> None:
        """A memory that holds a word of its own, made now where the service stands."""
        when = datetime.fromtimestamp(self.clock.tick(), UTC)
        await (service or self.service).remember(
            f"{word} is what was settled here", kind=kind, paths=paths, occurred_at=when
        )

    async def edited(self, name: str, text: str, at: Path | None = None) -> None:
        """A file that the session writes, as a hook tells it."""
        place = at or self.path
        self.write(name, text, place)
        self.hook(
            "PostToolUse",
            place,
            tool_name="Write",
            tool_input={"file_path": str(place / name), "content": text},
            tool_response={"type": "create"},
        )
        await self.service.drain.run()

    def hook(self, event: str, at: Path | None = None, **fields: Any) -> None:
        """Spools an event of the client as a hook would."""
        place = at or self.path
        branch, commit = head.read(str(place))
        payload = {"hook_event_name": event, "session_id": "s1", "cwd": str(place), **fields}
        record = spool.Record(
            json.dumps(payload).encode(),
            self.clock.tick() * 1_000_000,
            cwd=str(place),
            branch=branch,
            commit=commit,
        )
        spool.append(str(self.home / "spool"), record)

    async def workspace(self) -> str:
        """The id of the workspace of the repository."""
        return str((await self.service.status())["workspace"]["id"])

    async def state(self, word: str, service: MemoryService | None = None, **asked: Any) -> str:
        """What a recall of the word gives: the state of its memory, ``hidden``, or ``missing``."""
        recall = await (service or self.service).recall(word, **asked)
        for hit in recall.hits:
            if word in hit.memory.text:
                self.facts["note"] = hit.note
                return hit.state
        return "hidden" if recall.hidden.get("other_branch") else "missing"
