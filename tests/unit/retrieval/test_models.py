"""Embedders with a model: a small ONNX file made here, and an endpoint on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from retain.config import Settings
from retain.errors import EmbeddingFailed
from retain.retrieval.models import (
    TOKENS_MAX,
    EndpointEmbedder,
    OnnxEmbedder,
    model_folder,
    open_model,
)
from retain.retrieval.space import Passage

WORDS = ("pool", "lease", "stem", "porter")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model that gives each word an axis of its own, one vector a token."""
    return write_model(tmp_path / "model")


def write_model(folder: Path, dim: int = 4) -> Path:
    onnx = pytest.importorskip("onnx")
    np = pytest.importorskip("numpy")
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("onnxruntime")
    table = np.vstack([np.zeros(dim), np.eye(4, dim)]).astype(np.float32)
    helper = onnx.helper
    names = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])],
        "words",
        [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["b", "t"]) for name in names],
        [helper.make_tensor_value_info("tokens", onnx.TensorProto.FLOAT, ["b", "t", dim])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    built.ir_version = 8
    folder.mkdir(parents=True)
    onnx.save(built, folder / "model.onnx")
    vocabulary = {"?": 0, **{word: at + 1 for at, word in enumerate(WORDS)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def signed(vector: bytes) -> list[int]:
    return memoryview(vector).cast("b").tolist()


def test_a_model_gives_a_vector_a_text_whatever_the_batch(folder: Path) -> None:
    model = OnnxEmbedder(folder)
    texts = ["pool", "lease lease pool", "stem " * (2 * TOKENS_MAX), "unheard of", ""] * 9
    together = model.embed_documents([Passage(title="", text=text) for text in texts])
    assert together == [model.embed_query(text) for text in texts]
    assert signed(together[0]) == [127, 0, 0, 0]
    assert signed(together[1]) == [64, 127, 0, 0]
    assert signed(together[3]) == signed(together[4]) == [0, 0, 0, 0]
    assert model.dim == 4
    assert model.name.startswith("onnx-")


@pytest.mark.parametrize("damage", ["missing", "no model", "no tokenizer"])
def test_a_folder_without_a_usable_model_is_refused_with_its_name(folder: Path, damage: str) -> None:
    if damage == "missing":
        (folder / "model.onnx").unlink()
    elif damage == "no model":
        (folder / "model.onnx").write_bytes(b"nothing")
    else:
        (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EmbeddingFailed, match="holds no usable model"):
        OnnxEmbedder(folder)


class Endpoint(BaseHTTPRequestHandler):
    """Answers with the length of each text, out of order; ``mode`` makes it misbehave."""

    mode = "fine"
    requests: ClassVar[list[tuple[str, str | None, dict[str, object]]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, self.headers["Authorization"], body))
        rows = [{"index": n, "embedding": [len(t), -len(t) / 2]} for n, t in enumerate(body["input"])]
        answers = {
            "fine": (200, json.dumps({"data": rows[::-1]})),
            "short": (200, json.dumps({"data": rows[1:]})),
            "strange": (200, json.dumps({"error": "no"})),
            "not json": (200, "<html>"),
            "refused": (401, "{}"),
            "redirect": (302, "{}"),
        }
        status, text = answers[self.mode]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[type[Endpoint], str]]:
    class Handler(Endpoint):
        requests: ClassVar[list[tuple[str, str | None, dict[str, object]]]] = []

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Handler, f"127.0.0.1:{http.server_port}/v1/embeddings"
    http.shutdown()
    thread.join()
    http.server_close()


def test_an_endpoint_is_asked_with_key_and_model_and_its_order_is_restored(
    server: tuple[type[Endpoint], str],
) -> None:
    handler, address = server
    model = EndpointEmbedder(f"http://:s%2Fcret@{address}#small-1")
    vectors = model.embed_documents([Passage(title="", text="a"), Passage(title="", text="abc")])
    assert [signed(vector) for vector in vectors] == [[127, -64], [127, -64]]
    assert model.name == "small-1@127.0.0.1"
    path, key, body = handler.requests[-1]
    assert (path, key) == ("/v1/embeddings", "Bearer s/cret")
    assert body == {"model": "small-1", "input": ["a", "abc"]}


@pytest.mark.parametrize("mode", ["short", "strange", "not json", "refused", "redirect"])
def test_an_endpoint_that_misbehaves_is_an_error_and_no_vector(
    server: tuple[type[Endpoint], str], mode: str
) -> None:
    handler, address = server
    model = EndpointEmbedder(f"http://{address}#m")
    handler.mode = mode
    with pytest.raises(EmbeddingFailed) as error:
        model.embed_documents([Passage(title="", text="a"), Passage(title="", text="b")])
    assert "127.0.0.1" in str(error.value)


def test_an_endpoint_that_is_away_is_an_error() -> None:
    model = EndpointEmbedder("http://127.0.0.1:1/v1/embeddings#m")
    assert model.name == "m@127.0.0.1"  # nobody is asked before there is something to ask
    with pytest.raises(EmbeddingFailed, match="cannot be reached"):
        model.embed_query("a")


def test_an_endpoint_whose_vectors_no_matrix_takes_is_refused_with_the_limit(
    server: tuple[type[Endpoint], str],
) -> None:
    with pytest.raises(EmbeddingFailed, match="gives 2 numbers a text; they must be a multiple of 16, 4096"):
        _ = EndpointEmbedder(f"http://{server[1]}#m").dim


def test_nothing_is_opened_unless_it_is_installed_or_named(
    home: Path, server: tuple[type[Endpoint], str]
) -> None:
    assert open_model(Settings(home=home)) is None
    write_model(model_folder(Settings(home=home)))
    installed = open_model(Settings(home=home))
    assert installed is not None
    assert installed.dim == 4
    named = open_model(Settings(home=home, embedding_url=f"http://{server[1]}#m"))
    assert named is not None
    assert named.name == "m@127.0.0.1"
