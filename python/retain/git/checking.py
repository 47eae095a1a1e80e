"""Whether a claim still holds in a tree, and where what it speaks of went if it does not."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retain.git.claims import COMMAND, CONSTANT, DEPENDENCY, LINE, PATH, SYMBOL, TEST, Claim, locate
from retain.git.manifests import plain_name, versions_in
from retain.git.source import Source, language_of
from retain.git.trees import Tree, Unreadable

FRESH, DRIFTED, STALE, ORPHANED, UNVERIFIABLE = "fresh", "drifted", "stale", "orphaned", "unverifiable"

SIMILAR_LINE = 0.6
LINES_COMPARED = 2_000
FILES_SEARCHED = 400
"""Files of the same language in which a symbol that has gone is looked for."""
VALUE_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of a claim.

    Attributes:
        state: ``fresh``, ``drifted`` (changed or moved, and it is known to what), ``stale`` (gone), ``orphaned``
            (gone with its file) or ``unverifiable``.
        note: what is so now, in a few words.
        path: where it is now; empty where that is as it was, or not known.
        before, after: what changed, as it was and as it is.
    """

    state: str
    note: str = ""
    path: str = ""
    before: str = ""
    after: str = ""

    def diff(self) -> str:
        """The change as two lines; empty where only the place changed."""
        return f"- {self.before}\n+ {self.after}" if self.before or self.after else ""


HOLDS = Finding(state=FRESH)


def check(claim: Claim, tree: Tree, renamed: Callable[[str], str] | None = None) -> Finding:
    """What became of a claim in a tree.

    Args:
        claim: true somewhere before.
        tree: the files as they are.
        renamed: gives the new path of a file that has gone, or nothing; None looks nowhere else, which is quicker.
    """
    try:
        if locate(claim, tree) is not None:
            return HOLDS
        if claim.kind == PATH or not tree.stamp(claim.path):
            return _elsewhere(claim, tree, renamed)
        source = tree.source(claim.path)
    except Unreadable as error:
        return Finding(state=UNVERIFIABLE, note=f"{claim.path}: {error}")
    return _changed(claim, source, tree, search=renamed is not None)


def _elsewhere(claim: Claim, tree: Tree, renamed: Callable[[str], str] | None) -> Finding:
    """A file that has gone: what was in it may be in the file that it became."""
    new = renamed(claim.path) if renamed else ""
    if not new:
        if renamed and claim.kind in {SYMBOL, TEST} and (found := _searched(claim, tree)):
            return Finding(state=DRIFTED, note=f"{claim.name} is in {found} now", path=found)
        return Finding(state=ORPHANED, note=f"{claim.path} is gone")
    if claim.kind == PATH:
        return Finding(state=DRIFTED, note=f"{claim.path} is {new} now", path=new)
    moved = Claim(kind=claim.kind, path=new, name=claim.name, value=claim.value)
    try:
        if locate(moved, tree) is not None:
            return Finding(state=DRIFTED, note=f"{claim.path} is {new} now", path=new)
        return _changed(moved, tree.source(new), tree, search=True)
    except Unreadable as error:
        return Finding(state=UNVERIFIABLE, note=f"{new}: {error}")


def _changed(claim: Claim, source: Source | None, tree: Tree, *, search: bool) -> Finding:
    if source is None:
        return Finding(state=STALE, note=f"{claim.path} is no file any more")
    if claim.kind == LINE:
        return _line(claim, source)
    if claim.kind in {CONSTANT, DEPENDENCY}:
        return _value(claim, source)
    if claim.kind in {SYMBOL, TEST} and search and (found := _searched(claim, tree)):
        return Finding(state=DRIFTED, note=f"{claim.name} is in {found} now", path=found)
    what = "defined in" if claim.kind != COMMAND else "a command of"
    return Finding(state=STALE, note=f"{claim.name} is no longer {what} {claim.path}")


def _line(claim: Claim, source: Source) -> Finding:
    lines = [line.strip() for line in source.text.splitlines()[:LINES_COMPARED]]
    near = difflib.get_close_matches(claim.value, [line for line in lines if line], n=1, cutoff=SIMILAR_LINE)
    if near:
        after = near[0][:VALUE_SHOWN]
        return Finding(
            state=DRIFTED, note=f"{claim.path} has now: {after}", before=claim.value, after=near[0][:240]
        )
    return Finding(state=STALE, note=f"{claim.path} no longer has: {claim.value[:VALUE_SHOWN]}")


def _value(claim: Claim, source: Source) -> Finding:
    if claim.kind == CONSTANT:
        now = source.values_of(claim.name)[:3]
    else:
        now = sorted(versions_in(source).get(plain_name(claim.name), set()))[:3]
    if not now:
        return Finding(state=STALE, note=f"{claim.name} is no longer in {claim.path}")
    shown = " or ".join(now)[:VALUE_SHOWN]
    return Finding(
        state=DRIFTED, note=f"{claim.name} is {shown} now, was {claim.value[:VALUE_SHOWN]}",
        before=f"{claim.name} = {claim.value}", after=f"{claim.name} = {shown}",
    )  # fmt: skip


def _searched(claim: Claim, tree: Tree) -> str:
    """The only other file of the same language that defines a symbol; empty where there is none or more than one."""
    language = language_of(claim.path)
    names = [name for name in tree.names() if name != claim.path and language_of(name) == language]
    names.sort(key=lambda name: (-_shared(name, claim.path), name))
    found = []
    for name in names[:FILES_SEARCHED]:
        try:
            source = tree.source(name)
        except Unreadable:
            continue
        if source is not None and source.line_of(claim.name):
            found.append(name)
            if len(found) > 1:
                return ""
    return found[0] if found else ""


def _shared(one: str, other: str) -> int:
    """How many folders two paths have in common."""
    count = 0
    for mine, yours in zip(one.split("/")[:-1], other.split("/")[:-1], strict=False):
        if mine != yours:
            break
        count += 1
    return count


def worst(findings: Sequence[Finding]) -> Finding:
    """The state of a memory by those of its claims.

    ``stale`` where nothing of what it says holds any more, ``orphaned`` where all went with their files, ``drifted``
    where some of it changed or moved.
    """
    known = [one for one in findings if one.state != UNVERIFIABLE]
    if not known:
        return next(iter(findings), HOLDS)
    broken = [one for one in known if one.state != FRESH]
    if not broken:
        return HOLDS
    order = {DRIFTED: 0, STALE: 1, ORPHANED: 2}
    note = "; ".join(dict.fromkeys(one.note for one in sorted(broken, key=lambda one: order[one.state])))
    if len(broken) == len(known) and all(one.state == ORPHANED for one in broken):
        state = ORPHANED
    elif len(broken) == len(known) and all(one.state in {STALE, ORPHANED} for one in broken):
        state = STALE
    else:
        state = DRIFTED
    return Finding(state=state, note=note)
