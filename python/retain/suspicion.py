"""Signs that a text wants to steer a model: orders, forged markup, hidden letters, commands that fetch and run.

A sign never makes a text trusted, and a text without signs is not trusted for it: rules of patterns are easily
evaded, and what may be told unasked is decided by where it came from (``retain.trust``). A sign sends a memory to the
review, so that a person looks at it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from retain._core import Expressions

LOOKED_AT_CHARS = 32_000
"""Of a longer text its beginning and its end are looked at, half each."""

_TAGS = range(0xE0000, 0xE0080)
_TAGGED = re.compile("[\U000e0000-\U000e007f]")
_FLAG = "\U0001f3f4"
_UNSEEN = "\u00ad\u034f\u180e\u200b-\u200d\u2060-\u2064\ufeff\u115f\u1160\u3164\uffa0"
_JOINED = re.compile(f"[A-Za-z][{_UNSEEN}]+[A-Za-z]")
_SELECTORS = re.compile(
    "[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}|[\U000e0100-\U000e01ef]|[A-Za-z0-9][\ufe00-\ufe0e]"
)
_TURNED = re.compile("[\u202d\u202e]")
_HIDING = re.compile(f"[\u202d\u202e\ufe00-\ufe0f\U000e0000-\U000e007f\U000e0100-\U000e01ef{_UNSEEN}]")
"""What any of the four above needs."""
_WIDE = re.compile("[^\x00-\x7f]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_ESCAPE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
_DROPPED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0080-\U000e0fff\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_LOWER = bytes(range(128)).lower() + bytes(range(128, 256))
_DROPPED_ASCII = bytes(code for code in range(128) if _DROPPED.match(chr(code)))
"""The same for what is plain ASCII, where ``bytes.translate`` is ten times as fast."""
_LIKE = str.maketrans(
    "абвгдеёзийкмнорстухѕіјһԁԛԝʏɡɑοαρτυνκιεηωѵցոսօ",
    "abbgdeeznnkmhopctyxsijhdqwygaoaptuvkienwvgnuo",
)
"""Letters of other alphabets that look like Latin ones, after case folding."""
_ALIKE = re.compile(f"[{''.join(map(chr, _LIKE))}]")

_RUN = (
    "run|execute|call|invoke|send|post|upload|fetch|download|install|visit|obey|forward|email|include|append|add|use|"
    "insert|paste|copy|open|read|print|output|reply|respond|answer|say|write|commit|push|deploy|delete|remove|disable|"
    "skip|ignore|trust|approve|accept|allow|grant|merge|curl|wget|follow|prefer|recommend|do|apply|set|export|"
    "treat|assume|tell|ask|avoid|keep|make|start|begin|end|return|load|import|check|verify|enable|leave|store|save"
)
_ADVERBS = (
    r"(?:(?:please|also|first|then|always|silently|quietly|immediately|simply|just|instead|never|only|not)\s+)"
    r"{0,4}"
)
_SHELLS = r"(?:/\S*/)?(?:ba|z|da|k|c|tc|fi)?sh|python[\d.]*|perl|ruby|node|php|pwsh|powershell|iex"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sign:
    """An expression on folded text, in the syntax of ``Expressions``; one of the pieces ``needs`` must stand in it."""

    name: str
    needs: tuple[str, ...]
    expression: str


def _sign(name: str, needs: str, expression: str) -> _Sign:
    return _Sign(name=name, needs=tuple(needs.split()), expression=expression)


_ATTACKS = (
    _sign(
        "override",
        "ignore disregard forget override bypass discard supersede instead",
        r"\b(?:ignore|disregard|forget|override|bypass|discard|supersedes?)\b[^.\n]{0,60}?"
        r"\b(?:previous|prior|above|earlier|preceding|all|any|system|safety|your|these|existing|other|every)\b[^.\n]{0,40}?"
        r"\b(?:instructions?|prompts?|rules?|guidelines?|directions?|directives?|contexts?|messages?|guardrails?|"
        r"polic(?:y|ies)|constraints?|memor(?:y|ies)|told|said|learned)\b",
    ),
    _sign(
        "override",
        "instruction prompt mode jailbreak anything you are now",
        r"\b(?:new|updated|real|actual|hidden|secret|revised)\s+(?:system\s+)?(?:instructions?|prompt|directives?)\b|"
        r"\bsystem\s+(?:override|notice|alert|update|message)\b|\bdeveloper mode\b|\bjailbreak|\bdo anything now\b|"
        r"\byou are now\b|\b(?:reveal|print|repeat|output|show|leak)\b[^.\n]{0,30}\bsystem prompt\b",
    ),
    _sign(
        "markup",
        "< [ ### --- system: assistant: human: begin",
        r"</?\s*(?:system|assistant|human|instructions?|tool_results?|tool_use|function_calls?|function_results?|"
        r"retain[\w:-]*|memor(?:y|ies)|system-reminder|important|antml[\w:]*|invoke|parameter)\b[^>\n]{0,80}>|"
        r"<\|[\w ]{2,30}\|>|\[/?inst\]|<</?sys>>|^\s*#{2,}\s*(?:system|instructions?|assistant)\b|"
        r"^\s*(?:system|assistant|human)\s*:\s*\S|"
        r"\[(?:begin|end|/?memories|/?quoted)\b[^\]\n]{0,60}\]|"
        r"-{3,}\s*(?:begin|end)\b[^\n]{0,40}(?:memor|data|context|system|instruction|document|notes)",
    ),
    _sign(
        "fetch-and-run",
        "curl wget iwr fetch base64 xxd iex",
        rf"\b(?:curl|wget|fetch|iwr|invoke-webrequest|base64|xxd)\b[^\n]{{0,300}}\|\s*(?:sudo\s+)?(?:env\s+)?(?:\w+=\S*\s+)*"
        rf"(?:{_SHELLS})\b|\b(?:{_SHELLS})\s+(?:-\w+\s+)*[\"'`]?(?:<|\$)?\(\s*(?:curl|wget|base64)|"
        r"\beval\b[^\n]{0,20}(?:curl|wget|base64)|\b(?:curl|wget)\b[^\n]{0,200}(?:&&|;)\s*(?:sudo\s+)?(?:chmod \+x|"
        r"(?:ba|z)?sh\s|\./)",
    ),
    _sign(
        "exfiltration",
        "![ <img ]( src= href= javascript: data:",
        r"!\[[^\]\n]{0,300}\]\s*[\(\[]\s*<?(?:[a-z]+:)?/|<\s*(?:img|iframe|script|object|embed|link|svg|video)\b|"
        r"\]\(\s*<?\s*(?:javascript|data|vbscript|file):|\]\(\s*<?\s*https?:/{1,2}[^)\s]*[?&#][^)\s]*"
        r"(?:\{|%7b|\$|data=|token=|secret=|key=|q=|c=|env=)",
    ),
    _sign(
        "exfiltration",
        "secret token password credential key .env environment conversation source history",
        r"\b(?:send|post|upload|exfiltrate|forward|leak|transmit|email|append|include|copy|paste|put|submit|report|share)\b"
        r"[^\n]{0,100}\b(?:secrets?|tokens?|passwords?|credentials?|api[ _-]?keys?|environment|\.?env|ssh keys?|"
        r"private keys?|source code|conversation|history|contents?)\b[^\n]{0,100}\b(?:to|at|into|with)\b[^\n]{0,60}"
        r"(?:https?:|//|\w@\w|\w\.(?:com|net|org|io|dev|example|test|invalid|xyz|ru|cn|sh|co|me|ai|app)\b)",
    ),
    _sign(
        "secrecy",
        "user anyone human silently secretly covertly telling asking informing notifying confirmation mention quietly",
        r"\b(?:do not|don't|never|without)\s+(?:tell|mention|inform|reveal|show|notify|alert|ask|disclose|warn)\w*\b"
        r"[^.\n]{0,40}|\b(?:silently|secretly|covertly|quietly)\s+(?:and\s+)?\w+",
    ),
    _sign(
        "remote-orders",
        "http://  https:// www. hxxp",
        r"\b(?:instructions?|steps|commands?|directives?|prompt|orders|guide|runbook|policy|rules)\b[^\n]{0,60}"
        r"\b(?:at|from|in|on|under|of)\b[^\n]{0,30}(?:https?://|hxxps?|www\.)|"
        r"\b(?:fetch|load|read|download|visit|open|follow|check|consult|get|see|obey|use|go to|browse)\b[^\n]{0,60}"
        r"(?:https?://|hxxps?|www\.)[^\n]{0,80}\b(?:and|then|before|first|for)\b",
    ),
    _sign(
        "encoded-orders",
        "decode rot13 base64 hex",
        r"\b(?:decode|rot13|base64|unhex)\b[^\n]{0,80}\b(?:and|then)\b[^\n]{0,20}\b(?:run|execute|follow|obey|eval|do)\b",
    ),
)

_ORDERS = (
    _sign(
        "standing-order",
        "always never from now henceforth future every each whenever anytime",
        rf"\b(?:always|never|henceforth|from now on|from here on|in future|in the future|going forward)\b[, ]+"
        r"(?:(?:you|we|claude|agents?|sessions?|assistants?)\s+)?"
        rf"(?:(?:must|should|shall|will|have to|need to)\s+)?{_ADVERBS}"
        rf"(?:{_RUN})\b|"
        r"\bin (?:all |every |any )?(?:future|later|coming|next|new) (?:sessions?|conversations?|runs?|chats?)\b|"
        rf"\b(?:every|each) (?:time|session|commit|prompt|answer|response|run)\b[^.\n]{{0,80}}\b(?:{_RUN})\b",
    ),
    _sign(
        "trigger",
        "when if once after before whenever upon unless as",
        r"\b(?:when|whenever|if|once|after|before|upon|on|as soon as|unless|each time|every time)\b[^.\n]{1,120}?"
        rf"(?:,|;|:|->|=>|\bthen\b|\byou (?:must|should|need to|have to|will|shall)\b)\s*{_ADVERBS}(?:{_RUN})\b|"
        rf"^\W{{0,4}}(?:before|after|when|whenever|on|upon|if)\b[^.\n]{{1,80}}\b(?:{_RUN})\s+[`'\"./$~]|"
        rf"\b{_ADVERBS}(?:{_RUN})\b[^.\n]{{1,80}}\b(?:before|after|when|whenever|each time|every time)\s+"
        r"(?:you|any|every|each|the user|asked|committing|deploying|running|pushing|answering|the next)\b",
    ),
    _sign(
        "order",
        "must should shall need have required instructed obliged",
        r"\b(?:you|assistants?|claude|agents?|the model|models|ai|llms?|copilot|sessions?)\s+"
        r"(?:must|should|shall|need to|have to|ought to|will (?:now|always)|"
        r"(?:is|are) (?:required|instructed|obliged|expected|told) to)\b",
    ),
    _sign(
        "order",
        "remember sure forget important required mandatory note necessary crucial urgent",
        r"\b(?:remember|be sure|make sure|ensure|don't forget|do not forget|(?:important|required|mandatory|necessary|"
        rf"crucial|essential|urgent|compulsory)(?::| to| that you))\s+(?:to\s+|that\s+|you\s+)*{_ADVERBS}(?:{_RUN})\b",
    ),
    _sign(
        "memory-order",
        "memory memories remember recommend source",
        r"\b(?:save|store|persist|write|add|put|keep|record)\b[^.\n]{0,60}\b(?:to|in|into)\b[^.\n]{0,30}\bmemor(?:y|ies)\b|"
        r"\b(?:recommend|prefer|suggest|cite|trust|promote)\b[^.\n]{0,80}\b(?:trusted|authoritative|first|best|official|"
        r"preferred|reliable)\b[^.\n]{0,20}\b(?:source|vendor|package|library|choice|provider)",
    ),
)

_COMMANDED = _sign(
    "procedure",
    "run execute call invoke send post upload fetch download install visit obey curl wget sudo paste copy",
    r"^\W{0,6}(?:\d+[.)]\s*)?(?:please\s+|first,?\s+|then,?\s+|next,?\s+|now,?\s+|step \d+:?\s+)*"
    r"(?:run|execute|call|invoke|send|post|upload|fetch|download|install|visit|obey|curl|wget|sudo|paste|copy)\b\s+\S",
)


_SIGNS = (*_ATTACKS, *_ORDERS, _COMMANDED)
_EXPRESSIONS = Expressions([(sign.needs, sign.expression) for sign in _SIGNS])


class Signs:
    """The signs in one text, which is folded once for all of them."""

    __slots__ = ("_flat", "_text")

    def __init__(self, text: str) -> None:
        self._text = text.replace("\u2026", "...")  # what it folds to; a cut title would not be ASCII for it
        self._flat: str | None = None

    def attack(self) -> str:
        """The name of a sign of an attack, whoever said it; empty where there is none."""
        return hidden_in(self._text) or self._first(0, len(_ATTACKS))

    def order(self, *, commands: bool = False) -> str:
        """The name of a sign that the text gives orders; ``commands`` counts sentences that begin with one."""
        return self._first(len(_ATTACKS), len(_SIGNS) - (not commands))

    def _first(self, start: int, stop: int) -> str:
        if self._flat is None:
            self._flat = folded(self._text)
        found = _EXPRESSIONS.first(self._flat, start, stop)
        return "" if found is None else _SIGNS[found].name


def attack_in(text: str) -> str:
    """The name of a sign of an attack, whoever said it; empty where there is none."""
    return Signs(text).attack()


def order_in(text: str, *, commands: bool = False) -> str:
    """The name of a sign that a text gives orders; ``commands`` counts sentences that begin with one."""
    return Signs(text).order(commands=commands)


def hidden_in(text: str) -> str:
    """What hides or disguises letters: tag characters, direction marks, letters of two alphabets in a word."""
    if text.isascii():
        return ""
    text = _ends(text)
    if _HIDING.search(text) and _hides(text):
        return "hidden-text"
    if _ALIKE.search(text.casefold()) and any(_is_mixed(word) for word in _WORD.findall(text)):
        return "disguised-letters"
    return ""


def _hides(text: str) -> bool:
    # The flags of England, Scotland and Wales are written with tag characters, at most six and an end each.
    tags = len(_TAGGED.findall(text))
    if tags > 7 * text.count(_FLAG):
        return True
    return any(sign.search(text) for sign in (_JOINED, _SELECTORS, _TURNED))


def _is_mixed(word: str) -> bool:
    """Whether a word mixes Latin letters with letters of another alphabet that look like them."""
    if word.isascii():
        return False
    plain = sum(char.isascii() for char in word)
    alike = sum(not char.isascii() and ord(char.casefold()[0]) in _LIKE for char in word)
    return bool(plain and alike)


def folded(text: str) -> str:
    """The text as a reader would see it: letters that look alike are one, hidden ones are read or dropped."""
    text = _ends(text)
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    if text.isascii():
        return text.encode().translate(_LOWER, _DROPPED_ASCII).decode()
    if ord(max(text)) >= min(_TAGS):  # asked first: a loop over letters costs a drain much
        text = "".join(chr(ord(char) - 0xE0000) if ord(char) in _TAGS else char for char in text)
    text = unicodedata.normalize("NFKC", _DROPPED.sub("", text))
    text = unicodedata.normalize("NFD", text)
    if any(map(unicodedata.combining, "".join(_WIDE.findall(text)))):
        text = "".join(char for char in text if not unicodedata.combining(char))
    return text.casefold().translate(_LIKE)


def _ends(text: str) -> str:
    half = LOOKED_AT_CHARS // 2
    return text if len(text) <= LOOKED_AT_CHARS else f"{text[:half]}\n{text[-half:]}"


PASTED_CHARS_MIN = 1_500
PASTED_LINES_MIN = 15
_PASTED = re.compile(
    r"```[^\n]*\n(?:[^\n]*\n){3}|(?:^>[^\n]*\n){3}|<(?:html|body|div|p|table)\b|"
    r"^(?:From|Subject|To): \S[^\n]*\n[A-Z][\w-]+: ",
    re.MULTILINE | re.IGNORECASE,
)


def looks_pasted(text: str) -> bool:
    """Whether a prompt holds more than a person types: somebody else may have written that part."""
    return (
        len(text) >= PASTED_CHARS_MIN
        or text.count("\n") >= PASTED_LINES_MIN
        or _PASTED.search(text) is not None
    )
