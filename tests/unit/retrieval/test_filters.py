"""Filters: every form is read, every error names its node, and the normal form means the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.errors import InvalidFilter
from retain.model import All, AnyOf, Between, Filter, Glob, In, Not, read_time, to_us
from retain.retrieval.filters import (
    DEPTH_MAX,
    FIELDS,
    NODES_MAX,
    NOTHING,
    VALUE_CHARS_MAX,
    VALUES_MAX,
    as_tuples,
    both,
    mentions,
    normalise,
    parse_filter,
    size_of,
)
from retain.storage.conditions import condition
from retain.storage.connection import connect
from twins import glob_twin, holds

NOON = to_us(read_time("2026-11-01T12:00:00Z", "since"))


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        ({}, NOTHING),
        ({"kind": "fix"}, In(field="kind", values=("fix",))),
        ({"kind": ["fix", "note"]}, In(field="kind", values=("fix", "note"))),
        ({"kind": []}, In(field="kind", values=())),
        ({"tag": ("a", "b")}, In(field="tag", values=("a", "b"))),
        ({"session": "s"}, In(field="session", values=("s",))),
        ({"origin": "hook"}, In(field="origin", values=("hook",))),
        ({"status": "superseded"}, In(field="status", values=("superseded",))),
        ({"workspace": "w"}, In(field="workspace", values=("w",))),
        ({"id": "i"}, In(field="id", values=("i",))),
        ({"branch": "main"}, In(field="branch", values=("main",))),
        ({"branch": "feat/*"}, Glob(field="branch", pattern="feat/*")),
        ({"path": "src/a.py"}, In(field="path", values=("src/a.py",))),
        ({"path": "a.py"}, Glob(field="path", pattern="a.py")),
        ({"path": "src/"}, Glob(field="path", pattern="src/**")),
        ({"path": "src/*.p?"}, Glob(field="path", pattern="src/*.p?")),
        ({"path": []}, AnyOf(parts=())),
        (
            {"path": ["src/a.py", "src/b.py", "*.md"]},
            AnyOf(
                parts=(
                    Glob(field="path", pattern="*.md"),
                    In(field="path", values=("src/a.py", "src/b.py")),
                )
            ),
        ),
        ({"since": "2026-11-01T12:00:00Z"}, Between(field="time", low=NOON)),
        ({"until": "2026-11-01T12:00:00Z"}, Between(field="time", high=NOON)),
        ({"since": NOON / 1_000_000}, Between(field="time", low=NOON)),
        ({"not": {"tag": "x"}}, Not(part=In(field="tag", values=("x",)))),
        ({"not": {}}, Not(part=NOTHING)),
        ({"or": []}, AnyOf(parts=())),
        ({"and": []}, NOTHING),
        (
            {"or": [{"tag": "x"}, {"kind": "fix"}]},
            AnyOf(parts=(In(field="tag", values=("x",)), In(field="kind", values=("fix",)))),
        ),
        (
            {"tag": "x", "and": [{"kind": "fix"}, {"tag": "x"}]},
            All(parts=(In(field="tag", values=("x",)), In(field="kind", values=("fix",)))),
        ),
    ],
)
def test_every_form_is_read(value: dict[str, Any], tree: Filter) -> None:
    assert parse_filter(value) == tree


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        (None, "filter", "must be an object, not null"),
        ([], "filter", "must be an object, not array"),
        ("kind=fix", "filter", "must be an object, not string"),
        (7, "filter", "must be an object, not number"),
        (True, "filter", "must be an object, not boolean"),
        (b"{}", "filter", "must be an object, not bytes"),
        ({"colour": "red"}, "filter.colour", "unknown field; known: kind, session"),
        ({7: "red"}, "filter.7", "unknown field"),
        ({"kind": "haiku"}, "filter.kind", "unknown kind 'haiku'; known: prompt"),
        ({"origin": "me"}, "filter.origin", "unknown origin"),
        ({"status": ["active", "gone"]}, "filter.status", "unknown status 'gone'"),
        ({"kind": 7}, "filter.kind", "must be a string or a list of strings, not number"),
        ({"kind": None}, "filter.kind", "not null"),
        ({"tag": {"in": ["a"]}}, "filter.tag", "not object"),
        ({"tag": ["a", False]}, "filter.tag", "not boolean"),
        ({"since": "yesterday"}, "filter.since", "not a time"),
        ({"since": True}, "filter.since", "not a time"),
        ({"until": None}, "filter.until", "must be a time, not null"),
        ({"until": ["2026"]}, "filter.until", "must be a time, not array"),
        ({"until": 1e30}, "filter.until", "not a time"),
        ({"until": float("nan")}, "filter.until", "not a time"),
        ({"since": "1815-12-10"}, "filter.since", "outside the years 1970 to 9998"),
        ({"since": -5}, "filter.since", "outside the years 1970 to 9998"),
        ({"and": {"kind": "fix"}}, "filter.and", "must be a list of filters, not object"),
        ({"or": "kind"}, "filter.or", "must be a list of filters, not string"),
        ({"or": [{"kind": "fix"}, 3]}, "filter.or[1]", "must be an object, not number"),
        ({"not": []}, "filter.not", "must be an object, not array"),
        ({"not": {"or": [{"and": [{"kind": 1}]}]}}, "filter.not.or[0].and[0].kind", "must be a string"),
    ],
)
def test_every_error_names_the_path_of_its_node(value: object, field: str, says: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(value)
    assert caught.value.field == field
    assert says in str(caught.value)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"kind": "fix"}
    for _ in range(depth):
        value = {"not": value}
    return value


@pytest.mark.parametrize(
    ("value", "field", "limit"),
    [
        (nested(DEPTH_MAX + 1), "filter" + ".not" * (DEPTH_MAX + 1), DEPTH_MAX),
        ({"and": [{"kind": "fix"}] * NODES_MAX}, f"filter.and[{NODES_MAX - 1}].kind", NODES_MAX),
        ({"or": [{}] * (NODES_MAX + 1)}, None, NODES_MAX),
        ({"tag": ["x"] * (VALUES_MAX + 1)}, "filter.tag", VALUES_MAX),
        ({"or": [{"tag": ["x"] * VALUES_MAX}] * 2}, "filter.or[1].tag", VALUES_MAX),
        ({"path": ["*.py"] * (NODES_MAX + 1)}, "filter.path", NODES_MAX),
        ({"tag": "x" * (VALUE_CHARS_MAX + 1)}, "filter.tag", VALUE_CHARS_MAX),
    ],
)
def test_every_limit_is_named(value: object, field: str | None, limit: int) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter(value)
    assert caught.value.limit == limit
    assert field is None or caught.value.field == field


def test_what_is_at_a_limit_is_accepted() -> None:
    parse_filter(nested(DEPTH_MAX))
    parse_filter({"and": [{"kind": "fix"}] * (NODES_MAX - 1)})
    parse_filter({"tag": ["x"] * VALUES_MAX})
    parse_filter({"tag": "x" * VALUE_CHARS_MAX})


def test_a_name_of_a_megabyte_is_not_echoed() -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter({"x" * 1_000_000: 1})
    assert len(str(caught.value)) < 1_000
    with pytest.raises(InvalidFilter) as caught:
        parse_filter({"or": [{"\ud800": "x"}]})
    str(caught.value).encode()


def test_a_million_empty_objects_are_refused_at_once() -> None:
    started = time.process_time()
    with pytest.raises(InvalidFilter):
        parse_filter({"or": [{}] * 1_000_000})
    assert time.process_time() - started < 1


def test_a_lone_surrogate_in_a_value_equals_nothing() -> None:
    tree = parse_filter({"tag": "a\ud800", "path": "\udfff/x"})
    assert tree == All(parts=(In(field="tag", values=("a\ufffd",)), In(field="path", values=("\ufffd/x",))))


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> apsw.Connection:
    path = tmp_path_factory.mktemp("store") / "a.db"
    path.touch()
    connection = connect(path, writable=True)
    connection.execute(
        "CREATE TABLE workspace (key, id); CREATE TABLE memory_tag (workspace, tag, memory);"
        "CREATE TABLE memory_path (workspace, path, memory);"
        "CREATE TABLE memory (key, workspace, id, kind, status, origin, branch, session, paths, occurred_us)"
    )
    return connection


@pytest.mark.parametrize(
    "value",
    [
        {"and": [{"tag": f"t{i}"} for i in range(NODES_MAX - 1)]},
        {"path": [f"a{i}/*" for i in range(NODES_MAX - 1)]},
        {"tag": [f"t{i}" for i in range(VALUES_MAX)]},
        {"or": [{"path": [f"{i}/*", f"{i}"]} for i in range(NODES_MAX // 3)]},
        nested(DEPTH_MAX),
    ],
)
def test_the_largest_filters_are_small_enough_for_sqlite(value: object, empty_store: apsw.Connection) -> None:
    sql, values = condition(parse_filter(value))
    assert list(empty_store.execute(f"SELECT * FROM memory m WHERE {sql}", values)) == []


# A row is one memory as a twin sees it; the twins are as simple as can be.

Row = Mapping[str, Any]
KINDS = ("fix", "note", "task")
TAGS = ("x", "y", "z")
PATHS = ("src/a.py", "src/deep/b.py", "README.md")
TIMES = ("2026-11-01", "2026-11-02", "2026-11-03")
PATTERNS = (*PATHS, "src/", "*.py", "src/*", "src/**", "README.md", "?EADME.md")

rows = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "tag": st.frozensets(st.sampled_from(TAGS)),
        "path": st.frozensets(st.sampled_from(PATHS)),
        "branch": st.sampled_from(["main", "feat/a", "feat/b"]),
        "time": st.sampled_from(TIMES),
    }
)


def one_or_many(values: tuple[str, ...]) -> st.SearchStrategy[str | list[str]]:
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), max_size=3))


def objects(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "kind": one_or_many(KINDS),
            "tag": one_or_many(TAGS),
            "path": one_or_many(PATTERNS),
            "branch": one_or_many(("main", "feat/a", "feat/*")),
            "since": st.sampled_from(TIMES),
            "until": st.sampled_from(TIMES),
            "and": st.lists(children, max_size=3),
            "or": st.lists(children, max_size=3),
            "not": children,
        },
    )


filters = st.recursive(st.just({}), objects, max_leaves=8)


def fits(value: Mapping[str, Any], row: Row) -> bool:
    """What the documentation says of a filter object, word by word."""
    return all(entry_fits(name, entry, row) for name, entry in value.items())


def entry_fits(name: str, entry: Any, row: Row) -> bool:
    if name == "and":
        return all(fits(part, row) for part in entry)
    if name == "or":
        return any(fits(part, row) for part in entry)
    if name == "not":
        return not fits(entry, row)
    if name in {"since", "until"}:
        return bool(row["time"] >= entry if name == "since" else row["time"] < entry)
    wanted = [entry] if isinstance(entry, str) else entry
    if name in {"path", "branch"}:
        present = row["path"] if name == "path" else [row["branch"]]
        return any(glob_twin(w + "**" if w.endswith("/") else w, p) for w in wanted for p in present)
    return any(w in row[name] if name == "tag" else w == row[name] for w in wanted)


def tree_fits(tree: Filter, row: Row) -> bool:
    def values(field: str) -> Sequence[str]:
        return row[field] if field in {"tag", "path"} else [row[field]]

    return holds(tree, values, to_us(read_time(row["time"], "time")))


leaves = st.one_of(
    st.builds(In, field=st.just("kind"), values=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple)),
    st.builds(In, field=st.just("tag"), values=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple)),
    st.builds(Glob, field=st.just("path"), pattern=st.sampled_from(("*.py", "src/**"))),
    st.just(Between(field="time", low=to_us(read_time(TIMES[1], "t")))),
)
trees = st.recursive(
    leaves,
    lambda t: st.one_of(
        st.builds(All, parts=st.lists(t, max_size=3).map(tuple)),
        st.builds(AnyOf, parts=st.lists(t, max_size=3).map(tuple)),
        st.builds(Not, part=t),
    ),
    max_leaves=12,
)


@given(value=filters, row=rows)
@settings(max_examples=300, deadline=None)
def test_a_parsed_filter_means_what_its_object_says(value: dict[str, Any], row: Row) -> None:
    assert tree_fits(parse_filter(value), row) == fits(value, row)


@given(tree=trees, row=rows)
@settings(max_examples=300, deadline=None)
def test_the_normal_form_means_the_same(tree: Filter, row: Row) -> None:
    normal = normalise(tree)
    assert tree_fits(normal, row) == tree_fits(tree, row)
    assert normalise(normal) == normal


def nodes(tree: Filter) -> list[Filter]:
    below = (tree.part,) if isinstance(tree, Not) else tree.parts if isinstance(tree, All | AnyOf) else ()
    return [tree, *(node for part in below for node in nodes(part))]


@given(tree=trees)
@settings(max_examples=200, deadline=None)
def test_the_normal_form_holds_no_needless_node(tree: Filter) -> None:
    normal = normalise(tree)
    for node in nodes(normal):
        if isinstance(node, Not):
            assert not isinstance(node.part, Not)
        if isinstance(node, All | AnyOf):
            assert len(node.parts) != 1
            assert len(set(node.parts)) == len(node.parts)
            assert not any(isinstance(part, type(node)) for part in node.parts)
    assert size_of(normal)[0] <= size_of(tree)[0]


def test_both_takes_all_of_the_trees_and_leaves_none_out() -> None:
    kind, tag = In(field="kind", values=("fix",)), In(field="tag", values=("x",))
    assert both(kind, None, tag) == All(parts=(kind, tag))
    assert both(None, kind) == kind
    assert both(None) == NOTHING


@pytest.mark.parametrize("field", [*FIELDS, "time"])
def test_a_mention_is_found_anywhere_in_the_tree(field: str) -> None:
    leaf = Between(field="time") if field == "time" else In(field=field, values=("x",))
    tree = All(parts=(Glob(field="other", pattern="*"), Not(part=AnyOf(parts=(leaf,)))))
    assert mentions(tree, field)
    assert not mentions(tree, "nowhere")
    assert not mentions(None, field)


def test_the_estimator_gets_nested_tuples_with_both_ends_included() -> None:
    tree = All(
        parts=(
            AnyOf(parts=(In(field="kind", values=("fix",)), Glob(field="path", pattern="*.py"))),
            Not(part=Between(field="time", low=3, high=10)),
            Between(field="time", low=4),
        )
    )
    assert as_tuples(tree) == (
        "and",
        [
            ("or", [("in", "kind", ["fix"]), ("glob", "path", "*.py")]),
            ("not", ("range", "time", 3, 9)),
            ("range", "time", 4, None),
        ],
    )
    assert as_tuples(NOTHING) == ("all",)


def test_size_counts_conditions_and_levels() -> None:
    leaf = In(field="kind", values=("fix",))
    assert size_of(leaf) == (1, 0)
    assert size_of(NOTHING) == (0, 1)
    assert size_of(Not(part=All(parts=(leaf, Not(part=leaf))))) == (2, 3)
