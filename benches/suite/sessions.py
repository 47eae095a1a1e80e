"""Transcripts that look like those of a client, the same at every run: what a backfill has to read.

The mix of lines follows what fills real transcripts: files that were read stand twice in them (as the model saw
them and as the tool returned them), edits carry the whole file from before, outputs of commands are long.
"""

from __future__ import annotations

import argparse
import json as json_module
import random
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from suite.texts import notes

CODE = tuple(
    Path(str(module.__file__)).read_text(encoding="utf-8").splitlines()
    for module in (argparse, json_module, random, textwrap)
)
START = datetime(2026, 10, 1, 9, tzinfo=UTC)
TOOLS = ("Read",) * 7 + ("Bash",) * 6 + ("Edit",) * 3 + ("Grep",) * 2 + ("Write", "TodoWrite")
SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"
"""Made up, in the shape of a token; every session prints it once."""


@dataclass(slots=True)
class Written:
    """What a corpus holds, counted while it is written."""

    files: int = 0
    bytes: int = 0
    lines: int = 0
    prompts: int = 0
    secrets: int = 0
    questions: list[str] = field(default_factory=list)


def write_sessions(directory: Path, megabytes: float, folder: str, seed: int = 1) -> Written:
    """Writes sessions of a megabyte or so until there are that many; returns what they hold."""
    written = Written()
    directory.mkdir(parents=True, exist_ok=True)
    while written.bytes < megabytes * 1e6:
        session = _Session(written.files + seed * 10_000, folder, written)
        data = b"".join(orjson.dumps(line) + b"\n" for line in session.lines(20))
        (directory / f"{session.id}.jsonl").write_bytes(data)
        written.files += 1
        written.bytes += len(data)
    return written


class _Session:
    def __init__(self, number: int, folder: str, written: Written) -> None:
        self._rng = random.Random(number)
        self._notes = notes(400, seed=number)
        self._written = written
        self._folder = folder
        self._at = START + timedelta(hours=number)
        self._parent: str | None = None
        self._told: set[str] = set()
        self.id = self._uuid()

    def lines(self, turns: int) -> Iterator[dict[str, Any]]:
        yield {"type": "permission-mode", "permissionMode": "default", "sessionId": self.id}
        for turn in range(turns):
            yield from self._turn(turn)

    def _turn(self, turn: int) -> Iterator[dict[str, Any]]:
        note = self._notes[turn]
        self._written.prompts += 1
        self._written.questions.append(note.name)
        yield self._line("user", note.text)
        yield {
            "type": "file-history-snapshot",
            "messageId": self._uuid(),
            "snapshot": {"trackedFileBackups": {}},
        }
        for step in range(self._rng.randint(4, 14)):
            about = self._notes[20 + (turn * 17 + step) % 380]
            signature = "".join(self._rng.choices("ABCDEFabcdef0123456789+/", k=600))
            yield self._line(
                "assistant", [{"type": "thinking", "thinking": about.text, "signature": signature}]
            )
            if self._rng.random() < 0.4:
                yield self._line("assistant", [{"type": "text", "text": about.text}])
            yield from self._call(turn, step)
        yield self._line("assistant", [{"type": "text", "text": f"Done: {self._notes[-1 - turn].text}"}])

    def _call(self, turn: int, step: int) -> Iterator[dict[str, Any]]:
        tool = self._rng.choice(TOOLS)
        asked, said, response, is_error = getattr(self, f"_{tool.lower()}")(turn, step)
        call = f"toolu_{self._rng.getrandbits(96):024x}"
        yield self._line("assistant", [{"type": "tool_use", "id": call, "name": tool, "input": asked}])
        result = {"tool_use_id": call, "type": "tool_result", "content": said}
        if is_error:
            result["is_error"] = True
        yield self._line("user", [result], toolUseResult=response)

    def _code(self, least: int, most: int) -> str:
        lines = self._rng.choice(CODE)
        start = self._rng.randrange(len(lines) - 20)
        return "\n".join(lines[start : start + self._rng.randint(least, most)])

    def _path(self) -> str:
        return f"{self._folder}/src/part_{self._rng.randrange(60)}.py"

    def _read(self, _turn: int, _step: int) -> Any:
        text, path = self._code(60, 400), self._path()
        shown = "\n".join(f"{number:6}\t{line}" for number, line in enumerate(text.split("\n"), 1))
        file = {"filePath": path, "content": text, "numLines": text.count("\n"), "startLine": 1}
        return {"file_path": path}, shown, {"type": "text", "file": file}, False

    def _bash(self, turn: int, step: int) -> Any:
        command = f"pytest tests/test_{turn}.py -k case_{step % 5}"
        if turn == 3 and "secret" not in self._told:
            self._told.add("secret")
            self._written.secrets += 1
            return self._ran("make deploy", f"GITHUB_TOKEN={SECRET}\n")
        if self._rng.random() < 0.15:
            said = f"Exit code 1\n{self._code(5, 40)}\nE   ValueError: part {step} of {turn}\n1 failed"
            return {"command": command}, said, f"Error: {said}", True
        return self._ran(command, self._code(3, 120) + f"\n{step + 1} passed in 0.{turn}s")

    def _ran(self, command: str, output: str) -> Any:
        response = {"stdout": output, "stderr": "", "interrupted": False, "isImage": False}
        return {"command": command, "description": "Run it"}, output, response, False

    def _edit(self, turn: int, step: int) -> Any:
        path, before = self._path(), self._code(100, 500)
        old = "\n".join(before.split("\n")[10:16])
        new = f"{old}\n    guard_{turn}_{step} = True"
        patch = [{"oldStart": 11, "oldLines": 6, "newStart": 11, "newLines": 7,
                  "lines": [*(f" {line}" for line in old.split("\n")), f"+{new[len(old) + 1:]}"]}]  # fmt: skip
        asked = {"file_path": path, "old_string": old, "new_string": new, "replace_all": False}
        response = {"filePath": path, "oldString": old, "newString": new, "originalFile": before,
                    "structuredPatch": patch, "userModified": False, "replaceAll": False}  # fmt: skip
        return asked, f"The file {path} has been updated.\n{new}", response, False

    def _write(self, turn: int, step: int) -> Any:
        path, text = f"{self._folder}/src/new_{turn}_{step}.py", self._code(20, 150)
        response = {"type": "create", "filePath": path, "content": text, "structuredPatch": []}
        return {"file_path": path, "content": text}, f"File created successfully at: {path}", response, False

    def _grep(self, turn: int, _step: int) -> Any:
        lines = [f"{self._path()}:{n}:{line}" for n, line in enumerate(self._code(5, 40).split("\n"))]
        said = "\n".join(lines)
        response = {"mode": "content", "content": said, "numLines": len(lines), "filenames": []}
        return {"pattern": f"def part_{turn}", "path": self._folder}, said, response, False

    def _todowrite(self, turn: int, step: int) -> Any:
        todos = [{"content": self._notes[(turn + i) % 400].text[:60], "status": "pending"} for i in range(4)]
        todos[step % 4]["status"] = "completed"
        return {"todos": todos}, "Todos have been modified.", {"oldTodos": [], "newTodos": todos}, False

    def _line(self, role: str, content: Any, **fields: Any) -> dict[str, Any]:
        self._written.lines += 1
        self._at += timedelta(seconds=self._rng.randint(2, 40))
        uuid = self._uuid()
        message: dict[str, Any] = {"role": role, "content": content}
        if role == "assistant":
            usage = {"input_tokens": 73, "cache_read_input_tokens": 19719, "output_tokens": 624}
            message |= {"id": f"msg_{uuid[:24]}", "type": "message", "model": "claude", "usage": usage}
        line = {
            "parentUuid": self._parent, "isSidechain": False, "userType": "external", "cwd": self._folder,
            "sessionId": self.id, "version": "2.1.330", "gitBranch": "main", "type": role, "message": message,
            "uuid": uuid, "timestamp": self._at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **fields,
        }  # fmt: skip
        self._parent = uuid
        return line

    def _uuid(self) -> str:
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
