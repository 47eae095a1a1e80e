"""A space fitted to memories: what it puts together, what it keeps, what it refuses."""

from __future__ import annotations

import math
import random

import apsw
import pytest

from retain._core import Space, SpaceCorpus
from retain.retrieval.space import CorpusEmbedder, Fit, Passage, Tokens


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    tokenizer = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
    return lambda text: [
        str(stem)
        for stem in tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False
        )
    ]


TOPICS = (
    (("pool", "connection", "lease", "acquire", "waiter"), "src/pool.py"),
    (("tokenizer", "stem", "porter", "unicode", "folding"), "src/tokens.py"),
    (("migration", "schema", "column", "upgrade", "table"), "src/schema.sql"),
)


def passages(count: int = 240) -> list[Passage]:
    """Each says two words of one topic, never the same two of all its words, and names its file."""
    pick = random.Random(4)
    made = []
    for number in range(count):
        words, path = TOPICS[number % len(TOPICS)]
        title = " ".join(pick.sample(words, 2))
        made.append(Passage(title=title, text=f"noted {number}", paths=(path,)))
    return made


@pytest.fixture(scope="module")
def embedder(tokens: Tokens) -> CorpusEmbedder:
    fit = Fit(tokens)
    fit.add(passages(), tokens)
    return fit.embedder()


def cosine(one: bytes, other: bytes) -> float:
    a, b = memoryview(one).cast("b"), memoryview(other).cast("b")
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b) or 1)


def test_a_question_finds_the_topic_whose_words_it_does_not_repeat(embedder: CorpusEmbedder) -> None:
    query = embedder.embed_query("why do waiters starve?")
    same, other = embedder.embed_documents(
        [Passage(title="lease the connection", text=""), Passage(title="porter folding", text="")]
    )
    assert cosine(query, same) > cosine(query, other) + 0.3


def test_words_point_at_the_file_in_which_they_are_at_work(embedder: CorpusEmbedder) -> None:
    query = embedder.embed_query("upgrade")
    schema, pool = embedder.embed_documents(
        [Passage(title="", text="", paths=(path,)) for path in ("src/schema.sql", "src/pool.py")]
    )
    assert cosine(query, schema) > cosine(query, pool) + 0.3


def test_the_same_memories_give_the_same_bytes_and_they_come_back(
    embedder: CorpusEmbedder, tokens: Tokens
) -> None:
    again = Fit(tokens)
    again.add(passages()[:100], tokens)
    again.add(passages()[100:], tokens)
    assert len(again) == 240
    data = again.embedder().to_bytes()
    assert data == embedder.to_bytes()
    loaded = CorpusEmbedder.from_bytes(data, tokens)
    assert loaded.embed_query("acquire a lease") == embedder.embed_query("acquire a lease")
    assert loaded.dim == embedder.dim == 128
    assert loaded.footprint_bytes > 0


def test_stop_words_and_unknown_words_have_no_direction(embedder: CorpusEmbedder) -> None:
    (document,) = embedder.embed_documents([Passage(title="the of and", text="zebra")])
    assert document == embedder.embed_query("zebra quagga") == bytes(128)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_damaged_bytes_are_refused(embedder: CorpusEmbedder, tokens: Tokens, damage: str) -> None:
    data = bytearray(embedder.to_bytes())
    data[len(data) // 2] ^= 1
    broken = {"cut": bytes(data[:-9]), "flip": bytes(data), "empty": b"", "foreign": b"RTSP" + bytes(60)}
    with pytest.raises(ValueError, match="damaged or of another format"):
        CorpusEmbedder.from_bytes(broken[damage], tokens)


def test_a_corpus_is_used_up_by_its_fit_and_keeps_to_its_limits() -> None:
    corpus = SpaceCorpus(dim=8, terms_max=20)
    corpus.add([[f"w{n % 50}", f"w{n % 7}"] for n in range(300)])
    space = corpus.fit(3)
    assert (space.dim, space.terms, space.documents) == (8, 20, 300)
    assert len(space.embed(["w1", "w2"])) == 8
    with pytest.raises(ValueError, match="uses it up"):
        corpus.fit(3)
    with pytest.raises(ValueError, match="uses it up"):
        corpus.add([["a"]])
    with pytest.raises(ValueError, match="dim"):
        SpaceCorpus(dim=0)


def test_an_empty_corpus_gives_a_space_that_says_nothing() -> None:
    space = SpaceCorpus(dim=4).fit(1)
    assert space.embed(["a"]) == bytes(4)
    assert Space.from_bytes(space.to_bytes()).terms == 0


def test_a_passage_says_its_title_once() -> None:
    assert Passage(title="a", text="a and more", paths=("p.py",)).as_text() == "a and more\np.py"
    assert Passage(title="a", text="b").as_text() == "a\nb"
