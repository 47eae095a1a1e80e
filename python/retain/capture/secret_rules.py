"""The table of secrets that carry their own mark: a prefix, a header, a place in a URL.

Every rule finds its spans in time linear in the text: no repeat inside a repeat unless possessive, every
open-ended look bounded. A rule runs only where one of its lower-case keywords occurs in the lowered text.
Token shapes follow the issuers' documentation and the gitleaks and betterleaks rule sets (MIT).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from retain.capture.wording import words

Span = tuple[int, int]
Finder = Callable[[str], Iterable[Span]]
Accept = Callable[[re.Match[str]], bool]

GROUP = "s"
"""The group of a pattern that holds the secret; without it the whole match is the secret."""

LOOK_BACK_CHARS = 160
"""How far before a token a rule looks for the word that makes it a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of secret.

    Attributes:
        name: what the placeholder says.
        keywords: lower-case substrings, one of which must occur.
        find: yields the spans to replace, in order, not overlapping.
    """

    name: str
    keywords: tuple[str, ...]
    find: Finder


_MASKED = re.compile(r"x{4}|X{4}|\*{3}|\.{3}|…|•{3}|(?<![A-Za-z0-9])y{4,}")
_ENVIRONMENT = re.compile(
    r"(?i)process\.env|os\.environ|getenv|import\.meta\.env|\benv[.(\[]|\bsecrets\.|\bvault:|\bvar\.|ENC\["
)
_TEMPLATE = re.compile(
    r"\$[A-Za-z_]\w*+\Z|\$\{|\$\(|\{\{|\{[^{}]*+\}|<[^<>]*+>|%[sd]\Z|%\(|%\w++%|#\{|@@|\[redacted:|\$env:|!vault|\\?\Z"
)
_STAND_IN = re.compile(
    r"(?i)(?:an?|your|my|the|some|insert|enter|replace|put|use|add|new|paste|provide|set)[-_ ]"
    r"(?:[a-z]{1,20}[-_ ]){0,4}(?:here|token|key|secret|passw(?:or)?d|value|pw|pass|it|me)\Z"
    r"|(?:your|my|the)(?:api|access|secret|auth|private)?(?:token|key|secret|passw(?:or)?d)(?:here)?\Z"
    r"|(?:[a-z]{1,12}[-_ ]){1,3}(?:here|placeholder)\Z"
)
_WORDS = words(
    """
    access admin_password api_key apikey auth bar baz bearer basic changeit changeme change-me
    change_me config credential credentials default demo dev development disabled dummy empty
    enabled env example examplekey fake false foo foobar hidden invalid key local localhost
    masked missing mock mypassword nil no none null off ok on optional pass passwd password
    passphrase placeholder private prod production prompt public pw pwd redacted refresh removed
    required sample secret secretkey set staging stdin str string tbd test testing todo token
    true undefined unset user username valid value yes yourpassword input text hash encrypted
    expired rotated number boolean bool int integer any object unknown never bytes secretstr
    optional[str] char varchar void
    """
)
_VARIETY_MIN = 3


def is_placeholder(value: str) -> bool:
    """Whether a value stands for a secret instead of being one: a template, a variable, a dummy word."""
    bare = value.strip().lower()
    return (
        bare in _WORDS
        or len(set(bare)) < _VARIETY_MIN
        or _TEMPLATE.match(value.strip()) is not None
        or _MASKED.search(value) is not None
        or _STAND_IN.match(bare) is not None
        or _ENVIRONMENT.search(value) is not None
    )


def _unmasked(found: re.Match[str]) -> bool:
    secret = _secret(found)
    return _MASKED.search(secret) is None and len(set(secret[-12:])) >= _VARIETY_MIN


def _real(found: re.Match[str]) -> bool:
    return not is_placeholder(_secret(found))


def _with_digit(found: re.Match[str]) -> bool:
    return _unmasked(found) and any(char.isdigit() for char in _secret(found))


def _secret(found: re.Match[str]) -> str:
    return found[GROUP] if GROUP in found.re.groupindex else found[0]


def _line_before(found: re.Match[str]) -> str:
    start = found.start()
    before = found.string[max(0, start - LOOK_BACK_CHARS) : start]
    return before[before.rfind("\n") + 1 :].lower()


def _after_curl(found: re.Match[str]) -> bool:
    before = _line_before(found)
    return any(name in before for name in ("curl", "wget", "http ", "https ")) and _real(found)


def _after_client(found: re.Match[str]) -> bool:
    before = _line_before(found)
    clients = ("mysql", "mariadb", "sshpass", "docker login", "redis-cli", "mongo", "psql", "sqlcmd")
    return any(name in before for name in clients) and _real(found)


def _in_sql(found: re.Match[str]) -> bool:
    before = _line_before(found)
    return any(word in before for word in ("user", "role", "grant")) and _real(found)


def _aws_secret(found: re.Match[str]) -> bool:
    value = found[0]
    before = found.string[max(0, found.start() - LOOK_BACK_CHARS) : found.start()].lower()
    mixed = any(c.isupper() for c in value) and any(c.islower() for c in value)
    random = any(char.isdigit() or char in "/+" for char in value)
    return mixed and random and ("aws" in before or "secret" in before) and _unmasked(found)


def pattern(name: str, keywords: str, expression: str, accept: Accept = _unmasked) -> Rule:
    """A rule that one regular expression finds; ``keywords`` are separated by blanks."""
    compiled = re.compile(expression)
    group: str | int = GROUP if GROUP in compiled.groupindex else 0

    def find(text: str) -> Iterator[Span]:
        return (found.span(group) for found in compiled.finditer(text) if accept(found))

    return Rule(name=name, keywords=tuple(keywords.split()), find=find)


_PRIVATE_TAG = re.compile(r"(?i)<(?P<close>/?)private(?:\s[^<>]{0,200})?>")


def _private_blocks(text: str) -> Iterator[Span]:
    """Blocks between private tags, nested ones inside their outermost; an open one runs to the end.

    A tag alone between backticks is a mention.
    """
    depth = 0
    start = 0
    for tag in _PRIVATE_TAG.finditer(text):
        if text[max(0, tag.start() - 1) : tag.start()] == text[tag.end() : tag.end() + 1] == "`":
            continue
        if not tag["close"]:
            start = start if depth else tag.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                yield start, tag.end()
    if depth:
        yield start, len(text)


_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=]{16}")
_PEM_OPEN = re.compile(
    r"(?:(?:\\[nr]|[\s>|\"',+])*+(?:[A-Za-z-]{3,20}: ?[^\n\\]{1,80}+|[A-Za-z0-9+/=]{16,}+))++"
    r"(?:(?:\\[nr]|[\s>|])++[A-Za-z0-9+/=]{1,}+(?=\s|\\|\"|'|\Z))?"
)


def _pem_blocks(text: str) -> Iterator[Span]:
    """Private keys in PEM, whole, or cut off before their end."""
    begins = [found.span() for found in _PEM_BEGIN.finditer(text)]
    ends = [found.end() for found in _PEM_END.finditer(text)]
    for number, (start, body) in enumerate(begins):
        limit = begins[number + 1][0] if number + 1 < len(begins) else len(text)
        index = bisect_right(ends, body)
        if index < len(ends) and ends[index] <= limit:
            if _PEM_BODY.search(text, body, ends[index]):
                yield start, ends[index]
        elif cut := _PEM_OPEN.match(text, body, limit):
            yield start, cut.end()


_B64URL = "[A-Za-z0-9_-]"
_WORD_START = r"(?<![A-Za-z0-9])"

RULES: tuple[Rule, ...] = (
    Rule(name="private", keywords=("<private",), find=_private_blocks),
    Rule(name="private_key", keywords=("private key",), find=_pem_blocks),
    pattern(
        "url_password",
        "://",
        r"://[^\s/?#@:\"'<>`]{0,128}+:(?P<s>[^\s/\"'<>`?#]{1,256})@(?=[\w\[$({%.-])",
        _real,
    ),
    pattern("url_token", "://", rf"://(?P<s>{_B64URL}{{20,256}}+)@", _with_digit),
    pattern("anthropic_key", "sk-ant-", rf"{_WORD_START}sk-ant-{_B64URL}{{16,}}+"),
    pattern(
        "openai_key",
        "sk-",
        rf"{_WORD_START}sk-(?:(?:proj|svcacct|admin|service|None|or-v1|or)-{_B64URL}{{16,}}+|[A-Za-z0-9]{{20,}}+)",
    ),
    pattern("huggingface_token", "hf_ api_org_", rf"{_WORD_START}(?:hf|api_org)_[A-Za-z0-9]{{30,}}+"),
    pattern("google_api_key", "aiza", rf"{_WORD_START}AIza{_B64URL}{{30,}}+"),
    pattern("google_oauth", "gocspx- ya29. 1//0", rf"{_WORD_START}(?:GOCSPX-|ya29\.|1//0){_B64URL}{{20,}}+"),
    pattern(
        "model_provider_key",
        "gsk_ xai- r8_ pplx- nvapi- tvly- csk- fw_ jina_ sk_ tgp_v1_ lsv2_ pa-",
        rf"{_WORD_START}(?:gsk_|xai-|r8_|pplx-|nvapi-|tvly-|csk-|fw_|jina_|sk_|tgp_v1_|lsv2_(?:pt|sk)_)"
        rf"[A-Za-z0-9_-]{{20,}}+|{_WORD_START}pa-[A-Za-z0-9_-]{{40,}}+",
        _with_digit,
    ),
    pattern(
        "aws_access_key_id",
        "akia asia abia acca",
        r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])",
    ),
    pattern(
        "aws_secret_key", "aws secret", r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])", _aws_secret
    ),
    pattern(
        "azure_key",
        "accountkey= sharedaccess sig=",
        r"(?i)(?:AccountKey=|SharedAccessKey=|SharedAccessSignature=|SharedAccessSignature sr=|[?&;]sig=)"
        r"(?P<s>[A-Za-z0-9%+/=&._-]{16,}+)",
    ),
    pattern("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"{_WORD_START}gh[pousr]_[A-Za-z0-9]{{30,}}+"),
    pattern("github_token", "github_pat_", rf"{_WORD_START}github_pat_[A-Za-z0-9_]{{30,}}+"),
    pattern(
        "gitlab_token",
        "glpat- glptt- gldt- glrt- glcbt- glft- glsoat- glagent- glimt-",
        rf"{_WORD_START}gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt)-[A-Za-z0-9_.-]{{18,}}+",
    ),
    pattern(
        "slack_token",
        "xox xapp- hooks.slack.com",
        r"(?<![A-Za-z0-9])(?:xox[abceoprs]|xapp|xoxe\.xox[bp])-[A-Za-z0-9-]{10,}+"
        r"|hooks\.slack\.com/(?:services|workflows)/(?P<hook>[A-Za-z0-9_/+]{20,}+)",
    ),
    pattern(
        "discord_webhook",
        "/api/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/(?P<s>\d{10,20}/[A-Za-z0-9_-]{30,}+)",
    ),
    pattern(
        "stripe_key",
        "sk_live_ sk_test_ rk_live_ rk_test_ whsec_",
        rf"{_WORD_START}(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{{12,}}+",
    ),
    pattern("npm_token", "npm_", rf"{_WORD_START}npm_[A-Za-z0-9]{{30,}}+"),
    pattern("pypi_token", "pypi-", rf"{_WORD_START}pypi-{_B64URL}{{40,}}+"),
    pattern(
        "telegram_token", ":a", r"(?<![A-Za-z0-9])(?:bot)?\d{8,10}:A[A-Za-z0-9_-]{33,35}(?![A-Za-z0-9_-])"
    ),
    pattern("jwt", "eyj", r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"),
    pattern("vault_token", "hvs. hvb. hvr.", rf"{_WORD_START}hv[sbr]\.{_B64URL}{{20,}}+"),
    pattern("sendgrid_key", "sg.", rf"{_WORD_START}SG\.{_B64URL}{{16,}}+\.{_B64URL}{{16,}}+"),
    pattern("twilio_key", "sk", r"(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![A-Za-z0-9])"),
    pattern("mailgun_key", "key-", r"(?<![A-Za-z0-9])key-[0-9a-f]{32}(?![A-Za-z0-9])"),
    pattern(
        "service_token",
        "dop_v1_ doo_v1_ dor_v1_ shpat_ shpss_ shpca_ shppa_ lin_api_ ntn_ secret_ figd_ dp.pt. glsa_ "
        "atatt3 sntrys_ nfp_ "
        "pscale_ pul- rubygems_ sbp_ dckr_pat_ phc_ phx_ eyjr aoai ops_",
        rf"{_WORD_START}(?:do[por]_v1_|shp(?:at|ss|ca|pa)_|lin_api_|ntn_|secret_|figd_|dp\.pt\.|glsa_|ATATT3|sntrys_|nfp_|"
        r"pscale_(?:tkn|pw|oauth)_|pul-|rubygems_|sbp_|dckr_pat_|ph[cx]_|ops_)[A-Za-z0-9_=.-]{24,}+",
        _with_digit,
    ),
    pattern(
        "authorization_header",
        "authorization",
        r"(?i)authorization[\"'\]]{0,2}\s{0,4}[:=,]\s{0,4}[\"'`]?(?:bearer|basic|token|digest|apikey|bot)[ +]"
        r"(?P<s>[A-Za-z0-9._~+/=:-]{6,}+)",
        _real,
    ),
    pattern(
        "authorization_header", "bearer", r"(?i)\bbearer[ +](?P<s>[A-Za-z0-9._~+/=-]{16,}+)", _with_digit
    ),
    pattern(
        "curl_user",
        "-u --user --proxy-user",
        r"(?<!\S)(?:-u|--user|--proxy-user)[ =]?\\?[\"']?[^\s:\"'\\$]{0,128}+:(?P<s>[^\s\"'\\]{1,256}+)",
        _after_curl,
    ),
    pattern(
        "client_password",
        "-p -a",
        r"(?<!\S)(?:-p|-a[ ])[ ]?\\?[\"']?(?P<s>[^\s\"'\\:-][^\s\"'\\]{3,256}+)",
        _after_client,
    ),
    pattern(
        "sql_password",
        "identified",
        r"(?i)identified\s{1,4}(?:with\s{1,4}\S{1,40}\s{1,4})?by\s{1,4}[\"'](?P<s>[^\"'\n]{3,256}+)",
        _in_sql,
    ),
    pattern("sql_password", "password", r"(?i)\bpassword\s{1,4}'(?P<s>[^'\n]{3,256}+)'", _real),
    pattern(
        "netrc_password",
        "machine login",
        r"(?i)\blogin\s{1,4}\S{1,128}\s{1,4}password\s{1,4}(?P<s>\S{3,256}+)",
        _real,
    ),
    pattern("docker_auth", '"auth"', r"\"auth\"\s{0,4}:\s{0,4}\"(?P<s>[A-Za-z0-9+/=]{12,}+)\"", _real),
    pattern(
        "session_cookie",
        "cookie",
        r"(?i)\b(?:session|sessionid|session_id|sid|connect\.sid|csrftoken|remember_me|auth)=(?P<s>[A-Za-z0-9%._:+/-]{16,}+)",
        _with_digit,
    ),
)
"""First match first: what an earlier rule replaced, a later one does not see."""
