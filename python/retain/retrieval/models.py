"""Embedders with a model: an ONNX file in the data directory, or an endpoint that the settings name.

Neither is part of the base install, and none is used unless the user installed or configured it. numpy comes
with onnxruntime; the endpoint needs the standard library only.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from retain.config import Settings
from retain.errors import EmbeddingFailed
from retain.retrieval.space import Embedder, Passage

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
FILES = (MODEL_FILE, TOKENIZER_FILE)

PINNED = {
    "6b5d2f0e76d08a8e508e4d3f510332cfcacab4396acfed431ea1dbd4c4696964": "all-minilm-l6-v2-int8",
    "0071500a7e3c90424727656590e8816bd2c69c5b8b33d121d2e41910cf8ff965": "all-minilm-l6-v2",
}
"""sha256 of the files that ``tools/convert_minilm.py`` makes."""

TOKENS_MAX = 256
BATCH = 16
"""Texts of one run of the model, of similar length: padding costs as much as text."""

ENDPOINT_TIMEOUT_S = 10.0
ENDPOINT_BYTES_MAX = 64 * 1024 * 1024
PROBE = "a"

DIM_STEP, DIM_MAX = 16, 4_096
"""What the matrix takes: whole registers."""


def model_folder(settings: Settings) -> Path:
    """Where the installed model lies."""
    return settings.home / "model"


def open_model(settings: Settings) -> Embedder | None:
    """The embedder that the user chose: the endpoint of the settings, else the installed model, else None.

    Raises:
        EmbeddingFailed: it is there and does not work.
    """
    if settings.embedding_url:
        return EndpointEmbedder(settings.embedding_url)
    if has_model(settings):
        return OnnxEmbedder(model_folder(settings))
    return None


def has_model(settings: Settings) -> bool:
    """Whether ``open_model`` would give one, as far as can be told without opening it."""
    return bool(settings.embedding_url) or (model_folder(settings) / MODEL_FILE).exists()


def wait_of(settings: Settings) -> float | None:
    """Seconds that an answer may wait for the model; None where it is one of this process, which always answers."""
    return settings.embedding_wait_ms / 1000 if settings.embedding_url else None


def digest_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OnnxEmbedder:
    """A sentence encoder on onnxruntime, one thread, one call at a time.

    Args:
        folder: holds ``model.onnx`` (inputs input_ids and attention_mask, maybe token_type_ids; gives a vector
            a text, or one a token, whose mean is taken) and ``tokenizer.json``.

    Raises:
        EmbeddingFailed: the extra is not installed, or a file cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EmbeddingFailed(f"no {error.name}", hint="pip install 'retain[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            data = (folder / MODEL_FILE).read_bytes()
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            digest = hashlib.sha256(data).hexdigest()
            if digest in PINNED:  # written with nothing left to fuse: fused int8 products take longer
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self._inputs = {each.name for each in self._session.get_inputs()}
            self.name = f"{PINNED.get(digest, 'onnx')}-{digest[:12]}"
            tokenizer.no_padding()
            tokenizer.enable_truncation(TOKENS_MAX)
            self._tokenizer = tokenizer
            self._lock = threading.Lock()
            self.dim = len(self.embed_query(PROBE))
        except EmbeddingFailed:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise bare Exceptions of their own
            raise EmbeddingFailed(f"{folder} holds no usable model: {error}") from error

    def embed_documents(self, passages: Sequence[Passage]) -> list[bytes]:
        """A vector for each memory."""
        return self._embed([passage.as_text() for passage in passages])

    def embed_query(self, text: str) -> bytes:
        """The vector of a question."""
        return self._embed([text])[0]

    def _embed(self, texts: Sequence[str]) -> list[bytes]:
        tokens = [self._tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(texts)), key=lambda at: len(tokens[at]))
        found: list[bytes] = [b""] * len(texts)
        with self._lock:
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                for at, vector in zip(chosen, self._run([tokens[at] for at in chosen]), strict=True):
                    found[at] = vector
        return found

    def _run(self, batch: Sequence[Sequence[int]]) -> list[bytes]:
        import numpy as np

        longest = max(len(ids) for ids in batch)
        ids = np.zeros((len(batch), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            out = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        except Exception as error:  # of onnxruntime's own making
            raise EmbeddingFailed(f"the model failed: {error}") from error
        if out.ndim == 3:
            out = (out * mask[:, :, None]).sum(axis=1)
        scale = 127 / np.maximum(np.abs(out).max(axis=1, keepdims=True), 1e-12)
        return [row.tobytes() for row in np.rint(out * scale).astype(np.int8)]


class EndpointEmbedder:
    """An endpoint that speaks OpenAI's embeddings protocol. Texts leave this machine: it is off unless named.

    Args:
        url: ``https://:KEY@host/v1/embeddings#MODEL``; the key is sent as a bearer token, redirects are refused.
        timeout_s: longest wait for an answer.
    """

    def __init__(self, url: str, timeout_s: float = ENDPOINT_TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._target = (parts.path or "/v1/embeddings") + (f"?{parts.query}" if parts.query else "")
        self._secure = parts.scheme == "https"
        self._key = unquote(parts.password or "")
        self._model = unquote(parts.fragment)
        self._timeout_s = timeout_s
        self.name = f"{self._model}@{self._host}"
        self._dim = 0

    @property
    def dim(self) -> int:
        """Numbers in a vector, asked for once.

        Raises:
            EmbeddingFailed: it cannot be reached, does not speak the protocol, or gives vectors of another kind.
        """
        if not self._dim:
            found = len(self._embed([PROBE])[0])
            if found % DIM_STEP or found > DIM_MAX:
                raise EmbeddingFailed(
                    f"{self._model} at {self._host} gives {found} numbers a text; "
                    f"they must be a multiple of {DIM_STEP}, {DIM_MAX} at most"
                )
            self._dim = found
        return self._dim

    def embed_documents(self, passages: Sequence[Passage]) -> list[bytes]:
        """A vector for each memory."""
        return self._embed([passage.as_text() for passage in passages])

    def embed_query(self, text: str) -> bytes:
        """The vector of a question."""
        return self._embed([text])[0]

    def _embed(self, texts: Sequence[str]) -> list[bytes]:
        try:
            answer = orjson.loads(self._post(orjson.dumps({"model": self._model, "input": list(texts)})))
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = [_quantised(row["embedding"]) for row in rows]
        except (OSError, http.client.HTTPException) as error:
            raise EmbeddingFailed(f"{self._host} cannot be reached: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise EmbeddingFailed(f"{self._host} gave no embeddings: {error!r}") from error
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            raise EmbeddingFailed(f"{self._host} gave {len(vectors)} embeddings for {len(texts)} texts")
        return vectors

    def _post(self, body: bytes) -> bytes:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request("POST", self._target, body, headers)
            with connection.getresponse() as response:
                data = response.read(ENDPOINT_BYTES_MAX + 1)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise EmbeddingFailed(f"{self._host} answered {response.status} {response.reason}")
        if len(data) > ENDPOINT_BYTES_MAX:
            raise EmbeddingFailed(f"{self._host} answered more than {ENDPOINT_BYTES_MAX} bytes")
        return data


def _quantised(values: Iterable[Any]) -> bytes:
    """The direction of a vector in signed bytes, the largest one 127."""
    numbers = [float(value) for value in values]
    largest = max((abs(number) for number in numbers), default=0.0) or 1.0
    return bytes(round(number / largest * 127) & 0xFF for number in numbers)
