"""Gathers what the ranking needs to know of candidates besides their words, on one reader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from retain.model import All, Between, Filter, In, Query
from retain.retrieval import rank
from retain.retrieval.lexical import STOP_WORDS, TextQuery, is_identifier, words_of
from retain.retrieval.quotes import plain, quoted_lines, quotes_error
from retain.storage import injections, structure
from retain.storage.reads import Candidate, Reader

LITERAL_POOL = 50
"""How many of the best candidates are searched for the identifiers of the query, letter by letter."""

TITLED_POOL = 60
"""How many of the best candidates have their titles compared with the question; two microseconds each."""

_HEAD = re.compile(r"(.{1,60}?):\s")
_LETTERS = re.compile(r"[^\W\d_]+")

QUOTING_CHARS_MAX = 20_000
"""What of a memory is compared with the error lines of a question; some 10 us for a text of a few hundred."""

LINKING_FILES_MAX = 24
COMMON = 2
"""A file that stands in more than this multiple of ``Weights.sharers`` memories is not looked up further."""

NO_SPACES: Mapping[str, Mapping[int, float]] = MappingProxyType({})

_NAME = re.compile(r"[\w.-]*\w[/.]\w[\w./-]*\w")
"""Dotted names and paths."""


def gather(
    reader: Reader,
    query: Query,
    words: TextQuery,
    candidates: Sequence[Candidate],
    near: Mapping[str, Mapping[int, float]] = NO_SPACES,
    weights: rank.Weights = rank.WEIGHTS,
) -> rank.Signals:
    """The signals of the candidates of a query; best first by words, then those that are only near."""
    if not candidates or not (words.match or near):
        return rank.Signals()
    long = words.known > weights.words
    names = frozenset(w.lower() for w in words_of(query.text) if w[0].isupper() and w.isalpha())
    titles = dict(reader.titles([c.key for c in candidates[:TITLED_POOL]])) if long or names else {}
    shown = injections.feedback(reader.connection, [c.key for c in candidates])
    return rank.Signals(
        near=near,
        feedback=rank.shrunk(shown, _usual(reader)) if shown else {},
        ages=_ages(reader, query),
        files=structure.files_of(candidates),
        literal=_literal(reader, query.text, [c.key for c in candidates[:LITERAL_POOL]]),
        titles=_titles(reader, query.text, titles) if long else {},
        said=_said(names, titles) if names else (),
        words=max(1, words.known),
        error=quotes_error(query.text),
        quoted=_quoted(reader, query.text, [c.key for c in candidates[:LITERAL_POOL]]),
    )


def ordered(
    reader: Reader,
    where: Filter,
    candidates: Sequence[Candidate],
    signals: rank.Signals,
    bound: float,
    weights: rank.Weights = rank.WEIGHTS,
) -> list[rank.Ranked]:
    """The candidates in the order of an answer, and what is linked to the best of them."""
    ranked = rank.rank(candidates, signals, bound=bound, weights=weights)
    if not bound and not signals.near:
        return ranked
    files = rank.linking_files(ranked, signals, weights)[:LINKING_FILES_MAX] if weights.linked else []
    if files:
        shared = structure.sharing(reader.connection, files, where, COMMON * weights.sharers)
        ranked = rank.link(ranked, shared, signals, weights)
    return with_fixes(reader, where, ranked)


def with_fixes(reader: Reader, where: Filter, ranked: list[rank.Ranked]) -> list[rank.Ranked]:
    """The same with the fix of each error right behind it."""
    errors = [r.candidate.key for r in ranked[:LITERAL_POOL] if r.candidate.kind == "error"]
    if not errors:
        return ranked
    return rank.beside(ranked, structure.fixes_of(reader.connection, errors, where))


def _ages(reader: Reader, query: Query) -> rank.Ages:
    """Ages in the workspace of the query, before the end of its time; over all workspaces by keys."""
    parts = query.filter.parts if isinstance(query.filter, All) else (query.filter,)
    places = {v for p in parts if isinstance(p, In) and p.field == "workspace" for v in p.values}
    ends = [p.high for p in parts if isinstance(p, Between) and p.high is not None]
    if len(places) != 1:
        return rank.Ages(newest_key=reader.total())
    place, end = places.pop(), min(ends, default=None)
    return rank.Ages(
        moments=reader.kept(("moments", place, end), lambda: structure.moments(reader.connection, place, end))
    )


def _usual(reader: Reader) -> tuple[int, int]:
    return reader.kept("usual", lambda: injections.usual(reader.connection))


def _literal(reader: Reader, text: str, keys: Sequence[int]) -> frozenset[int]:
    """Keys of the memories that hold an identifier, a path or a dotted name of the text letter by letter.

    The index knows stems only: to it ``test_reporting`` and ``TestReport`` are the same.
    """
    names = [word.lower() for word in words_of(text) if is_identifier(word)]
    names += [name.lower() for name in _NAME.findall(text)]
    if not names:
        return frozenset()
    found = set()
    for key, held in reader.texts(keys):
        letters = held.lower()
        if any(name in letters for name in names):
            found.add(key)
    return frozenset(found)


def _quoted(reader: Reader, text: str, keys: Sequence[int]) -> frozenset[int]:
    """Keys of the memories that hold an error line of the text; without such a line none is looked at."""
    lines = quoted_lines(text)
    if not lines:
        return frozenset()
    texts = ((key, plain(held[:QUOTING_CHARS_MAX])) for key, held in reader.texts(keys))
    return frozenset(key for key, held in texts if any(line in held for line in lines))


def _titles(reader: Reader, text: str, titles: Mapping[int, str]) -> dict[int, float]:
    """How alike the titles and a text are: the stems that both have, in shares of those of each (Dice)."""
    asked = set(reader.tokens(" ".join(words_of(text))))
    empty = reader.kept("empty", lambda: frozenset(reader.tokens(" ".join(sorted(STOP_WORDS)))))
    found = {}
    for key, title in titles.items():
        stems = set(reader.tokens(title)) - empty
        if both := len(stems & asked):
            found[key] = 2 * both / (len(stems) + len(asked))
    return found


def _said(names: frozenset[str], titles: Mapping[int, str]) -> frozenset[int]:
    """Keys of the memories that begin with one of these names and a colon, as what somebody said does."""
    heads = ((key, head[1]) for key, title in titles.items() if (head := _HEAD.match(title)))
    return frozenset(key for key, head in heads if not names.isdisjoint(_LETTERS.findall(head.lower())))
