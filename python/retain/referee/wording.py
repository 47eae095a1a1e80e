"""Words, sentences, references and identifiers of commit messages, as the definition of the sets needs them.

Made apart from the product's own text handling: who judges must not share the blind spots of the judged.
"""

from __future__ import annotations

import re

STOP_WORDS = frozenset(
    """
    a about after all also an and any are as at be because been before being both but by can could did do does
    don for from had has have he here how i if in into is it its just let like make makes made may more most
    much must my new no not now of off on one only or other our out over per same see she should so some such
    than that the their them then there these they this those through to too under until up us use used uses
    using very was way we were what when where which while who why will with without would you your
    """.split()
)

QUERY_CHARS_MAX = 400
SENTENCE_WORDS_MIN = 6
"""A first sentence with fewer content words takes the next one with it."""

_REFERENCE = re.compile(
    r"\s*\((?:(?:closes?|fix(?:es)?|refs?|see|gh|pr|pull|issue)?\s*:?\s*(?:[\w.-]+/[\w.-]+)?(?:gh-|#)\d+[,;\s]*)+\)"
    r"|(?:[\w.-]+/[\w.-]+)?#\d+\b|\bgh-\d+\b|https?://\S+/(?:issues|pull|commit)/[\w#/-]+",
    re.IGNORECASE,
)
_TRAILER = re.compile(
    r"^\s*(?:co-authored-by|signed-off-by|reviewed-by|acked-by|change-id|cc|tested-by|reported-by|pull request:?"
    r"|\(cherry[ -]picked from|git-svn-id|--hg--|closes:?|fixes:?|refs?:?|resolves:?|---------)"
    r"\s*(?:[:#(<]|commit|$|\S*$).*$"
    r"|^(?:extra|rename|branch|transplant_source|amend_source)\s+:\s.*$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`\"'(*])")
_IDENTIFIER = re.compile(
    r"`([^`\s]{3,80})`"
    r"|(?<![\w/.-])(--[a-z][\w-]+)"
    r"|(?<!\w)([A-Za-z]\w*(?:\.[A-Za-z_]\w+)+|[A-Za-z]\w*_\w+|_+[A-Za-z]\w+|[A-Z]?[a-z]+[A-Z]\w+|[A-Z]{2,}[a-z]\w+)"
)


def without_references(text: str) -> str:
    """The text without numbers of issues and pull requests, and without trailers."""
    lines = _REFERENCE.sub("", _TRAILER.sub("", text)).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, lower-case and without the commonest endings."""
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(_stem(word) for word in words if word not in STOP_WORDS)


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def first_sentences(body: str) -> str:
    """The first sentence of a body, and the second where the first is short; not of code or quotes."""
    for paragraph in re.split(r"\n\s*\n", body):
        lines = [line for line in paragraph.splitlines() if not line.startswith(("    ", "\t", ">", "```"))]
        text = " ".join(" ".join(lines).split()).lstrip("*-+• ")
        if len(content_words(text)) < 3:
            continue
        sentences = _SENTENCE_END.split(text)
        chosen = sentences[0]
        if len(content_words(chosen)) < SENTENCE_WORDS_MIN and len(sentences) > 1:
            chosen += " " + sentences[1]
        return chosen if len(chosen) <= QUERY_CHARS_MAX else chosen[:QUERY_CHARS_MAX].rpartition(" ")[0]
    return ""


def identifiers(text: str) -> frozenset[str]:
    """Names of code in a text, lower-case: in backticks, dotted, with underscores, in camelCase, flags."""
    return frozenset(next(filter(None, found)).strip("`()").lower() for found in _IDENTIFIER.findall(text))
