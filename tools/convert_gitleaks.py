"""Converts the rules of gitleaks (MIT) to the table that the core carries.

    python tools/convert_gitleaks.py PATH_OF_GITLEAKS_TOML rust/core/src/redact/gitleaks.rules

A rule of the form "name, a few characters, operator, secret" becomes `near`: the engine walks from the name to the
secret by itself. All others stay regular expressions. What a rule allows by its value is kept; keys that it
allows one by one are kept as hashes, so that no scanner finds them here. Rules about file names are left out.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HEAD = "(?i)[\\w.-]{0,50}?(?:"
MIDDLE = ")(?:[ \\t\\w.-]{0,20})[\\s'\"]{0,3}(?:=|>|:{1,3}=|\\|\\||:|=>|\\?=|,)[\\x60'\"\\s=]{0,5}("
ENDS = "(?:[\\x60'\"\\s;]|\\\\[nr]|$)"
ENDS_SPOKEN = "(?:[\\x60'\"\\s;,:)\\]<>}&]|\\.(?:\\s|$)|\\\\[nr]|$)"
"""What may follow a secret where it stands alone: in prose, a sign of punctuation too."""
TAIL = ")" + ENDS
LITERAL = re.compile(r"[\w -]+(?:\|[\w -]+)*\Z")
WHOLE_KEY = re.compile(r"AIz[\w-]{30,}\Z")
GENERIC = "generic-api-key"
UNSURE = (GENERIC, "hashicorp-tf-password")
"""Rules that take any value beside a name, and so need what is known of values that are no secrets."""


def fields(rule: dict[str, Any]) -> list[str]:
    pattern = rule["regex"]
    near = pattern.startswith(HEAD) and pattern.endswith(TAIL) and pattern.count(MIDDLE) == 1
    names, _, secret = pattern[len(HEAD) : -len(TAIL)].partition(MIDDLE)
    if near and LITERAL.match(names) and ")" not in secret:
        keywords = [name.lower() for name in names.split("|")]
        lines = [f"near {secret}"]
    elif rule["id"] == GENERIC:
        keywords = rule["keywords"]
        lines = [f"near {secret}"]
    else:
        keywords = rule["keywords"]
        lines = [f"pattern {rust(spoken(pattern))}"]
    lines = [f"keyword {keyword.lower()}" for keyword in keywords] + lines
    if rule["id"] in UNSURE:
        lines.append("filter value")
    if rule["id"] == GENERIC:
        lines.append("allow_match (?i)websocket-(?:key|accept)")
    if "entropy" in rule:
        lines.append(f"entropy {rule['entropy']}")
    if "secretGroup" in rule:
        lines.append(f"group {rule['secretGroup']}")
    for allowed in rule.get("allowlists", []):
        lines += allowances(allowed)
    return lines


def allowances(allowed: dict[str, Any]) -> list[str]:
    if allowed.get("condition") == "AND" or "paths" in allowed:
        return []
    target = allowed.get("regexTarget", "secret")
    lines = []
    for pattern in allowed.get("regexes", []):
        if WHOLE_KEY.match(pattern):
            lines.append(f"known {hashlib.sha256(pattern.encode()).hexdigest()[:16]}")
        else:
            lines.append(f"allow_{target} {rust(pattern)}")
    return lines + [f"stop {word}" for word in allowed.get("stopwords", [])]


def spoken(pattern: str) -> str:
    """The pattern where a token may end a sentence or a clause, and where no group is a mere part of the secret."""
    pattern = re.sub(r"\((?!\?)([^()]*\)\{)", r"(?:\1", pattern).replace(ENDS, ENDS_SPOKEN)
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


def rust(pattern: str) -> str:
    """Braces that Go takes literally are escaped."""
    return re.sub(r"(?<!\\)\{(?!\d+(?:,\d*)?\})", r"\\{", pattern)


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    lines = ["# Made by tools/convert_gitleaks.py from the rules of gitleaks; MIT, see THIRD-PARTY.md."]
    for rule in tomllib.loads(source.read_text())["rules"]:
        if "regex" in rule:
            lines += ["", f"rule {rule['id'].replace('-', '_')}", *fields(rule)]
    out.write_text("\n".join(lines) + "\n")
    print(f"{sum(line.startswith('rule ') for line in lines)} rules")


if __name__ == "__main__":
    main()
