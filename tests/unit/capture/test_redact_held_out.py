# ruff: noqa: E501 - tables of sentences
"""Sentences that a developer would remember, written before the rules were tried on them and not tuned to.

150 hold a secret, 150 hold what only looks like one. No full secret stands in this file.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable

from retain.capture.redact import redact

SEED = 7_117
FOUND_MIN = 147
FALSE_MAX = 2
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
Rng = random.Random


def some(rng: Rng, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def phrase(rng: Rng) -> str:
    """A password that a person made up."""
    words = ["Winter", "Kestrel", "bluefin", "Oslo", "Tango", "granite", "Pickle", "sunday"]
    return (
        rng.choice(words)
        + rng.choice(["!", "_", "#", "."])
        + rng.choice(words)
        + str(rng.randrange(10, 9_999))
    )


SECRETS: tuple[tuple[Callable[[Rng], str], tuple[str, ...]], ...] = (
    (phrase, (
        "We moved staging to RDS; the app connects with postgresql://api:{}@staging.internal/app.",
        "amqps://worker:{}@mq-1.internal:5671 is the broker since Tuesday", "mongodb://root:{}@10.1.2.3/admin?tls=true",
    )),
    (phrase, (
        "The admin password for the demo box is {} and everybody uses it.", "grafana password: {}",
        "Note to self: the root password on nas01 was {}",
    )),
    (lambda rng: some(rng, ALNUM, 40), (
        "set DATADOG_API_KEY={} in the chart values", "client_secret: {}\nclient_id: web", 'signing_key = "{}"',
    )),
    (lambda rng: "gl" + "pat-" + some(rng, ALNUM, 20), ("CI fails since {} was rotated", "git clone https://oauth2:{}@gitlab.example.org/a/b.git")),
    (lambda rng: "gh" + "s_" + some(rng, ALNUM, 36), ("the action printed {} in its log", "export GITHUB_TOKEN={}")),
    (lambda rng: "xo" + "xb-" + some(rng, string.digits, 12) + "-" + some(rng, ALNUM, 24), ("bot token {} posts to #ops", 'slack: {{"token": "{}"}}')),
    (lambda rng: "sk" + "_live_" + some(rng, ALNUM, 32), ("payments broke because {} was revoked", "STRIPE={}")),
    (lambda rng: "sk-" + "proj-" + some(rng, ALNUM + "_-", 60), ("We use {} for the eval runs.", "OPENAI_API_KEY='{}' python eval.py")),
    (lambda rng: "AK" + "IA" + some(rng, string.ascii_uppercase + "234567", 16), ("the deploy user has {} as its id", "aws configure set aws_access_key_id {}")),
    (lambda rng: base64.b64encode(rng.randbytes(30)).decode(), ("aws_secret_access_key={}", "The AWS secret of the deploy user: {}")),
    (lambda rng: "ey" + "J" + some(rng, ALNUM, 24) + ".ey" + "J" + some(rng, ALNUM, 40) + "." + some(rng, ALNUM, 43), (
        "curl -H 'Authorization: Bearer {}' https://api.example.org/me", "the session token in the ticket was {}",
    )),
    (lambda rng: "hv" + "s." + some(rng, ALNUM, 24), ("vault login {} worked", "VAULT_TOKEN={}")),
    (phrase, ("mysqldump -u backup -p{} shop > shop.sql", "ran `psql` with PGPASSWORD={} in front", "redis-cli -h cache -a {} ping")),
    (lambda rng: some(rng, ALNUM, 24), (
        "docker login -u ci --password {} registry.example.org", 'headers = {{"X-Api-Key": "{}"}}', "helm upgrade app . --set auth.token={}",
    )),
    (lambda rng: some(rng, HEX, 32), ("MAPS_API_KEY={} belongs to the old account", 'app.config["SECRET_KEY"] = "{}"', "the webhook secret is {}")),
)  # fmt: skip

OTHERS: tuple[tuple[Callable[[Rng], str], tuple[str, ...]], ...] = (
    (lambda rng: some(rng, HEX, 40), ("The flake came with commit {}.", "bisect says {} is the first bad commit", "pin actions/checkout@{}")),
    (lambda rng: some(rng, HEX, 64), ("FROM python@sha256:{}", "the artefact has sha256 {}", 'checksum = "{}"')),
    (lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)), (
        "trace {} shows the slow query", "tenant id {} is the demo tenant", "correlation_id={}",
    )),
    (lambda rng: base64.b64encode(rng.randbytes(90)).decode(), ("![dot](data:image/png;base64,{})", "url(data:font/woff2;base64,{})")),
    (lambda rng: rng.choice(["API_TOKEN", "DB_PASSWORD", "STRIPE_KEY"]), (
        "the worker reads {} from the environment", "token = os.environ['{}']", "password: ${{{}}}", "secretKeyRef: {{name: app, key: {}}}",
    )),
    (lambda rng: rng.choice(["<token>", "YOUR_TOKEN_HERE", "changeme", "xxxxxxxxxxxx", "****", "..."]), (
        "curl -H 'Authorization: Bearer {}' https://x", "API_KEY={}", "password = '{}'  # replace me", "login with --token {}",
    )),
    (lambda rng: str(rng.randrange(100, 99_999)), (
        "max_tokens={} was too low for the summary", "we spent {} tokens on it", "token bucket refills {} per second", "password length {} in the tests",
    )),
    (lambda rng: rng.choice(["argon2id", "bcrypt", "scrypt"]), (
        "Passwords are hashed with {}.", "the password hasher is {} since 2.0", "tokens are stored as {} digests",
    )),
    (lambda rng: rng.choice(["auth.py", "tokens.rs", "secrets.ts"]), (
        "The token refresh lives in src/{} now.", "see app/{} for the secret rotation", "tests/test_{}::test_password_reset failed",
    )),
    (lambda rng: rng.choice(["self.token", "settings.secret_key", "creds.password"]), (
        "client = Client(token={})", "if not {}: raise Unauthorized", "api_key = {}",
    )),
    (lambda rng: str(rng.randrange(1, 65_000)), (
        "postgres listens on localhost:{} in CI", "http://user@host:{}/path", "redis://cache:{}/0 holds the sessions", "https://example.org:{}/a?page=2",
    )),
    (lambda rng: some(rng, ALNUM, 86) + "==", ('"integrity": "sha512-{}"', "    sha512-{}")),
    (lambda rng: rng.choice(["week", "month", "release"]), (
        "The signing key is rotated every {}.", "we agreed that the API key is checked once per {}", "password resets doubled this {}",
    )),
    (lambda rng: some(rng, HEX, 7), ("Merge branch 'auth-token' ({})", "reverted {}: secret scanning was too slow", "tag v1.2.3 is {}")),
    (lambda rng: rng.choice(["string", "SecretStr", "Option<String>"]), ("password: {};", "token: {}", "interface Login {{ password: {} }}")),
)  # fmt: skip


def test_held_out_secrets_are_taken_out() -> None:
    rng = random.Random(SEED)
    left = []
    for make, templates in SECRETS:
        for number in range(10):
            secret = make(rng)
            text = templates[number % len(templates)].format(secret)
            if secret in redact(text).text:
                left.append(text)
    assert 10 * len(SECRETS) - len(left) >= FOUND_MIN, left


def test_held_out_texts_without_a_secret_stay() -> None:
    rng = random.Random(SEED)
    texts = [
        templates[number % len(templates)].format(make(rng))
        for make, templates in OTHERS
        for number in range(10)
    ]
    changed = [(text, redact(text).text) for text in texts if redact(text).text != text]
    assert len(texts) == 150
    assert len(changed) <= FALSE_MAX, changed
