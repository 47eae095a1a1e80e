"""Wall time of a hook that asks for what fits a prompt: whole process, with a live server and without one.

    python benches/prompt_time.py [--repo PATH] [--size 10000] [--prompts 200] [--client PATH] [--json FILE]

The client is the native `retain-hook` beside this Python or on the PATH, else the launcher (`retain hook`, Python);
--client names another. Each prompt is a process of its own: the event on stdin, the answer on stdout, timed from
its start to its end, in sessions of twenty prompts. Beside them in the same run stand a process that does nothing
and the same client without a server, which then has nothing to say but must say it soon, and the answers to a
SessionStart with and without a server. Every answer must be one JSON object of the form that the client reads,
below 10,000 characters; how many held the memory that was meant stands beside what the tool `context` finds.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora import KnownItem, known_items
from corpora import records as texts_of
from measuring import (
    Figure,
    against,
    arguments,
    at_most,
    base_python,
    clean_environment,
    cpu_ms,
    launcher,
    publish,
    summary,
)
from measuring import right as right_answers
from retain.home import HOOK_SOCKET, RUN
from retain.referee.stdio_client import Server
from stdio_latency import fill

WARM_P95_MS_MAX = 20.0
WARM_MS_MAX = 50.0
COLD_P95_MS_MAX = 150.0
START_MS_MAX = 2_000.0
CHARS_MAX = 10_000
PROMPTS_A_SESSION = 20
STARTS = 20
WARM_UP = 10
LISTENING_S = 60.0


@dataclass(slots=True)
class Series:
    """Hooks of one sort: their times, how many answers had the right form, said something, held what was meant."""

    ms: list[float] = field(default_factory=list)
    formed: int = 0
    said: int = 0
    held: int = 0

    def add(self, elapsed_ms: float, printed: bytes, name: str, meant: str = "") -> None:
        self.ms.append(elapsed_ms)
        text = text_of(printed, name)
        self.formed += text is not None
        self.said += bool(text)
        self.held += bool(meant and text and meant in text)


def text_of(printed: bytes, name: str) -> str | None:
    """The text of an answer, empty where it has none; None where the client could not read it."""
    try:
        answer = json.loads(printed)
        if answer == {}:
            return ""
        inner = answer["hookSpecificOutput"]
        text = inner["additionalContext"]
        return str(text) if inner["hookEventName"] == name and len(text) < CHARS_MAX else None
    except (ValueError, KeyError, TypeError):
        return None


def client(named: str | None) -> list[str]:
    """The command of a hook."""
    if named is not None:
        return [named]
    native = shutil.which("retain-hook", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    return [native] if native else [launcher(), "hook"]


class Hooks:
    """Starts hook processes in one project.

    Args:
        command: of a hook.
        home: data directory.
        folder: the project.
    """

    def __init__(self, command: Sequence[str], home: Path, folder: Path) -> None:
        self._command = list(command)
        self._folder = folder
        self._environment = clean_environment(RETAIN_HOME=str(home))

    def run(self, name: str, session: str, **fields: object) -> tuple[float, bytes]:
        """Milliseconds from the start of the process to its end, and what it printed."""
        event = {"session_id": session, "hook_event_name": name, "cwd": str(self._folder), **fields}
        return timed(self._command, self._environment, self._folder, json.dumps(event).encode())


def timed(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, payload: bytes
) -> tuple[float, bytes]:
    started = time.perf_counter_ns()
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    printed, _ = process.communicate(payload)
    elapsed_ms = (time.perf_counter_ns() - started) / 1e6
    if process.returncode != 0:
        raise RuntimeError(f"{command[:2]} ended with {process.returncode}")
    return elapsed_ms, printed


def children_ms() -> float:
    """Processor time of the processes that were started and have ended, in milliseconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def warm(
    server: Server, hooks: Hooks, items: Sequence[tuple[str, KnownItem]], ids: Mapping[str, str]
) -> dict[str, Any]:
    """Prompts and starts while a server answers, and a process that does nothing in turns with them."""
    nothing = [base_python(), "-I", "-S", "-c", "pass"]
    prompts, starts, floor, context = Series(), Series(), [], 0
    used = own = 0.0
    for number, (family, item) in enumerate(items):
        # A session is not shown the same twice, and the families ask for the same memories.
        session = f"warm-{family}-{number // (3 * PROMPTS_A_SESSION)}"
        if number % (3 * PROMPTS_A_SESSION) < 3:
            starts.add(*hooks.run("SessionStart", session, source="startup"), "SessionStart")
        before, mine = cpu_ms(server.pid), children_ms()
        elapsed_ms, printed = hooks.run("UserPromptSubmit", session, prompt=item.query)
        if number >= WARM_UP:
            used += cpu_ms(server.pid) - before
            own += children_ms() - mine
            prompts.add(elapsed_ms, printed, "UserPromptSubmit", ids[item.sha])
            context += ids[item.sha] in server.call("context", prompt=item.query)
            floor.append(timed(nothing, clean_environment(), Path("/"), b"")[0])
    return {
        "prompts": prompts, "starts": starts, "floor": floor, "context": context, "cpu": used / len(prompts.ms),
        "own": own / len(prompts.ms),
    }  # fmt: skip


def cold(hooks: Hooks, items: Sequence[KnownItem]) -> dict[str, Series]:
    """The same without a server."""
    prompts, starts = Series(), Series()
    for number, item in enumerate(items):
        prompts.add(*hooks.run("UserPromptSubmit", f"cold-{number}", prompt=item.query), "UserPromptSubmit")
    for number in range(STARTS):
        starts.add(*hooks.run("SessionStart", f"start-{number}", source="startup"), "SessionStart")
    return {"prompts": prompts, "starts": starts}


def measure(place: Path, given: Any) -> tuple[list[Figure], dict[str, object]]:
    """Everything at one size."""
    home, folder = place / "home", place / "project"
    folder.mkdir()
    records = texts_of(given.repo, given.size)
    made = asyncio.run(fill(home, folder, records))
    ids = {record.sha: memory_id for record, memory_id in zip(records, made, strict=True)}
    families = known_items(records, max(1, (given.prompts + WARM_UP) // 3 + 1))
    rows = zip(*([(name, item) for item in found] for name, found in families.items()), strict=False)
    items = [pair for row in rows for pair in row][: given.prompts + WARM_UP]
    command = client(given.client)
    hooks = Hooks(command, home, folder)
    environment = clean_environment(RETAIN_HOME=str(home), CLAUDE_PROJECT_DIR=str(folder))
    with Server([launcher(), "serve"], folder, environment) as server:
        server.greet()
        server.call("status")
        _until_it_listens(home)
        live = warm(server, hooks, items, ids)
    left = [path.name for path in (home / RUN).iterdir() if path.name == HOOK_SOCKET]
    found = {"live": live, "cold": cold(hooks, [item for _, item in items[: STARTS * 2]]), "left": len(left)}
    name = Path(command[0]).name + "".join(f" {word}" for word in command[1:])
    return figures_of(len(records), name, found), {"client": name, "ms": _times(found)}


def _until_it_listens(home: Path) -> None:
    deadline = time.monotonic() + LISTENING_S
    while not (home / RUN / HOOK_SOCKET).exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not listen")
        time.sleep(0.01)


def _times(found: Mapping[str, Any]) -> dict[str, object]:
    live, without = found["live"], found["cold"]
    return {
        "prompt": summary(live["prompts"].ms), "start": summary(live["starts"].ms), "nothing": summary(live["floor"]),
        "prompt, no server": summary(without["prompts"].ms), "start, no server": summary(without["starts"].ms),
    }  # fmt: skip


def figures_of(size: int, name: str, found: Mapping[str, Any]) -> list[Figure]:
    live, without = found["live"], found["cold"]
    prompts: Series = live["prompts"]
    times, floor, started = summary(prompts.ms), summary(live["floor"]), summary(live["starts"].ms)
    alone, begun = summary(without["prompts"].ms), summary(without["starts"].ms)
    at = f"{name}, {size:,} memories"
    series = (prompts, live["starts"], without["prompts"], without["starts"])
    return [
        against(f"{at}: prompt p50", times.median, "ms", "bare python", floor.median),
        at_most(f"{at}: prompt p95", times.p95, "ms", WARM_P95_MS_MAX, beside=f"bare python {floor.p95:.3g}"),
        at_most(f"{at}: prompt, longest", times.most, "ms", WARM_MS_MAX, beside=f"bare python {floor.most:.3g}"),
        Figure(what=f"{at}: prompt, CPU of the process", ours=live["own"], unit="ms"),
        Figure(what=f"{at}: prompt, CPU of the server, capture included", ours=live["cpu"], unit="ms"),
        Figure(what=f"{at}: prompt answered with the memory that was meant", ours=prompts.held,
               unit=f"of {len(prompts.ms)}", beside=f"context {live['context']}"),
        Figure(what=f"{at}: prompt answered at all", ours=prompts.said, unit=f"of {len(prompts.ms)}"),
        at_most(f"{at}: start p95", started.p95, "ms", START_MS_MAX),
        at_most(f"{at}: prompt without a server p95", alone.p95, "ms", COLD_P95_MS_MAX),
        at_most(f"{at}: start without a server p95", begun.p95, "ms", START_MS_MAX),
        at_most(f"{at}: sockets left behind", found["left"], "files", 0),
        right_answers(f"{at}: form", sum(one.formed for one in series), sum(len(one.ms) for one in series)),
    ]  # fmt: skip


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path, help="a git history for the texts; without it they are made up")
    parser.add_argument("--size", type=int, default=10_000, help="memories")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--client", help="the executable of a hook")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-prompt-") as place:
        figures, details = measure(Path(place), given)
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
