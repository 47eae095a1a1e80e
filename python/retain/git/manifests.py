"""Which commands and which versions of dependencies the manifests of a repository name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from retain.git.source import Source

_REQUIREMENT = re.compile(
    r"""^\s*["']?(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*\(?\s*(?P<spec>(?:[<>=!~]=?=?\s*[\w.*+!-]+\s*,?\s*)+)"""
)
_LISTED = re.compile(
    r"""["'](?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*\(?(?P<spec>[<>=!~]=[^"';)]*|[<>][^"';)]*)\)?(?:\s*;[^"']*)?["']"""
)
_GO_REQUIRE = re.compile(r"(?m)^\s*(?:require\s+)?(?P<name>[\w.-]+\.[\w.-]+/\S+)\s+(?P<spec>v\d\S*)")
_TARGET = re.compile(r"(?m)^(?P<names>[A-Za-z0-9_./ -]+?)\s*:(?![=:])")
_TOX = re.compile(r"(?m)^\[testenv:(?P<name>[\w.-]+)\]")
_SETUP_SCRIPT = re.compile(r"""["']?(?P<name>[\w.-]+)["']?\s*=\s*["']?[\w.]+:[\w.]+""")

MANIFESTS = (
    "package.json", "pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "Makefile", "justfile", "Cargo.toml",
    "go.mod", "requirements.txt",
)  # fmt: skip
"""Where commands and dependencies are looked for when a memory names no file for them."""


def plain_spec(spec: str) -> str:
    """A requirement without spaces and quotes, its parts in order: two that ask for the same are equal."""
    parts = re.sub(r"[\s\"'()]", "", spec).strip(",").split(",")
    return ",".join(sorted(part for part in parts if part))


def plain_name(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def versions_in(source: Source) -> dict[str, set[str]]:
    """Requirements by the name of the package: what each manifest asks for."""
    base = source.path.rsplit("/", 1)[-1]
    found: dict[str, set[str]] = {}
    for name, spec in _required(base, source.text):
        if spec := plain_spec(spec):
            found.setdefault(plain_name(name), set()).add(spec)
    return found


def _required(base: str, text: str) -> Iterator[tuple[str, str]]:
    if base == "package.json":
        data = _json(text)
        for part in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
            yield from _strings(data.get(part))
    elif base == "Cargo.toml":
        yield from _cargo(_toml(text))
    elif base == "go.mod":
        yield from ((match["name"], match["spec"]) for match in _GO_REQUIRE.finditer(text))
    elif base.endswith((".txt", ".in")):
        yield from _lines(text)
    elif base in {"pyproject.toml", "setup.py", "setup.cfg", "tox.ini"}:
        yield from ((match["name"], match["spec"]) for match in _LISTED.finditer(text))
        if base.endswith(("cfg", "ini")):
            yield from _lines(text)
        if base == "pyproject.toml":
            poetry = _mapping(_mapping(_toml(text).get("tool")).get("poetry"))
            for group in (poetry, *_mapping(poetry.get("group")).values()):
                yield from _strings(_mapping(group).get("dependencies"))
                yield from _strings(_mapping(group).get("dev-dependencies"))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Requirements that stand on lines of their own, or behind the name of an option."""
    for line in text.splitlines():
        told = line.split(" = ", 1)[-1]
        if match := _REQUIREMENT.match(told.split(" #")[0]):
            yield match["name"], match["spec"]


def _cargo(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    places = [data, data.get("workspace", {}), *_mapping(data.get("target")).values()]
    for place in places:
        for part in ("dependencies", "dev-dependencies", "build-dependencies"):
            yield from _strings(_mapping(place).get(part))


def _strings(table: Any) -> Iterator[tuple[str, str]]:
    for name, value in _mapping(table).items():
        spec = value.get("version") if isinstance(value, Mapping) else value
        if isinstance(spec, str):
            yield name, spec


def commands_in(source: Source) -> set[str]:
    """How the commands that a manifest defines are called."""
    base = source.path.rsplit("/", 1)[-1]
    text = source.text
    if base == "package.json":
        scripts = _mapping(_json(text).get("scripts"))
        return {f"{tool} run {name}" for name in scripts for tool in ("npm", "yarn", "pnpm")}
    if base in {"Makefile", "makefile", "GNUmakefile"}:
        names = (name for match in _TARGET.finditer(text) for name in match["names"].split())
        return {f"make {name}" for name in names if not name.startswith(".")}
    if base == "justfile":
        return {
            f"just {match['names'].split()[0]}" for match in _TARGET.finditer(text) if match["names"].strip()
        }
    if base == "tox.ini":
        return {f"tox -e {match['name']}" for match in _TOX.finditer(text)}
    if base == "pyproject.toml":
        data = _toml(text)
        scripts = {**_mapping(_mapping(data.get("project")).get("scripts")),
                   **_mapping(_mapping(_mapping(data.get("tool")).get("poetry")).get("scripts"))}  # fmt: skip
        return set(scripts)
    if base in {"setup.py", "setup.cfg"}:
        return {match["name"] for match in _SETUP_SCRIPT.finditer(text)}
    if base == "Cargo.toml":
        bins = _toml(text).get("bin")
        named = (
            [one.get("name") for one in bins if isinstance(one, Mapping)] if isinstance(bins, list) else []
        )
        return {f"cargo run --bin {name}" for name in named if isinstance(name, str)}
    return set()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(text: str) -> Mapping[str, Any]:
    try:
        return _mapping(orjson.loads(text))
    except ValueError:
        return {}


def _toml(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
