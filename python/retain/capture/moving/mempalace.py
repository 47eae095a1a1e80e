"""MemPalace: the drawers of a palace, kept by Chroma or by its own SQLite backend, and its knowledge graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import apsw

from retain.capture.moving.records import Found, Source, clean, item, mapping
from retain.capture.moving.sqlite_files import count, has_table, opened, rows
from retain.capture.parse import load_json
from retain.errors import InvalidInput

CHROMA, EXACT, GRAPH = "chroma.sqlite3", "sqlite_exact.sqlite3", "knowledge_graph.sqlite3"
DRAWERS = "mempalace_drawers"
"""The collection that holds what was said; the other one, of closets, is an index made of it."""
DOCUMENT = "chroma:document"


def open_source(place: Path) -> Source:
    """The drawers of a palace folder or database, and the triples of a knowledge graph that lies with it.

    Raises:
        InvalidInput: there is none.
    """
    path = _database(place)
    graph = _graph_of(path)
    if path.name == EXACT:
        db = opened(path, "documents", "MemPalace")
        where = f"collection_id IN (SELECT id FROM collections WHERE name = '{DRAWERS}')"
        drawers, total = _exact(db, path, where), count(db, "documents", where)
    else:
        db = opened(path, "embedding_metadata", "MemPalace")
        drawers, total = _chroma(db, path), len(_chroma_keys(db))
    triples = count(graph, "triples") if graph else 0
    return Source(place=str(path), count=total + triples, records=_all(drawers, graph))


def _all(drawers: Iterator[Found], graph: apsw.Connection | None) -> Iterator[Found]:
    yield from drawers
    if graph is not None:
        yield from _triples(graph)


def _database(place: Path) -> Path:
    if not place.is_dir():
        return place
    for folder in (place, place / "palace"):
        for name in (EXACT, CHROMA):
            if (folder / name).is_file():
                return folder / name
    raise InvalidInput("file", f"{place}: holds neither {CHROMA} nor {EXACT}")


def _graph_of(path: Path) -> apsw.Connection | None:
    for folder in (path.parent, path.parent.parent):
        if (folder / GRAPH).is_file():
            return opened(folder / GRAPH, "triples", "MemPalace")
    return None


def _exact(db: apsw.Connection, path: Path, where: str) -> Iterator[Found]:
    for key, row in rows(db, "documents", where):
        place = f"{path}: documents {key}"
        if isinstance(row, str):
            yield Found(place=place, skipped=row)
        else:
            about = mapping(load_json(clean(row.get("metadata_json")).encode()))
            yield _drawer(place, clean(row.get("id")), clean(row.get("document")), about)


def _chroma_keys(db: apsw.Connection) -> list[tuple[int, str]]:
    found = db.execute(
        "SELECT e.id, e.embedding_id FROM embeddings e JOIN segments s ON s.id = e.segment_id "
        "JOIN collections c ON c.id = s.collection WHERE c.name = ? ORDER BY e.id",
        (DRAWERS,),
    )
    return [(int(key), str(name)) for key, name in found]


def _chroma(db: apsw.Connection, path: Path) -> Iterator[Found]:
    if not has_table(db, "embeddings"):
        return
    for key, name in _chroma_keys(db):
        place = f"{path}: embeddings {key}"
        try:
            about: dict[str, Any] = {
                field: next((value for value in values if value is not None), None)
                for field, *values in db.execute(
                    "SELECT key, string_value, int_value, float_value, bool_value FROM embedding_metadata "
                    "WHERE id = ?", (key,),
                )
            }  # fmt: skip
        except (apsw.Error, UnicodeDecodeError) as error:
            yield Found(place=place, skipped=f"cannot be read: {error}")
            continue
        yield _drawer(place, name, clean(about.pop(DOCUMENT, "")), about)


def _drawer(place: str, name: str, text: str, about: Mapping[str, Any]) -> Found:
    if not text.strip():
        return Found(place=place, skipped="has no text")
    wing, room = clean(about.get("wing")), clean(about.get("room"))
    file = clean(about.get("source_file"))
    tags = [
        "mempalace",
        f"wing:{wing}" if wing else "",
        f"room:{room}" if room else "",
        clean(about.get("hall")),
    ]
    made = item(
        name, text, tags=[tag for tag in tags if tag], paths=[file] if file else [],
        at=about.get("filed_at") or about.get("created_at"),
    )  # fmt: skip
    return Found(place=place, item=made)


def _triples(db: apsw.Connection) -> Iterator[Found]:
    names = dict(db.execute("SELECT id, name FROM entities")) if has_table(db, "entities") else {}
    for key, row in rows(db, "triples"):
        place = f"{GRAPH}: triples {key}"
        if isinstance(row, str):
            yield Found(place=place, skipped=row)
            continue
        ends = [names.get(row.get(end), clean(row.get(end))) for end in ("subject", "object")]
        text = f"{ends[0]} {clean(row.get('predicate'))} {ends[1]}"
        times = [
            f"{label} {row[field]}"
            for field, label in (("valid_from", "since"), ("valid_to", "until"))
            if row.get(field)
        ]
        made = item(
            f"triple/{clean(row.get('id')) or key}", "\n".join([text, *times]), title=text,
            tags=["mempalace", "relation"], at=row.get("valid_from") or row.get("extracted_at"),
        )  # fmt: skip
        yield Found(place=place, item=made)
