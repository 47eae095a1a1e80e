"""Globs and identifiers, against slow and plain twins."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retain.storage.text import (
    PARTS_MAX,
    glob_matches,
    identifier_parts,
    indexed,
    literal_prefix,
    mentioned_files,
)
from twins import glob_twin

PATTERNS = st.text("ab/*?.", max_size=12) | st.lists(
    st.sampled_from(["*", "**", "?", "a", "b", "a*", "*b", "a?b", "**a", ""]), max_size=6
).map("/".join)
PATHS = st.text("ab/.", max_size=12) | st.lists(
    st.sampled_from(["a", "b", "ab", "aab", "a.b", ""]), max_size=6
).map("/".join)


@settings(max_examples=800, deadline=None)
@given(PATTERNS, PATHS)
@example("src/**", "src")
@example("/src/*.py", "src/a.py")
@example("src/", "src")
@example("src/*", "/src/a")
@example("**/a/**/b", "a/a/b/b")
def test_a_glob_fits_exactly_where_the_slow_twin_says(pattern: str, path: str) -> None:
    assert glob_matches(pattern, path) == glob_twin(pattern, path)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_breaks_a_glob(pattern: str, path: str) -> None:
    assert glob_matches(pattern, path) == glob_twin(pattern, path)
    assert glob_matches(path, path) or "?" in path or "*" in path


@settings(max_examples=800, deadline=None)
@given(PATTERNS, PATHS)
def test_every_path_that_fits_begins_with_the_literal_prefix(pattern: str, path: str) -> None:
    prefix = literal_prefix(pattern)
    if glob_twin(pattern, path):
        assert path.startswith((prefix, "/" + prefix))


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("src/app/*.py", "src/app"), ("src/ap?/x", "src/ap"), ("/src/**", "src"), ("src/", "src"),
     ("src/a.py", "src/a.py"), ("*.py", ""), ("name.py", ""), ("**/x", ""), ("/", "")],
)  # fmt: skip
def test_the_literal_prefix_is_as_long_as_it_can_be(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*" * 100_000, True),
        ("*a" * 50_000, False),
        ("a*" * 50_000 + "b", False),
        ("*" + "a" * 500 + "b", False),
        ("?" * 100_000, False),
        ("**/" * 33_333 + "x", False),
        ("**/*a/" * 16_666 + "x", False),
        ("/" * 100_000, False),
    ],
    ids=lambda value: str(value)[:12],
)
def test_no_pattern_takes_long_on_a_path_as_long_as_paths_get(pattern: str, fits: bool) -> None:
    for path in ("a" * 4_096, "a/" * 500 + "a"):
        assert glob_matches(pattern, path) is fits


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("getUserById", ["get", "User", "By", "Id"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("parseJSON", ["parse", "JSON"]),
        ("sha256sum", ["sha", "256", "sum"]),
        ("word", []),
        ("WORD", []),
        ("Word", []),
        ("x1", []),
        ("aB", []),
        ("v2beta", ["beta"]),
    ],
)
def test_identifiers_are_split_at_humps_and_digits(word: str, parts: list[str]) -> None:
    assert identifier_parts(word) == parts


@given(st.text(st.characters(codec="ascii")))
@example("getUser\x1cgetUser2\x85x_y2z")
def test_plain_text_falls_apart_as_any_other(text: str) -> None:
    words = dict.fromkeys(re.findall(r"\w+", text))
    assert indexed(text)[len(text) :].split() == [part for word in words for part in identifier_parts(word)]


def test_indexed_text_keeps_the_original_and_appends_each_identifier_once() -> None:
    assert indexed("plain words only") == "plain words only"
    assert indexed("x1 y2") == "x1 y2"
    assert indexed("getUser or getUser") == "getUser or getUser\nget User"


@pytest.mark.parametrize("text", [" ".join(f"alpha{n}Beta" for n in range(9_000)), "alphaBeta" * 20_000])
def test_the_number_of_parts_is_bounded_for_every_text(text: str) -> None:
    assert len(indexed(text)[len(text) :].split()) == PARTS_MAX


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_indexing_only_ever_appends(text: str) -> None:
    assert indexed(text) == text or indexed(text).startswith(text + "\n")


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("see src/app.py, (docs/a.rst) and app.py.", ("src/app.py", "docs/a.rst", "app.py")),
        ("Files: cart.py (+43 -0), .gitignore (+3 -0), Dockerfile", ("cart.py", ".gitignore", "Dockerfile")),
        ("tests/test_a.py::test_b fails at tests/test_a.py:12", ("tests/test_a.py",)),
        ("https://example.org/a.html and file:///a/b.py", ()),
        ("Node.js 1.2.3, e.g. version 4.md5, ../other/x.py", ()),
        ("fa\u00e7ade/\u6f22\u5b57.py", ("fa\u00e7ade/\u6f22\u5b57.py",)),
        ("", ()),
    ],
)
def test_the_files_that_a_text_names_are_found(text: str, files: tuple[str, ...]) -> None:
    assert mentioned_files(text, 64) == files
    assert mentioned_files(text, 1) == files[:1]


@pytest.mark.parametrize(
    "text", ["a" * 262_144, "a-" * 131_072, "a/" * 131_072, "a." * 131_072, "a.py/" * 50_000]
)
def test_looking_for_files_takes_time_in_proportion_to_the_text(text: str) -> None:
    assert len(mentioned_files(text, 64)) <= 1
