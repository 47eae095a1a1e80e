"""Each form of filter as SQL, against a plain predicate over the same rows."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retain.model import All, AnyOf, Between, Filter, Glob, In, Memory, Not, from_us, to_us
from retain.storage.conditions import condition
from retain.storage.reads import Reader
from twins import holds

KINDS = ("note", "error", "fix")
SESSIONS = (None, "s1", "s2", "")
BRANCHES = (None, "main", "feature/a", "feature/b", "")
TAGS = ("x", "y", "z", "x\0y", "'; --")
PATHS = (
    "a.py",
    "src/a.py",
    "src/b.py",
    "src/deep/er/a.py",
    "/src/a.py",
    "/etc/hosts",
    "src",
    "srcs/a.py",
    "Zoë/ü.py",
    "%/_.py",
)
ROWS = 40

values: dict[str, st.SearchStrategy[str]] = {
    "kind": st.sampled_from(KINDS),
    "session": st.sampled_from(["s1", "s2", "", "none"]),
    "branch": st.sampled_from(["main", "feature/a", "", "none"]),
    "origin": st.sampled_from(["user", "hook"]),
    "status": st.sampled_from(["active", "forgotten", "superseded"]),
    "workspace": st.sampled_from(["w-1", "w-2", "w-9"]),
    "tag": st.sampled_from([*TAGS, "none"]),
    "path": st.sampled_from([*PATHS, "none"]),
    "id": st.sampled_from([f"id-{n}" for n in (0, 1, ROWS - 1, ROWS)]),
}
globs = {
    "path": st.sampled_from(
        ["*.py", "a.py", "src/*", "src/**", "/src/**", "**/a.py", "src/", "*/a.py", "src/?.py", "/etc/*", "etc/*",
         "Zo?/*", "*", "**", "/", "%/_*", "src/deep/**/a.py"]
    ) | st.text("srca/*?.py", max_size=8),
    "branch": st.sampled_from(["main", "feature/*", "*", "**", "?ain", "", "*/*"]),
}  # fmt: skip
times = st.none() | st.integers(0, 110)
leaves: st.SearchStrategy[Filter] = st.one_of(
    *(
        st.builds(In, field=st.just(name), values=st.lists(some, max_size=3).map(tuple))
        for name, some in values.items()
    ),
    *(st.builds(Glob, field=st.just(name), pattern=some) for name, some in globs.items()),
    st.builds(Between, field=st.just("time"), low=times, high=times),
)
trees: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.builds(All, parts=st.lists(part, max_size=3).map(tuple)),
        st.builds(AnyOf, parts=st.lists(part, max_size=3).map(tuple)),
        st.builds(Not, part=part),
    ),
    max_leaves=8,
)


def field_values(memory: Memory, field: str) -> tuple[str, ...]:
    if field in {"tag", "path"}:
        return memory.tags if field == "tag" else memory.paths
    value = getattr(memory, field)
    return () if value is None else (value,)


def fits(tree: Filter, memory: Memory) -> bool:
    return holds(tree, partial(field_values, memory), to_us(memory.occurred_at))


@pytest.fixture(params=range(4), ids="seed{}".format)
def population(
    request: pytest.FixtureRequest, reader: Reader, remember: Callable[..., Any]
) -> dict[int, Memory]:
    """Rows made at random from a seed, with every field sometimes missing, by key."""
    dice = random.Random(request.param)
    for n in range(ROWS):
        remember(
            f"text {n}",
            id=f"id-{n}",
            workspace=dice.choice((1, 2)),
            kind=dice.choice(KINDS),
            session=dice.choice(SESSIONS),
            branch=dice.choice(BRANCHES),
            origin=dice.choice(("user", "hook")),
            tags=tuple(dice.sample(TAGS, dice.randrange(3))),
            paths=tuple(dice.sample(PATHS, dice.randrange(4))),
            occurred_at=from_us(dice.randrange(100)),
        )
        reader.connection.execute(
            "UPDATE memory SET status = ? WHERE id = ?",
            (dice.choice(("active", "forgotten", "superseded")), f"id-{n}"),
        )
    return reader.load([key for (key,) in reader.connection.execute("SELECT key FROM memory")])


@settings(max_examples=550, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_a_filter_finds_exactly_the_rows_that_its_plain_twin_finds(
    tree: Filter, population: dict[int, Memory], reader: Reader
) -> None:
    found = [candidate.key for candidate in reader.filtered(tree, -1)]
    expected = {key for key, memory in population.items() if fits(tree, memory)}
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_empty_trees_are_everything_and_nothing() -> None:
    assert condition(All(parts=())) == ("1", [])
    assert condition(AnyOf(parts=())) == ("0", [])


def test_no_value_is_ever_written_into_the_text() -> None:
    evil = "'; DROP TABLE memory; --"
    tree = All(
        parts=(
            In(field="tag", values=(evil,)),
            In(field="kind", values=(evil,)),
            Glob(field="path", pattern=evil),
        )
    )
    sql, bound = condition(tree)
    assert "DROP" not in sql
    assert sql.count("?") == len(bound)
