"""``retain demo``: a session is captured by the real hook, and the next one is given what fits.

Everything runs on real input in a temporary data directory: a transcript of Claude Code is replayed event
by event through the hook process, as the client would run it in the given repository; a first service drains
the spool; a second one, as the server of a later session, answers three prompts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import retain
from retain.capture.transcript import replay
from retain.errors import InvalidInput
from retain.git import head
from retain.git.repository import locate
from retain.interfaces.replies import Paint, counted, duration, printable, write
from retain.memory.drain import DrainReport
from retain.memory.service import MemoryService
from retain.model import Memory, Recall
from retain.retrieval.context import Block, one_line

SHIPPED = "demo_session.jsonl"
SHIPPED_PROMPTS = (
    "why do we use Decimal instead of float for money?",
    "alembic.util.exc.CommandError: Can't locate revision identified by '0030'",
    "set up a kubernetes ingress with TLS for the mobile gateway",
)
UNRELATED = SHIPPED_PROMPTS[2]
CONTEXT_TOKENS = 400


def main(args: Namespace) -> int:
    """Runs the demo; returns the exit code.

    Raises:
        InvalidInput: no such repository or transcript, or no events in it.
    """
    repo = Path(args.repo or Path.cwd()).resolve()
    if not repo.is_dir():
        raise InvalidInput("repo", f"{repo} is not a directory")
    transcript = Path(args.transcript) if args.transcript else None
    if transcript is not None and not transcript.is_file():
        raise InvalidInput("transcript", f"{transcript} is not a file")
    with tempfile.TemporaryDirectory(prefix="retain-demo-") as home:
        return asyncio.run(_Demo(Path(home), repo, transcript).run())


class _Demo:
    def __init__(self, home: Path, repo: Path, transcript: Path | None) -> None:
        self._home = home
        self._root = Path(locate(str(repo)).root)
        self._transcript = transcript
        self._paint = Paint.for_stream(sys.stdout)
        self._started = time.perf_counter()

    async def run(self) -> int:
        branch, commit = head.read(str(self._root))
        self._title("Where")
        where = f"on {branch or 'a detached head'} at {commit[:10]}" if commit else "no commit yet"
        _print(f"repository {self._root} ({where}); data in {self._home}, removed at the end")
        events = self._events()
        self._capture(events)
        async with retain.open(self._home, folder=self._root) as first:
            report = await first.drain.run()
            self._show_stored(report, (await first.timeline(limit=first.settings.results_max)).memories)
            prompts = await self._prompts(first)
        # A new service on the same data: what a server started by the next session sees.
        async with retain.open(self._home, folder=self._root, origin="assistant") as second:
            self._title("The next session asks")
            for number, prompt in enumerate(prompts):
                await self._ask(second, prompt, is_first=number == 0)
            checked = await second.verify()
        self._finish(checked)
        return 0

    def _events(self) -> list[dict[str, Any]]:
        """The transcript as hook events, moved into the repository."""
        if self._transcript is not None:
            events: list[dict[str, Any]] = list(replay(self._transcript))
        else:
            with resources.as_file(resources.files("retain").joinpath(SHIPPED)) as path:
                events = list(replay(path))
        if not events:
            raise InvalidInput("transcript", "holds no event that a hook would see")
        cwd = next((e["cwd"] for e in events if isinstance(e.get("cwd"), str) and len(e["cwd"]) > 1), "")
        if not cwd:
            return events
        there, here = json.dumps(cwd)[1:-1], json.dumps(str(self._root))[1:-1]
        return [json.loads(json.dumps(event).replace(there, here)) for event in events]

    def _capture(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Runs the hook once an event, as the client does."""
        self._title("A session is captured")
        environment = {"RETAIN_HOME": str(self._home), "PATH": os.defpath, "HOME": str(self._home)}
        took = []
        for event in events:
            started = time.perf_counter()
            subprocess.run(
                hook_command(),
                input=json.dumps(event).encode(),
                cwd=self._root,
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            took.append((time.perf_counter() - started) * 1e6)
        names = Counter(str(event.get("hook_event_name")) for event in events)
        _print(", ".join(f"{count} {name}" for name, count in names.most_common()))
        took.sort()
        _print(
            f"{counted(len(events), 'hook process', 'hook processes')}: median {duration(took[len(took) // 2])}, "
            f"slowest {duration(took[-1])}, each synced to disk before it ended"
        )

    def _show_stored(self, report: DrainReport, memories: Sequence[Memory]) -> None:
        self._title("What was stored")
        for memory in memories:
            _print(f"  {self._paint.kind(memory.kind.ljust(11))}  {printable(one_line(memory.title, 96))}")
        _print(
            f"{counted(report.events, 'event', 'events')} became {counted(report.memories, 'memory', 'memories')}"
        )
        if report.redacted:
            rules = ", ".join(f"{count} {rule}" for rule, count in sorted(report.redacted.items()))
            _print(f"{self._paint.doubtful('redacted before anything was stored:')} {rules}")
            for memory in memories:
                if memory.redacted:
                    line = next((part for part in memory.text.splitlines() if "[redacted:" in part), "")
                    _print(f"  {self._paint.dim(printable(one_line(line, 110)))}")

    async def _prompts(self, service: MemoryService) -> Sequence[str]:
        """Three prompts: about something decided, about something that failed, and about neither."""
        if self._transcript is None:
            return SHIPPED_PROMPTS
        prompts = []
        for kinds in (["decision", "summary", "prompt"], ["error", "fix", "file_change", "command"]):
            found = (await service.recall("", filter={"kind": kinds}, limit=1)).hits
            prompts += [one_line(hit.memory.title, 120) for hit in found]
        return (*prompts, UNRELATED)

    async def _ask(self, service: MemoryService, prompt: str, *, is_first: bool) -> None:
        started = time.perf_counter()
        block, recall = await service.context(prompt, CONTEXT_TOKENS)
        took_us = (time.perf_counter() - started) * 1e6
        assert recall is not None, "a context for a prompt comes from a recall"
        _print(f"\n{self._paint.bold('> ' + printable(prompt))}")
        took = duration(took_us) + (", with nothing read yet" if is_first else "")
        self._show_answer(block, recall, took)

    def _show_answer(self, block: Block, recall: Recall, took: str) -> None:
        for line in block.text.splitlines():
            _print(f"  {printable(line)}")
        plan = recall.plan
        why = (
            f"plan {plan['name']} (estimated {duration(plan['cost_us'][1])}, took {duration(plan['truth']['us'])}); "
            f"{recall.confidence:.0%} likely to answer the question"
        )
        withheld = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in recall.hidden.items())
        if block.over_budget:
            withheld = ", ".join(filter(None, (withheld, f"{block.over_budget} over the budget")))
        if not block.text:
            _print(f"  {self._paint.doubtful('nothing is injected')}: nothing fits")
        _print(
            self._paint.dim(f"  injected: {block.tokens} tokens in {took} · withheld: {withheld or 'none'}")
        )
        for hit in recall.hits[:1]:
            parts = ", ".join(f"{name} {value:g}" for name, value in hit.parts.items())
            why += f"; first one scores {hit.score:.2f} ({parts})"
        _print(self._paint.dim(f"  why: {why}"))

    def _finish(self, checked: Mapping[str, Any]) -> None:
        self._title("And now")
        items = sum(check["checked"] for check in checked["checks"])
        verdict = self._paint.good("ok") if checked["ok"] else self._paint.bad("problems found")
        _print(
            f"verified: {verdict} ({items:,} pages, rows and records); "
            f"{time.perf_counter() - self._started:.1f} s in all"
        )
        _print(f"Install into Claude Code with:  {self._paint.bold('retain install')}")

    def _title(self, text: str) -> None:
        _print(f"\n{self._paint.bold(text)}")


def _print(text: str) -> None:
    write(sys.stdout, text)


def hook_command() -> list[str]:
    """The hook as the client starts it: the launcher beside this Python, else the module."""
    launcher = Path(sys.executable).with_name("retain")
    if launcher.is_file():
        return [str(launcher), "hook"]
    return [sys.executable, "-P", "-m", "retain", "hook"]
