"""Questions to a model behind an address: no answer waits longer than it may, and what comes late is kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.errors import EmbeddingFailed
from retain.memory import questions as module
from retain.memory.embedding import Embedding
from retain.memory.embedding_cache import EmbeddingCache
from retain.memory.questions import Questions
from retain.memory.service import MemoryService
from retain.retrieval.models import open_model
from retain.retrieval.space import MODEL, Passage
from retain.storage.spaces import SpaceRow

pytestmark = pytest.mark.anyio

DIM = 16
TOPICS = ("lease acquire pool", "porter stem token", "schema migrate table")


class Endpoint:
    """A server on this machine that answers at once, or only when it is let go; it can also refuse."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.refuses = False
        self.dim = DIM
        self.asked: list[str] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked += body["input"]
                endpoint.go.wait(30)
                rows = [{"index": n, "embedding": endpoint.vector(t)} for n, t in enumerate(body["input"])]
                self.send_response(503 if endpoint.refuses else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"data": rows}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1/embeddings#m"

    def vector(self, text: str) -> list[float]:
        """A direction for each topic: any of its words gives it."""
        of_topic = [float(any(word in text for word in topic.split())) for topic in TOPICS]
        noise = [byte / 2_550 for byte in hashlib.blake2b(text.encode(), digest_size=16).digest()]
        return [*of_topic, *noise][: self.dim]

    def close(self) -> None:
        self.go.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()
    yield found
    found.close()


@asynccontextmanager
async def opened(
    home: Path, folder: Path, endpoint: Endpoint, wait_ms: int = 20_000, **more: Any
) -> AsyncIterator[MemoryService]:
    settings = {"embedding_url": endpoint.url, "embedding_wait_ms": wait_ms, "recall_confidence": 0, **more}
    async with retain.open(home, folder=folder, **settings) as memory:
        yield memory


async def fill(memory: MemoryService) -> None:
    """Memories of three topics, each in the space of the model."""
    await memory.remember_many(
        [{"text": f"{TOPICS[n % 3].split()[n % 2]} in note {n}"} for n in range(30)],
    )
    background = Embedding(memory.settings, memory._store, lambda: open_model(memory.settings))
    assert await background.run() == 30
    await background.close()


def questions_of(memory: MemoryService) -> Questions:
    return memory._semantics.serving.questions


def left_out(recall: retain.Recall) -> dict[str, str]:
    found: dict[str, str] = recall.plan["truth"].get("meaning", {}).get("left_out", {})
    return found


async def test_an_answer_does_not_wait_for_a_slow_endpoint_and_the_next_one_uses_what_arrived(
    home: Path, folder: Path, endpoint: Endpoint
) -> None:
    async with opened(home, folder, endpoint) as memory:
        await fill(memory)
    async with opened(home, folder, endpoint, wait_ms=1) as memory:
        endpoint.go.clear()
        endpoint.asked.clear()
        for _ in range(2):  # such an answer is not cached, and the question is put once
            first = await memory.recall("pool")
            assert first.plan["name"] != "cached"
            assert left_out(first) == {"m@127.0.0.1": "m@127.0.0.1 gave no vector within 1 ms"}
            assert first.hits == (), "no memory has the word"
        assert questions_of(memory).late == 2
        endpoint.go.set()
        await questions_of(memory).settled()
        later = await memory.recall("pool")
        assert left_out(later) == {}
        texts = [hit.memory.text for hit in later.hits]
        assert texts
        assert all(text.startswith(("lease", "acquire")) for text in texts)
        assert (await memory.recall("pool")).plan["name"] == "cached"
        assert endpoint.asked == ["pool"]


async def test_an_endpoint_that_fails_leaves_the_words_and_is_left_alone_for_a_while(
    home: Path, folder: Path, endpoint: Endpoint
) -> None:
    async with opened(home, folder, endpoint) as memory:
        await fill(memory)
        endpoint.refuses = True
        endpoint.asked.clear()
        for n in range(6):
            found = await memory.recall(f"lease {n}")
            assert found.hits, "the words still answer"
            assert list(left_out(found)) == ["m@127.0.0.1"]
        assert len(endpoint.asked) == 3, "after three failures in a row nobody asks"
        stats = (await memory.stats())["process"]["vectors"]["questions"]
        assert (stats["failed"], stats["late"]) == (6, 0)


async def test_a_vector_of_another_length_is_not_searched_for(
    home: Path, folder: Path, endpoint: Endpoint
) -> None:
    async with opened(home, folder, endpoint) as memory:
        await fill(memory)
        endpoint.dim = 12
        found = await memory.recall("lease")
        assert found.hits
        assert left_out(found) == {"m@127.0.0.1": "m@127.0.0.1 gave 12 numbers, its space has 16"}


async def test_explain_shows_what_was_left_out(home: Path, folder: Path, endpoint: Endpoint) -> None:
    async with opened(home, folder, endpoint) as memory:
        await fill(memory)
        whole = (await memory.explain("pool"))["plan"]["truth"]["meaning"]
        assert [search["space"] for search in whole["searches"]] == ["m@127.0.0.1"]
    async with opened(home, folder, endpoint, wait_ms=1) as memory:
        endpoint.go.clear()
        told = (await memory.explain("pool"))["plan"]["truth"]["meaning"]
        assert (told["searches"], list(told["left_out"])) == ([], ["m@127.0.0.1"])
        endpoint.go.set()


async def test_a_question_that_was_asked_before_costs_no_call_in_the_next_process(
    home: Path, folder: Path, endpoint: Endpoint
) -> None:
    disk = {"cache_disk_bytes_max": 1 << 20}
    async with opened(home, folder, endpoint, **disk) as memory:
        await fill(memory)
        before = [hit.memory.id for hit in (await memory.recall("pool")).hits]
    endpoint.asked.clear()
    async with opened(home, folder, endpoint, **disk) as memory:
        await memory.remember("something else")  # so that the answer itself is not in the cache
        after = await memory.recall("pool")
        assert [hit.memory.id for hit in after.hits] == before
        cache = (await memory.stats())["process"]["vectors"]["questions"]["cache"]
        assert cache["l3"]["hits"] == 1
    assert endpoint.asked == []


class Model:
    """A model of this process that counts what it is asked."""

    name, dim = "counting", DIM

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, passages: list[Passage]) -> list[bytes]:
        self.asked += [passage.as_text() for passage in passages]
        return [hashlib.blake2b(each.as_text().encode(), digest_size=DIM).digest() for each in passages]

    def embed_query(self, text: str) -> bytes:
        return self.embed_documents([Passage(title="", text=text)])[0]


async def test_texts_are_embedded_once_a_model_and_kept_apart_from_questions() -> None:
    model, cache = Model(), EmbeddingCache()
    passages = [Passage(title="", text=text) for text in ("a", "b", "a")]
    first = await cache.documents(model, passages)
    assert await cache.documents(model, passages) == first
    assert first[0] == first[2] != first[1]
    assert model.asked == ["a", "b"]
    asks = Questions(lambda: model, cache)
    await asks.prepare("a")
    assert asks.embed_query("a") == first[0]
    assert model.asked == ["a", "b", "a"]
    model.name = "another"
    await cache.documents(model, passages[:1])
    assert model.asked[3:] == ["a"]
    cache.unload()
    assert cache.known("counting", "a") is None


async def test_a_model_of_this_process_answers_a_question_that_nobody_prepared() -> None:
    model = Model()
    asks = Questions(lambda: model, EmbeddingCache())
    assert asks.embed_query("late") == asks.embed_query("late")
    assert model.asked == ["late"]


async def test_without_a_model_nothing_is_asked_or_opened() -> None:
    def refuse() -> None:
        raise AssertionError("opened")

    asks = Questions(refuse, EmbeddingCache(), expected=False)
    await asks.prepare("anything")
    assert not asks.serve(None)


async def test_a_space_of_another_model_is_not_asked_in() -> None:
    asks = Questions(Model, EmbeddingCache())
    space = {"key": 1, "kind": MODEL, "dim": DIM, "state": "serving", "fitted_rows": 0}
    assert asks.serve(SpaceRow(name="counting", **space))
    assert not asks.serve(SpaceRow(name="older", **space))


async def test_too_many_questions_at_once_are_not_put(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_MAX", 1)
    go = threading.Event()

    class Slow(Model):
        def embed_query(self, text: str) -> bytes:
            go.wait(30)
            return super().embed_query(text)

    model = Slow()
    asks = Questions(lambda: model, EmbeddingCache(), wait_s=0.001)
    assert asks.serve(SpaceRow(key=1, name="counting", kind=MODEL, dim=DIM, state="serving", fitted_rows=0))
    await asks.prepare("one")
    await asks.prepare("two")
    go.set()
    await asks.settled()
    assert model.asked == ["one"]
    assert asks.failed == 1
    with pytest.raises(EmbeddingFailed, match="within 1 ms"):
        asks.embed_query("two")
