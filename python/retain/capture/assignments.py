"""Secrets known only by the name beside them: ``password=...``, ``--token ...``, "the password is ...".

The name says that a secret follows; whether one does is decided by the look of the value, since code
speaks of passwords far more often than it holds one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from retain.capture.secret_rules import Rule, Span, is_placeholder
from retain.capture.wording import words

_NAMES = (
    r"password|passwd|passphrase|passcode|pwd|(?<=[_-])pass(?![a-z])|(?<![a-z])pass(?=[\"']?\s?[=:])|passwort|kennwort"
    r"|contrase[nñ]a|пароль|secret|token|credential|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key"
    r"|signing[_-]?key|encryption[_-]?key|account[_-]?key|master[_-]?key|license[_-]?key|app[_-]?key"
)
_STRONG = re.compile(r"(?i)pass|pwd|kennwort|contrase|пароль")
_VALUE = r"""
    (?:[rRbBuUfF]{0,2}
      (?: \\"(?P<escaped>[^"\\\n]{1,1024}+)
        | "(?P<double>(?:[^"\\\n]++|\\.)++)
        | '(?P<single>(?:[^'\\\n]++|\\.)++)
        | `(?P<tick>[^`\n]++)
      )
    | (?P<plain>[^\s"'`,;&|<>(){}\[\]\\]{1,512}+)(?P<after>[(\[{]?)
    )
"""
_ASSIGNMENT = re.compile(
    rf"""(?ix)
    (?P<name>{_NAMES})(?P<tail>[A-Za-z0-9_\-]{{0,32}}+)
    (?P<close>\\?["'`]?\]?)
    (?P<op>\s{{0,8}}:\s{{0,4}}[A-Za-z_][\w.\[\]|]{{0,40}}+(?:\s\|\s[A-Za-z]{{1,20}})?\s{{0,4}}=(?![=>])\s{{0,8}}
      | \s{{0,8}}(?::=|=>|===?|=|:)\s{{0,8}}+
      | ,\s{{0,4}})
    {_VALUE}"""
)
_FLAG = re.compile(
    rf"""(?ix)
    (?<![\w-])--?(?:[a-z0-9]{{1,20}}-){{0,3}}?(?P<name>password|passwd|passphrase|pass|pwd|token|secret|api-?key|access-key|auth-key)
    (?P<tail>(?:-key)?)(?P<close>["']?)(?P<op>,?[ ]{{1,4}}){_VALUE}"""
)
_PROSE = re.compile(
    rf"""(?ix)
    \b(?P<name>password|passphrase|passcode|passwort|kennwort|pin|secret|secret[ ]key
      |token|api[ -]?key|access[ ]key|credentials?)
    (?P<tail>)(?P<close>["'*`]{{0,2}})
    (?P<op>(?:\s(?:for|of|to|on|in|at)(?:\s[\w@./-]{{1,40}}+){{1,5}}?)?
      \s{{1,4}}(?:(?:is|was|are|ist|remains|stays)(?:\s(?:now|still|currently|set[ ]to))?
        |set[ ]to|to|->|→|\u2013|\u2014)\s?:?\s{{1,4}}
      | (?:\s(?:for|of|to|on|in|at)(?:\s[\w@./-]{{1,40}}+){{1,5}}?)?\s?:\s{{1,4}})
    {_VALUE}"""
)

_TAIL_DENIED = re.compile(
    r"(?i)s?[_-]?(?:names?|ids?|urls?|uris?|paths?|files?|filename|fields?|types?|length|len|count|counts|limit|max|min|"
    r"expiry|expires?(?:_?(?:in|at|on))?|expiration|ttl|"
    r"policy|policies|manager|prompt|input|label|labels|hint|error|errors|"
    r"message|msg|regex|pattern|reset|required|enabled|arn|ref|refs|version|provider|helper|service|store|class|form|"
    r"placeholder|env|budget|budgets|usage|size|index|header|headers|strength|title|text|validator|changed|confirmation|"
    r"bucket|rotation|scanning|scanner|endpoint|lifetime|format|kind|status|cost|price|per|ratio|rate|rates|window|"
    r"digest|sha\d*|checksum|fingerprint|algorithm|hasher|hashers|hashing|cache|schema|command|cmd|model|models|"
    r"marker|query|queries|visible|visibility|verified|position|offset|estimate|saved|savings|used|left)[a-z_]*\Z"
)
_HEAD_DENIED = re.compile(
    r"(?i)(?:\A|[_\-. ])"
    r"(?:max|min|num|n|next|page|continuation|sync|cursor|count|total|input|output|prompt|completion|cached|sep|pad|eos|bos"
    r"|unk|mask|stop|special|lex|no|has|is|show|forgot|reset|change|hide|toggle|missing|invalid|bad|wrong|public"
    r"|cancellation|cancel|syntax|current|reasoning|budget|per|first|last|foreign|primary|partition|"
    r"sort|cache|design)[_ -]?\Z"
)
_TYPE_PATH = re.compile(r"::\w{0,40}\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*+(?:(?:\.|->|::|\?\.)[A-Za-z_][\w]*+)*+\Z")
_QUANTITY = re.compile(
    r"(?i)0x[0-9a-f]{1,8}\Z|[\d.,_]++[- ]?"
    r"(?:ms|s|m|h|d|w|kb|mb|gb|k|bits?|bytes?|chars?|characters?|seconds?|minutes?|hours?|days?|weeks?"
    r"|months?|years?|times?|tokens?|words?|digits?|%|x|st|nd|rd|th)?\Z"
)
_TECHNICAL = re.compile(
    r"(?i)(?:sha|md|hs|rs|es|ps|aes|utf|base|oauth|bcrypt|argon|x|v|http|p"
    r"|ed|rfc|ripemd|blake|pbkdf|iso|ipv?|type|option|step|h|s|ec|k8s"
    r"|win|python|py|part|id)[-_]?\d{1,5}(?:[-_./](?:[a-z]{1,10}|\d{1,4}))*+\Z"
)
_LOCATION = re.compile(
    r"(?i)[a-z][a-z0-9+.-]{1,15}:(?!.*[!#$^*]).*/|[~.]{0,2}/[\w.-]{1,30}(?:/[\w.-]{1,40}){1,20}/?\Z|\.{1,2}/"
    r"|[\w-]{1,30}(?:/[\w.-]{1,30}){0,8}/?"
    r"\.(?:py|js|ts|tsx|go|rs|java|json|ya?ml|toml|txt|md|env|pem|crt|key|cfg|ini|sh|sql|html|log)(?::\d+)*+\Z"
    r"|arn:|[\w.+-]{1,64}@[\w-]{1,63}\.[\w.]{2,63}\Z|/[\w.-]{1,40}\Z"
)
_WORDS_ONLY = re.compile(r"(?i)[a-z]++(?:[-_./'\u2019+][a-z]++)*+[.!?…]?\Z")
_UPPER_NAME = re.compile(r"[A-Z][A-Z0-9]*+(?:_[A-Z0-9]++)++\Z")
_SPEAKS_OF_SECRETS = re.compile(r"(?i)passw|secret|token|key|credential|pwd|auth")
_HASH = re.compile(r"(?i)(?:sha\d+|md5|blake\w+)[-:=]")
_FLAG_WORDS = words(
    """
    flag flags option options argument arguments parameter and or to is are was from in for on
    if when with as at by of the a an it this that must should will can cannot not only before
    after into via via: per
    """
)
_YAML_HEAD = re.compile(r"[\s\-#>*\"'+]*(?:[\w.\-]{0,60}?)[\"']?\Z")
_ENV_HEAD = re.compile(r"[A-Z0-9_]*\Z")
_CUT = ".,:;)?"
_HEAD_CHARS = 80
_LONG = 16


def _lowered(text: str) -> str:
    """The text in lower case, character for character, so that positions stay."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in text)


def _starts(text: str, stems: tuple[str, ...]) -> list[int]:
    """Where a stem begins; far cheaper than an alternation tried at each character."""
    lowered = _lowered(text)
    starts = []
    for stem in stems:
        position = lowered.find(stem)
        while position >= 0:
            starts.append(position)
            position = lowered.find(stem, position + len(stem))
    return sorted(starts)


def _find(expression: re.Pattern[str], style: str, stems: tuple[str, ...], text: str) -> Iterator[Span]:
    position = 0
    for start in _starts(text, stems):
        found = expression.match(text, start) if start >= position else None
        span = _judge(found, style) if found else None
        if span:
            yield span
            position = span[1]


def _judge(found: re.Match[str], style: str) -> Span | None:
    """The span of the secret in a match, or None where the value does not look like one."""
    group = found.lastgroup if found.lastgroup != "after" else "plain"
    if group is None or _about_secrets(found):
        return None
    start, end = found.span(group)
    value = found[group]
    if group == "plain":
        value = value.rstrip(_CUT)
        end = start + len(value)
        fits = bool(value) and not found["after"] and _plain_secret(value, found, style)
    else:
        fits = _quoted_secret(value, found, style)
    return (start, end) if fits else None


def _about_secrets(found: re.Match[str]) -> bool:
    """Whether the name speaks of a secret's property (``token_count``, ``max_tokens``), not of a secret."""
    tail = found["tail"]
    speaks = tail[:1].islower() or (tail and _TAIL_DENIED.match(tail))
    if speaks and not found["name"].lower().startswith("cred"):
        return tail != "s" or found["op"].strip() != "="
    head = _head(found)
    return _HEAD_DENIED.search(head) is not None or _TYPE_PATH.search(head) is not None


def _head(found: re.Match[str]) -> str:
    """What stands on the line before the name."""
    before = found.string[max(0, found.start() - _HEAD_CHARS) : found.start()]
    return before[before.rfind("\n") + 1 :]


def _quoted_secret(value: str, found: re.Match[str], style: str) -> bool:
    if len(value) < 4 or is_placeholder(value) or _is_known_shape(value):
        return False
    if any(char.isspace() for char in value):
        return found["name"].lower() == "passphrase" and _is_phrase(value)
    if found["op"].strip() == ",":
        return bool(found["close"]) and _is_random(value)
    strong = _STRONG.search(found["name"]) is not None
    if style == "prose" and value.isidentifier() and not _is_random(value):
        return False
    if _IDENTIFIER.match(value):
        return _named_secret(value, strong=strong)
    if _WORDS_ONLY.match(value):
        return strong and "-" in value and not _SPEAKS_OF_SECRETS.search(value)
    return not _QUANTITY.match(value) or (strong and value.isdecimal() and len(value) >= 4)


def _named_secret(value: str, *, strong: bool) -> bool:
    """Whether a quoted identifier is a secret and not the name of one."""
    if _is_random(value):
        return True
    if "." in value or "_" in value or "::" in value or _SPEAKS_OF_SECRETS.search(value):
        return False
    digits = sum(char.isdigit() for char in value)
    return strong or digits >= 2 or (len(value) >= 8 and _alternates(value))


def _alternates(value: str) -> bool:
    """Whether upper and lower case alternate inside, unlike in a name."""
    changes = sum(a.isupper() != b.isupper() for a, b in pairwise(value))
    return changes >= len(value) / 3


def _plain_secret(value: str, found: re.Match[str], style: str) -> bool:
    if len(value) < 4 or value[0] in "-=:.@" or is_placeholder(value) or _is_known_shape(value):
        return False
    strong = _STRONG.search(found["name"]) is not None
    if _QUANTITY.match(value):
        return strong and value.isdecimal() and len(value) >= 6
    if _is_environment(found):
        return strong or not _WORDS_ONLY.match(value) or len(value) >= _LONG
    if found["op"].strip() == ",":
        return style == "flag" and _is_random(value)
    if _WORDS_ONLY.match(value) or (value.isidentifier() and not any(c.isdigit() for c in value)):
        return strong and _stands_alone(value, found, style)
    if _IDENTIFIER.match(value):
        return _identifier_secret(value)
    return len(value) >= 6 and not _is_code(value)


def _identifier_secret(value: str) -> bool:
    """Whether an unquoted identifier with a digit is a secret and not a variable."""
    digits = sum(char.isdigit() for char in value)
    if "." in value or "->" in value or "::" in value:
        return _is_random(value)
    if "_" in value or _SPEAKS_OF_SECRETS.search(value):
        return (_is_random(value) and "_" in value) or (digits >= 2 and value[-2:].isdigit())
    return len(value) >= 6 and digits >= 1


def _is_code(value: str) -> bool:
    return bool(
        re.match(r"[A-Za-z_][\w.]*+(?:[-+*/%=!]=?|\?\.|\?\?|->)[A-Za-z_][\w.]*+\Z", value)
    ) and not _is_random(value)


def _stands_alone(value: str, found: re.Match[str], style: str) -> bool:
    """Whether words without a digit are a value: alone on their line, or the last argument of a flag."""
    rest = found.string[found.start("plain") + len(value) : found.start("plain") + len(value) + 3]
    if _SPEAKS_OF_SECRETS.search(value) or value.lower() in _FLAG_WORDS or style == "prose":
        return False
    ends = (
        not rest.strip(" \t\r")
        or rest[:1] in "\r\n"
        or rest.lstrip(" \t").startswith(("\n", "#", "\r", "\\n"))
    )
    if style == "flag":
        return ends or rest.startswith(" -")
    names_a_type = value[:1].isupper() and value.isalpha()
    is_yaml = found["op"].lstrip().startswith(":") and found["op"][-1:].isspace()
    return (
        ends and is_yaml and not names_a_type and not _is_name(value) and bool(_YAML_HEAD.match(_head(found)))
    )


def _is_name(value: str) -> bool:
    """Whether the value is a name in camelCase or with underscores."""
    return "_" in value or (value[:1].islower() and any(c.isupper() for c in value)) or "." in value


def _is_environment(found: re.Match[str]) -> bool:
    """Whether this is ``NAME=value`` of a shell or an env file."""
    if found["op"] != "=" or found["close"]:
        return False
    name = found["name"] + found["tail"]
    head = _head(found)
    return name == name.upper() and bool(_ENV_HEAD.search(head)) and not head.rstrip("_").endswith(".")


def _is_known_shape(value: str) -> bool:
    """Whether the value is a place, a technical term, an env name or a hash that names its algorithm."""
    return bool(
        _LOCATION.match(value) or _TECHNICAL.match(value) or _UPPER_NAME.match(value) or _HASH.match(value)
    )


def _is_random(value: str) -> bool:
    """Whether the value mixes letters, digits and signs as no word does."""
    if len(value) < 6 or _QUANTITY.match(value) or _TECHNICAL.match(value):
        return False
    digits = sum(char.isdigit() for char in value)
    letters = sum(char.isalpha() for char in value)
    signs = len(value) - digits - letters - sum(value.count(char) for char in "_-. ")
    return (digits >= 2 and letters >= 2 and len(value) >= 8) or (digits >= 1 and signs >= 1 and letters >= 2)


def _is_phrase(value: str) -> bool:
    words = value.split()
    return 3 <= len(words) <= 12 and all(word.isalpha() and word.islower() for word in words)


_STEMS = (
    *("pass", "pwd", "kennwort", "contrase", "пароль", "secret", "token", "credential", "api", "access"),
    *("auth", "private", "signing", "encryption", "account", "master", "license", "app"),
)
_PROSE_STEMS = ("pass", "kennwort", "pin", "secret", "token", "api", "access", "credential")
_KEYWORDS = ("pass", "pwd", "kennwort", "contrase", "пароль", "secret", "token", "credential", "key")

ASSIGNMENT_RULES: tuple[Rule, ...] = (
    Rule(name="assignment", keywords=_KEYWORDS, find=partial(_find, _ASSIGNMENT, "code", _STEMS)),
    Rule(
        name="flag", keywords=("--", "-p"), find=partial(_find, _FLAG, "flag", ("--", "-p", "-t", "-s", "-a"))
    ),
    Rule(name="prose", keywords=(*_KEYWORDS, "pin"), find=partial(_find, _PROSE, "prose", _PROSE_STEMS)),
)
"""Run after the marked secrets; order matters as in ``RULES``."""


def names_secret(key: str) -> bool:
    """Whether a key of a mapping says that its value is a secret."""
    found = _KEY.search(_split_camel(key))
    if found is None:
        return False
    return not _TAIL_DENIED.match(found["tail"]) and not _HEAD_DENIED.search(found["head"])


_KEY = re.compile(
    r"(?i)\A(?P<head>(?:.{0,64}[_.\- ])?)(?:password|passwd|passphrase|passcode|pwd|pass|secret|token|credentials?"
    r"|(?:api|access|auth|private|signing|encryption|account|master|secret)[_-]?key)"
    r"(?P<tail>(?:[_-].{0,32})?)\Z"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _split_camel(key: str) -> str:
    return _CAMEL.sub("_", key)
