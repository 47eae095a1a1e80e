"""Makes the sets of a history: files, known, errors, unanswerable. docs/benchmark.md says what each one asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retain.referee.commits import Kept, record_text
from retain.referee.error_lines import elsewhere, error_lines, signature
from retain.referee.sets import Draft
from retain.referee.wording import content_words, first_sentences, identifiers

QUERIES_MAX = 600
"""Most queries of a set; of more, evenly spaced ones are taken."""

CHANGES_MAX = 25
"""A file is specific while at most so many earlier commits changed it."""

RELEVANT_MAX = 15
"""A query whose files connect it with more commits asks for no commit in particular."""

HISTORY_FIRST = 4
"""The first fourth of a history asks nothing: there is too little before it."""

SUBJECT_WORDS_MIN = 3
SENTENCE_WORDS_MIN = 4
UNANSWERABLE_MAX = 300


def files_set(group: str, kept: Sequence[Kept]) -> Draft:
    """Query: a commit's subject. Relevant: earlier commits that changed a same specific file."""
    draft = Draft(corpus=[_row(group, one, one.text()) for one in kept])
    earlier: dict[str, list[tuple[Kept, frozenset[str]]]] = {}
    asked: list[tuple[Kept, dict[str, int]]] = []
    for one in kept:
        gains: dict[str, int] = {}
        for change in one.specific_files():
            symbols = frozenset(change.symbols)
            before = earlier.setdefault(change.path, [])
            if len(before) <= CHANGES_MAX:
                for other, theirs in before:
                    gains[other.id] = max(gains.get(other.id, 0), 2 if symbols & theirs else 1)
            before.append((one, symbols))
        telling = len(content_words(one.subject)) >= SUBJECT_WORDS_MIN
        if telling and 0 < len(gains) <= RELEVANT_MAX and one.ord >= len(kept) // HISTORY_FIRST:
            asked.append((one, gains))
    for (one, gains), split in _split(asked):
        _ask(draft, group, one.id, one.subject, "files", split, gains, ord=one.ord)
    return draft


def known_set(group: str, kept: Sequence[Kept]) -> Draft:
    """Query: the first sentences of a body. Relevant: its commit, of which the record lacks the body."""
    draft = Draft(corpus=[_row(group, one, one.text(body=False), ordered=False) for one in kept])
    for (one, query), split in _split(_known_queries(kept)):
        _ask(draft, group, one.id, query, "known", split, {one.id: 1})
    return draft


def errors_set(group: str, kept: Sequence[Kept]) -> Draft:
    """Query: an error line as another machine prints it. Relevant: what fixed the same error.

    A commit that names an error becomes two records for each, as a session leaves them: the error, and its fix.
    """
    draft = Draft()
    fixes: dict[str, dict[str, int]] = {}
    asked: dict[str, tuple[str, str]] = {}
    for one in kept:
        lines = error_lines(one.body, (line for f in one.files if "test" in f.path for line in f.gained))
        if not lines:
            draft.corpus.append(_row(group, one, one.text(), ordered=False))
        for number, line in enumerate(lines):
            name = f"{one.id}.{number}"
            draft.corpus.extend(_error_and_fix(group, one, name, line))
            fixes.setdefault(signature(line), {})[f"{name}.fix"] = 1
            asked.setdefault(signature(line), (name, line))
    for (name, line), split in _split(list(asked.values())):
        _ask(draft, group, name, elsewhere(line, name), "errors", split, fixes[signature(line)])
    return draft


def unanswerable_set(
    group: str,
    kept: Sequence[Kept],
    foreign: Mapping[str, Sequence[Kept]],
    queries_max: int = UNANSWERABLE_MAX,
) -> Draft:
    """Queries of other repositories on the records of the known set, and as many queries that have an answer.

    ``foreign``: any query. ``unanswerable``: one that names code, none of which occurs in these records.
    """
    draft = Draft(corpus=[_row(group, one, one.text(body=False), ordered=False) for one in kept])
    everything = "\n".join(row["text"] for row in draft.corpus).lower()
    strangers = [
        (f"{other}/{one.id}", q) for other, theirs in foreign.items() for one, q in _known_queries(theirs)
    ]
    named = [
        (i, q) for i, q in strangers if (names := identifiers(q)) and not any(n in everything for n in names)
    ]
    for cat, pairs in (("unanswerable", named), ("foreign", strangers)):
        for (query_id, query), split in _split(pairs, queries_max):
            _ask(draft, group, f"{cat}/{query_id}", query, cat, split, {})
    for (one, query), split in _split(_known_queries(kept), queries_max):
        _ask(draft, group, one.id, query, "answerable", split, {one.id: 1})
    return draft


def _known_queries(kept: Sequence[Kept]) -> list[tuple[Kept, str]]:
    """Sentences that share less than half of their content words with the subject, seen from either."""
    found = []
    for one in kept:
        query = first_sentences(one.body)
        words, subject = content_words(query), content_words(one.subject)
        if len(words) >= SENTENCE_WORDS_MIN and 2 * len(words & subject) < min(len(words), len(subject)):
            found.append((one, query))
    often = Counter(query for _, query in found)
    return [(one, query) for one, query in found if often[query] == 1]


def _error_and_fix(group: str, one: Kept, name: str, line: str) -> Iterator[dict[str, Any]]:
    """The two memories that a session with this error would have left; the body without the line itself."""
    yield _row(group, one, line, ordered=False) | {"id": f"{name}.error", "kind": "error"}
    rest = "\n".join(told for told in one.body.splitlines() if line not in " ".join(told.split()))
    text = record_text([f"Fixed: {line}", f"With: {line}", one.subject, rest.strip()], one.files)
    yield _row(group, one, text, ordered=False) | {"id": f"{name}.fix", "kind": "fix"}


def _split(items: Sequence[Any], most: int = QUERIES_MAX) -> list[tuple[Any, str]]:
    """Evenly spaced items in order of time; the older half is for tuning, the newer one for the test."""
    chosen = items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]
    return [(item, "tune" if 2 * place < len(chosen) else "test") for place, item in enumerate(chosen)]


def _row(group: str, one: Kept, text: str, *, ordered: bool = True) -> dict[str, Any]:
    row = {"id": one.id, "group": group, "text": text}
    return row | ({"ord": one.ord} if ordered else {}) | one.date()


def _ask(
    draft: Draft,
    group: str,
    name: str,
    text: str,
    cat: str,
    split: str,
    gains: Mapping[str, int],
    **more: Any,
) -> None:
    query_id = f"{group}/{name}"
    draft.queries.append({"id": query_id, "group": group, "text": text, **more, "cat": cat, "split": split})
    draft.qrels.extend([{"qid": query_id, "docid": record, "rel": gain} for record, gain in gains.items()])
