"""A model for a real client, on loopback: it says what a test has written down, turn by turn, over the Messages API.

The client believes that it talks to a model, so prompts, tools and hooks run as they do for a user. What the client
sent is kept: there a test reads what memory has added to the conversation.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Content = dict[str, Any]


def say(text: str) -> Content:
    """The end of a turn."""
    return {"type": "text", "text": text}


def use(tool: str, **given: object) -> Content:
    """A call of a tool by the model."""
    return {"type": "tool_use", "name": tool, "input": given}


class LoopbackModel:
    """Answers each request that offers tools with the next of ``turns``, and with the last one when they are out.

    Args:
        turns: what the model says or calls, one a request.
    """

    def __init__(self, turns: Sequence[Content]) -> None:
        self._turns = [{**turn, "id": f"toolu_{place}"} for place, turn in enumerate(turns)]
        self._answered = 0
        self._lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def conversation(self) -> str:
        """What the model had before it at the last request, as JSON."""
        return json.dumps(self.requests[-1].get("system", "")) + json.dumps(self.requests[-1]["messages"])

    def answer(self, asked: dict[str, Any]) -> Content:
        """What comes next; side questions of the client, which offer no tools, get a word."""
        if not asked.get("tools"):
            return say("ok")
        with self._lock:
            self.requests.append(asked)
            place = min(self._answered, len(self._turns) - 1)
            self._answered += 1
        return self._turns[place]


def _handler(model: LoopbackModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing: the tests' output is not a log."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
            if not self.path.startswith("/v1/messages") or "count_tokens" in self.path:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header(
                "content-type", "text/event-stream" if body.get("stream") else "application/json"
            )
            self.end_headers()
            message = _message(body, model.answer(body))
            self.wfile.write(_events(message) if body.get("stream") else json.dumps(message).encode())

    return Handler


def _message(asked: dict[str, Any], content: Content) -> dict[str, Any]:
    called = content["type"] == "tool_use"
    return {
        "id": "msg_loopback", "type": "message", "role": "assistant", "model": asked["model"], "content": [content],
        "stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def _events(message: dict[str, Any]) -> bytes:
    """The message as the events of a stream."""
    content = message["content"][0]
    if content["type"] == "text":
        begun, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": content["text"]}
    else:
        begun = {**content, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(content["input"])}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events: list[Content] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
