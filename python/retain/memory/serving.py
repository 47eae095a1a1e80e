"""The spaces that serve: who makes a question's vector in each, and a new memory's in its own transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import apsw

from retain.memory.questions import Questions
from retain.retrieval.space import CORPUS, MODEL, CorpusEmbedder, Passage
from retain.retrieval.vectors import floats, row_of
from retain.storage import spaces
from retain.storage.reads import Reader
from retain.storage.spaces import SpaceRow
from retain.storage.vectors import put_vectors
from retain.storage.writes import Added

logger = logging.getLogger(__name__)

EMBEDDED_AT_ONCE_MAX = 256
"""More new memories of one transaction are left to the background: some 50 us each, while no other write runs."""


class Asks(Protocol):
    """Makes the vector of a question."""

    def embed_query(self, text: str) -> bytes:
        """The vector of a question; zeros where nothing of it is known.

        Raises:
            EmbeddingFailed: it cannot be had now.
        """


class Serving:
    """One for all readers of a process.

    Args:
        questions: asks the model that is installed or configured.
        enabled: False as if no space ever served.
    """

    def __init__(self, questions: Questions, *, enabled: bool = True) -> None:
        self.questions = questions
        self._enabled = enabled
        self._corpus: tuple[int, CorpusEmbedder] | None = None

    def at(self, reader: Reader) -> list[tuple[SpaceRow, Asks]]:
        """Each space that serves in this snapshot, and what makes a question's vector in it."""
        found: list[tuple[SpaceRow, Asks]] = []
        if not self._enabled:
            return found
        corpus = _serves(reader, CORPUS)
        if corpus and (embedder := self._loaded(reader, corpus)):
            found.append((corpus, embedder.on(reader.tokens)))
        model = _serves(reader, MODEL)
        if self.questions.serve(model):
            assert model is not None
            found.append((model, self.questions))
        return found

    def prepare(self, reader: Reader) -> None:
        """Loads what ``add`` needs, so that no transaction has to wait for that."""
        corpus = _serves(reader, CORPUS) if self._enabled else None
        if corpus:
            self._loaded(reader, corpus)

    def add(self, db: apsw.Connection, added: Sequence[Added]) -> None:
        """Gives new memories vectors in the fitted space, in the transaction that stores them.

        Where the space that serves was not prepared, or there are too many, the background does it later; so
        it does for a model, which takes too long to be waited for.

        Args:
            db: a connection inside a transaction.
            added: what was stored; duplicates have their vectors.
        """
        keys = [one.key for one in added if one.created]
        if self._corpus is None or not 0 < len(keys) <= EMBEDDED_AT_ONCE_MAX:
            return
        space, embedder = self._corpus
        serving = spaces.space_in(db, CORPUS, "serving")
        if serving is None or serving.key != space:
            return
        reader = Reader(db)
        found = passages_of(reader, keys)
        made = embedder.on(reader.tokens).embed_documents(list(found.values()))
        rows = [(key, row_of(floats(vector))) for key, vector in zip(found, made, strict=True)]
        put_vectors(db, space, rows)

    def unload(self) -> None:
        """Gives up what is held in RAM; the next question loads it again."""
        self._corpus = None
        self.questions.unload()

    def _loaded(self, reader: Reader, space: SpaceRow) -> CorpusEmbedder | None:
        held = self._corpus
        if held is not None and held[0] == space.key:
            return held[1]
        try:
            embedder = kept(reader, space.key)
        except ValueError as error:
            logger.warning("embedding.not_loaded space=%s error=%s", space.name, error)
            return None
        if embedder.name != space.name:
            return None
        self._corpus = (space.key, embedder)
        return embedder


def _serves(reader: Reader, kind: str) -> SpaceRow | None:
    return reader.kept(("serving", kind), partial(spaces.space_in, reader.connection, kind, "serving"))


def kept(reader: Reader, space: int) -> CorpusEmbedder:
    """The embedder of a fitted space as it was kept.

    Raises:
        ValueError: it is damaged or of another format.
    """
    return CorpusEmbedder.from_bytes(spaces.model_of(reader.connection, space), reader.tokens)


def passages_of(reader: Reader, keys: Sequence[int]) -> dict[int, Passage]:
    """What is embedded of memories; those whose text is damaged are left out, `retain verify` tells of them."""
    return {key: Passage.of(memory) for key, memory in reader.load(keys).items()}
