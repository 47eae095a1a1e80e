"""What holds of redaction whatever the text: it is idempotent, it leaves the rest alone, its offsets are right."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from retain.capture.redact import PLACEHOLDER, find, redact, redact_json, rule_names

SAMPLES = Path(__file__).parents[1] / "fixtures" / "gitleaks_samples.txt"
POSITIVES_FOUND_MIN = 0.99
NEGATIVES_OF_OWN_RULE_MAX = 5


def samples() -> dict[str, list[list[str]]]:
    """The samples of gitleaks, made by tools/gitleaks_samples.py: (rule, text), secrets and what looks like some."""
    packed = base64.b85decode("".join(SAMPLES.read_text().split()))
    found: dict[str, list[list[str]]] = json.loads(lzma.decompress(packed))
    return found


PIECES = st.sampled_from(
    [
        "password", "=", ": ", '"', "'", "\n", " ", "the token is ", "--password ", "://", "u:", "@host", "é",
        "→", "🙂",
        "sk-" + "ant-", "gh" + "p_", "AKIA", "eyJ", ".", "Zq8kP2vN5xW3", "hunter2", "[redacted:", "jwt]", "]",
        "<private>", "</private>", "-----BEGIN PRIVATE " + "KEY-----", "-----END PRIVATE " + "KEY-----", "A1b2C3d4",
        "Bearer ", "Authorization: ", "curl -u a:", "api_key", "secret_", "\\n", "`", "{{", "${X}", "\u0130",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=30).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_a_second_call_changes_nothing(text: str) -> None:
    once = redact(text)
    again = redact(once.text)
    assert again.text == once.text
    assert again.counts == {}


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example("curl -u a:password<private>")  # with its placeholder the word before is a secret too
def test_what_is_found_lies_in_order_and_nothing_else_goes(text: str) -> None:
    found = find(text)
    ends = [0, *(one.end for one in found)]
    assert all(end <= one.start < one.end for end, one in zip(ends, found, strict=False))
    assert {one.rule for one in found} <= rule_names()
    replaced = text
    for one in reversed(found):
        replaced = f"{replaced[: one.start]}[redacted:{one.rule}]{replaced[one.end :]}"
    assert redact(text).text == redact(replaced).text
    assert bool(found) == (redact(text).text != text)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.text(alphabet="абв гд é\n", max_size=20))
def test_offsets_count_characters_whatever_stands_before(text: str, before: str) -> None:
    value = "gh" + "p_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6"
    line = f"{before}\n {value} "
    assert [line[one.start : one.end] for one in find(line)] == [value]
    for one in find(text):
        assert 0 <= one.start < one.end <= len(text)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(TEXTS | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=8)
)
def test_json_is_redacted_once_and_keeps_its_shape(value: Any) -> None:
    once = redact_json(value)
    assert redact_json(once.value).value == once.value
    assert type(once.value) is type(value)


def test_half_a_pair_of_surrogates_is_no_failure() -> None:
    text = "\ud800 password = 'Zq8kP2vN5xW3'"
    assert "Zq8k" not in redact(text).text
    assert "Zq8k" not in str(redact_json({"note": text}).value)


def test_the_samples_of_gitleaks_are_found_and_what_only_looks_like_one_stays() -> None:
    known = samples()
    positives, negatives = known["positive"], known["negative"]
    assert len(positives) > 6_000
    missed = [rule for rule, text in positives if not find(text)]
    assert len(missed) <= (1 - POSITIVES_FOUND_MIN) * len(positives), missed
    own = [
        (rule, text) for rule, text in negatives if rule.replace("-", "_") in {one.rule for one in find(text)}
    ]
    assert len(own) <= NEGATIVES_OF_OWN_RULE_MAX, own
    for _, text in (*positives, *negatives):
        once = redact(text).text
        assert redact(once).text == once
        assert all(match["rule"] in rule_names() for match in PLACEHOLDER.finditer(once))
