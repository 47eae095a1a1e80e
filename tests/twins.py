"""Slow and plain twins of what the package does quickly: a glob, and a filter tree over one memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from retain.model import All, AnyOf, Between, Filter, In, Not


def glob_twin(pattern: str, path: str) -> bool:
    """Whether a path fits a pattern, part by part."""
    if "/" not in pattern:
        return _part_fits(pattern, path.rsplit("/", maxsplit=1)[-1])
    return _parts_fit(*(text.removeprefix("/").rstrip("/").split("/") for text in (pattern, path)))


def holds(tree: Filter, values: Callable[[str], Sequence[str]], time_us: int) -> bool:
    """Whether a memory fits a filter.

    Args:
        tree: the filter.
        values: what the memory has in a field.
        time_us: when it happened.
    """
    if isinstance(tree, All):
        return all(holds(part, values, time_us) for part in tree.parts)
    if isinstance(tree, AnyOf):
        return any(holds(part, values, time_us) for part in tree.parts)
    if isinstance(tree, Not):
        return not holds(tree.part, values, time_us)
    if isinstance(tree, Between):
        return (tree.low is None or time_us >= tree.low) and (tree.high is None or time_us < tree.high)
    if isinstance(tree, In):
        return any(value in tree.values for value in values(tree.field))
    return any(glob_twin(tree.pattern, value) for value in values(tree.field))


def _part_fits(glob: str, text: str) -> bool:
    return re.fullmatch(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None


def _parts_fit(globs: list[str], parts: list[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_parts_fit(globs[1:], parts[n:]) for n in range(len(parts) + 1))
    return bool(parts) and _part_fits(globs[0], parts[0]) and _parts_fit(globs[1:], parts[1:])
