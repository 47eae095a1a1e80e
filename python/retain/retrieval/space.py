"""Embedders: what turns a memory or a question into a vector, and the one that needs no model.

A vector is ``dim`` signed bytes of which only the direction counts. Vectors of two embedders never meet:
each has a name, and the store keeps one space a name.

``CorpusEmbedder`` works in a space fitted to the user's own memories (``retain._core.Space``): terms that stand
in the same memories point the same way. Its terms are the stems of the full-text index, and beside them each
path and each symbol as a whole, so that words come to point at the files in which they were at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from retain._core import Space, SpaceCorpus
from retain.model import Memory
from retain.retrieval.lexical import STOP_WORDS, words_of
from retain.storage.text import indexed

Tokens = Callable[[str], Sequence[str]]
"""The stems of a text, as the index makes them: ``Reader.tokens``."""

CORPUS = "corpus"
MODEL = "model"

NAME = "corpus-1"
"""Changes with how terms are made of a memory; a space of another name is fitted anew."""

SEED = 1

TEXTS_MAX = 20_000
"""Most memories that a fit looks at; more of them make it slower and not better."""

TEXT_CHARS_MAX = 20_000
"""What a memory says first is what it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What of a memory is embedded."""

    title: str
    text: str
    paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    @classmethod
    def of(cls, memory: Memory) -> Passage:
        """What of this memory is embedded."""
        text = memory.text[:TEXT_CHARS_MAX]
        return cls(title=memory.title, text=text, paths=memory.paths, symbols=memory.symbols)

    def as_text(self) -> str:
        """One text for models, which read prose: the title, the text unless it begins so, paths, symbols."""
        title = "" if self.text.startswith(self.title) else self.title
        parts = (title, self.text, " ".join(self.paths), " ".join(self.symbols))
        return "\n".join(part for part in parts if part)


class Embedder(Protocol):
    """Makes vectors. Calls may take long and hold no lock: make them on a thread."""

    @property
    def name(self) -> str:
        """Model and version: equal names make vectors that can be compared."""

    @property
    def dim(self) -> int:
        """Numbers, and so bytes, in a vector."""

    def embed_documents(self, passages: Sequence[Passage]) -> list[bytes]:
        """A vector for each memory, in their order.

        Raises:
            EmbeddingFailed: the model cannot be reached or does not work.
        """

    def embed_query(self, text: str) -> bytes:
        """The vector of a question; zeros where nothing of it is known.

        Raises:
            EmbeddingFailed: the model cannot be reached or does not work.
        """


class CorpusEmbedder:
    """Embeds in a space that was fitted to the memories.

    Args:
        space: the fitted space.
        terms: makes the terms of a text.
    """

    name = NAME

    def __init__(self, space: Space, terms: Terms) -> None:
        self._space = space
        self._terms = terms

    @classmethod
    def from_bytes(cls, data: bytes, tokens: Tokens) -> CorpusEmbedder:
        """The embedder whose ``to_bytes`` was kept.

        Raises:
            ValueError: the bytes are damaged or of another format.
        """
        return cls(Space.from_bytes(data), Terms(tokens))

    def on(self, tokens: Tokens) -> CorpusEmbedder:
        """The same embedder with the tokenizer of another connection, which one thread at a time may use."""
        return CorpusEmbedder(self._space, self._terms.on(tokens))

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self._space.dim

    @property
    def footprint_bytes(self) -> int:
        """Bytes of RAM that the space takes, about."""
        return self._space.footprint_bytes

    def embed_documents(self, passages: Sequence[Passage]) -> list[bytes]:
        """A vector for each memory: the sum of its terms."""
        return self._space.embed_many([self._terms.of_passage(passage) for passage in passages])

    def embed_query(self, text: str) -> bytes:
        """The vector of the words of a question; a tenth of a millisecond."""
        return self._space.embed(self._terms.of_query(text))

    def to_bytes(self) -> bytes:
        """What ``from_bytes`` makes the same embedder of."""
        return self._space.to_bytes()


class Fit:
    """Gathers memories, then fits a space to them. Fitting takes seconds, off the GIL: do it on a thread."""

    def __init__(self, tokens: Tokens) -> None:
        self._terms = Terms(tokens)
        self._corpus = SpaceCorpus()

    def __len__(self) -> int:
        return len(self._corpus)

    def add(self, passages: Iterable[Passage], tokens: Tokens) -> None:
        """Takes more memories; ``tokens`` of the connection at hand."""
        terms = self._terms.on(tokens)
        self._corpus.add([terms.of_passage(passage) for passage in passages])

    def embedder(self) -> CorpusEmbedder:
        """The fitted embedder; the same memories in the same order give the same one."""
        return CorpusEmbedder(self._corpus.fit(SEED), self._terms)


class Terms:
    """The terms of memories and questions.

    Args:
        tokens: stems of a text.
        empty: stems that carry no meaning; None asks ``tokens`` for those of the stop words.
    """

    def __init__(self, tokens: Tokens, empty: frozenset[str] | None = None) -> None:
        self._tokens = tokens
        self._empty = frozenset(tokens(" ".join(sorted(STOP_WORDS)))) if empty is None else empty

    def on(self, tokens: Tokens) -> Terms:
        """The same with another tokenizer."""
        return Terms(tokens, self._empty)

    def of_passage(self, passage: Passage) -> list[str]:
        """Stems of everything, then paths and symbols whole, marked so that they are no words."""
        fields = (passage.title, passage.text, " ".join(passage.paths), " ".join(passage.symbols))
        stems = self._tokens(indexed("\n".join(field for field in fields if field)))
        whole = [f"/{path}" for path in passage.paths] + [f"#{symbol}" for symbol in passage.symbols]
        return [stem for stem in stems if stem not in self._empty] + whole

    def of_query(self, text: str) -> list[str]:
        """Stems of the words that carry meaning."""
        return list(self._tokens(indexed(" ".join(words_of(text)))))
