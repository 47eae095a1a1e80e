"""Known-item recall at 10,000 memories of real text, beside plain FTS5 in the same run.

    python benches/known_items.py [--repo PATH] [--memories 10000] [--queries 100] [--seed 7] [--noise] [--json FILE]

Prints, for each family of queries, how many of them have the right memory among the first five, and how often
retain said that nothing fits.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import apsw

import retain
from corpora import WORD, Commit, KnownItem, known_items
from corpora import records as texts_of
from measuring import Figure, arguments, at_least, publish

FIRST = 5


def plain_fts5(records: list[Commit], families: dict[str, list[KnownItem]]) -> dict[str, int]:
    """SQLite's FTS5 out of the box: porter, one column, words joined by OR, order by bm25."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'porter')")
    db.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", [(i, r.text) for i, r in enumerate(records)])
    found = {}
    for name, queries in families.items():
        hits = 0
        for item in queries:
            match = " OR ".join(f'"{word}"' for word in WORD.findall(item.query))
            rows = db.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT ?", (match, FIRST))
            hits += any(records[i].sha == item.sha for (i,) in rows)
        found[name] = hits
    return found


async def ours(records: list[Commit], families: dict[str, list[KnownItem]], home: Path) -> dict[str, int]:
    """retain through its Python API, as any user has it."""
    async with retain.open(home, folder=home) as memory:
        for start in range(0, len(records), 1_000):
            part = records[start : start + 1_000]
            await memory.remember_many([{"text": r.text, "source_id": r.sha} for r in part])
        found = {}
        for name, queries in families.items():
            answers = [await memory.recall(item.query, limit=FIRST) for item in queries]
            found[name] = sum(
                any(hit.memory.source_id == item.sha for hit in answer.hits)
                for item, answer in zip(queries, answers, strict=True)
            )
            found[f"{name} abstained"] = sum(answer.abstained for answer in answers)
    return found


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7, help="chooses the queries")
    parser.add_argument("--noise", action="store_true", help="keep merges, version bumps and bot commits")
    parser.add_argument("--queries", type=int, default=100)
    given = parser.parse_args()
    texts = texts_of(given.repo, given.memories, noise=given.noise)
    families = known_items(texts, given.queries, given.seed)
    with tempfile.TemporaryDirectory() as home:
        found = asyncio.run(ours(texts, families, Path(home)))
    plain = plain_fts5(texts, families)
    figures: list[Figure] = []
    for name, queries in families.items():
        what = f"known items, {len(texts):,} memories, {name}: in the first {FIRST}"
        beside = f"plain FTS5 {plain[name]}"
        figures.append(at_least(what, found[name], f"of {len(queries)}", plain[name], beside=beside))
        what = f"known items, {len(texts):,} memories, {name}: abstained"
        figures.append(Figure(what=what, ours=found[f"{name} abstained"], unit=f"of {len(queries)}"))
    details = {"memories": len(texts), "retain": found, "plain FTS5": plain}
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
