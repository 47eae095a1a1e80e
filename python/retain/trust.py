"""How far a memory may be believed: tiers, set by the channel that brought it in.

A tier says who could have written the text, not whether it is true. What was made of several things has the lowest of
their tiers. Only what is better than ``untrusted`` is ever put before a model unasked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from retain.model import In

TRUSTS: tuple[str, ...] = ("untrusted", "claimed", "observed", "confirmed", "user")
"""From the lowest to the highest.

``untrusted``: text of tools, of the web, of imports, and whatever was made where such text had been read.
``claimed``: said by the assistant in a session that had read nothing of the kind.
``observed``: seen by a hook: an exit code, a change of a file, the lines of an error.
``confirmed``: accepted by the user in the review. ``user``: typed by the user.
"""

UNTRUSTED, CLAIMED, OBSERVED, CONFIRMED, USER = TRUSTS

BY_ORIGIN: Mapping[str, str] = {
    "user": USER,
    "hook": OBSERVED,
    "assistant": CLAIMED,
    "tool": UNTRUSTED,
    "import": UNTRUSTED,
}

TOLD_UNASKED = In(field="trust", values=TRUSTS[1:])
"""The filter of everything that is put before a model without a question for it."""

_LETTERS = "bcdfghjkmnpqrstv"


def lowest(*trusts: str | None) -> str:
    """The lowest of some tiers; None is left out.

    Raises:
        ValueError: no tier at all.
    """
    return min((one for one in trusts if one is not None), key=TRUSTS.index)


def may_be_told(trust: str) -> bool:
    """Whether a memory of this tier may be put before a model unasked."""
    return trust != UNTRUSTED


def boundary_of(secret: str, session: str) -> str:
    """The word between which memories are quoted in a session: the same there always, and not to be guessed."""
    data = hashlib.blake2b(session.encode("utf-8", "replace"), key=secret.encode()[:64], digest_size=6)
    return "".join(_LETTERS[byte >> 4] + _LETTERS[byte & 15] for byte in data.digest())


def bands_of(words: Sequence[str]) -> tuple[bytes, ...]:
    """Marks of which two texts share at least one if they differ in few words; none for short texts."""
    parts: tuple[list[str], ...] = ([], [], [])
    for word in sorted(set(words)):
        parts[hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=1).digest()[0] % 3].append(word)
    return tuple(
        bytes([place]) + hashlib.blake2b("\0".join(part).encode("utf-8", "replace"), digest_size=8).digest()
        for place, part in enumerate(parts)
        if len(part) > 1
    )
