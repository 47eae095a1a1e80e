"""What redaction takes out, and what it leaves alone.

No full secret stands in this file: every one is put together from parts, so that scanners stay quiet.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable, Iterator

import pytest

from retain.capture.redact import redact, redact_json

SEED = 20261123
RECALL_MIN = 295 / 300
FALSE_POSITIVES_MAX = 3
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
Rng = random.Random
Sample = tuple[str, str]
"""(text, the secret in it)"""


def chars(rng: Rng, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def b64(rng: Rng, count: int) -> str:
    return base64.b64encode(rng.randbytes(count)).decode()


def word(rng: Rng) -> str:
    return rng.choice(["amber", "falcon", "river", "copper", "maple", "orbit", "velvet", "tundra", "harbor"])


def password(rng: Rng) -> str:
    signs = rng.choice("!#*+_-")
    return rng.choice(
        [
            f"{word(rng).title()}{signs}{word(rng)}{rng.randrange(10, 9999)}",
            chars(rng, ALNUM, 12) + str(rng.randrange(10, 99)),
            chars(rng, ALNUM, 8) + signs + chars(rng, string.digits, 3),
            f"{word(rng)}{rng.randrange(10, 9999)}",
        ]
    )


def pem_body(rng: Rng) -> str:
    return "\n".join(b64(rng, 48) for _ in range(rng.randrange(3, 12)))


def pem(rng: Rng, kind: str) -> tuple[str, str]:
    body = pem_body(rng)
    return f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{body}\n-----END {kind}PRIVATE " + "KEY-----", body


def database_url(rng: Rng) -> Sample:
    secret = password(rng).replace("#", "%23")
    scheme = rng.choice(["postgres", "postgresql+asyncpg", "mysql", "mongodb+srv", "amqp"])
    return f"connecting to {scheme}://shop:{secret}@db.internal:5432/shop?sslmode=require", secret


def redis_url(rng: Rng) -> Sample:
    secret = chars(rng, ALNUM, 16)
    return f'CACHE = "rediss://:{secret}@cache:6379/0"', secret


def basic_url(rng: Rng) -> Sample:
    secret = password(rng).replace("#", "x")
    return f"git clone https://{word(rng)}:{secret}@git.example.com/team/app.git", secret


def whole_pem(rng: Rng) -> Sample:
    block, body = pem(rng, rng.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "]))
    return f"cat id_key\n{block}\ndone", body.split("\n")[1]


def cut_pem(rng: Rng) -> Sample:
    block, body = pem(rng, rng.choice(["RSA ", ""]))
    return block[: block.index("-----END") - 10], body.split("\n")[0]


def aws_id(rng: Rng) -> Sample:
    secret = rng.choice(["AK", "AS"]) + "IA" + chars(rng, string.ascii_uppercase + "234567", 16)
    return rng.choice(["aws_access_key_id = {}", "using key {} in eu-west-1", '"AccessKeyId": "{}"']).format(
        secret
    ), secret


def aws_secret_assigned(rng: Rng) -> Sample:
    secret = b64(rng, 30)
    return rng.choice(
        ["aws_secret_access_key = {}", "AWS_SECRET_ACCESS_KEY={}", 'secret_access_key: "{}"']
    ).format(secret), secret


def aws_secret_prose(rng: Rng) -> Sample:
    secret = b64(rng, 30)
    return rng.choice(
        ["the AWS secret for staging is {} ok", "aws secret access key: {}", "my aws key pair, secret {}"]
    ).format(secret), secret


def gcp_account(rng: Rng) -> Sample:
    block, body = pem(rng, "")
    escaped = block.replace("\n", "\\n")
    return (
        '{"type": "service_account", "private_key_id": "ab", "private_key": "' + escaped + '\\n"}',
        body.split("\n")[1],
    )


def azure(rng: Rng) -> Sample:
    secret = b64(rng, 64)
    head = "DefaultEndpointsProtocol=https;AccountName=shop;Account"
    return rng.choice(
        [
            f"{head}Key={secret};EndpointSuffix=core.windows.net",
            f"https://a.blob.core.windows.net/c?sv=2022&sig={secret}",
        ]
    ), secret


def anthropic(rng: Rng) -> Sample:
    secret = "sk-" + "ant-" + rng.choice(["api03-", "admin01-", "sid01-"]) + chars(rng, ALNUM + "-_", 80)
    return rng.choice(["ANTHROPIC_API_KEY={}", "key {} works", "'x-api-key': '{}'"]).format(secret), secret


def claude_oauth(rng: Rng) -> Sample:
    secret = "sk-" + "ant-" + rng.choice(["oat01-", "ort01-"]) + chars(rng, ALNUM + "-_", 80)
    return rng.choice(["CLAUDE_CODE_OAUTH_TOKEN={}", '{{"accessToken":"{}"}}', "token was {}"]).format(
        secret
    ), secret


def openai(rng: Rng) -> Sample:
    secret = "sk" + rng.choice(["-proj-", "-svcacct-", "-"]) + chars(rng, ALNUM, 48)
    return rng.choice(["OPENAI_API_KEY={}", 'client = OpenAI(api_key="{}")', "pasted {} by accident"]).format(
        secret
    ), secret


def model_providers(rng: Rng) -> Sample:
    prefix = rng.choice(["hf" + "_", "gs" + "k_", "xa" + "i-", "r8" + "_", "pplx" + "-"])
    secret = prefix + chars(rng, ALNUM, 37)
    return f"login with {secret}", secret


def google(rng: Rng) -> Sample:
    secret = "AI" + "za" + chars(rng, ALNUM + "-_", 35)
    return f"https://maps.example.com/api/js?key={secret}&v=3", secret


def github(rng: Rng) -> Sample:
    secret = rng.choice(
        ["gh" + kind + "_" + chars(rng, ALNUM, 36) for kind in "pos"]
        + ["github" + "_pat_" + chars(rng, ALNUM + "_", 82)]
    )
    return rng.choice(
        ["gh auth login --with-token <<< {}", "remote: https://{}@github.com/a/b", "GH_TOKEN: {}"]
    ).format(secret), secret


def gitlab(rng: Rng) -> Sample:
    secret = "gl" + "pat-" + chars(rng, ALNUM + "-_", 20)
    return f"curl --header 'PRIVATE-TOKEN: {secret}' https://gitlab.example.com", secret


def slack(rng: Rng) -> Sample:
    secret = "xo" + rng.choice(["xb-", "xp-"]) + chars(rng, string.digits, 11) + "-" + chars(rng, ALNUM, 24)
    return f"slack bot {secret} posted", secret


def stripe(rng: Rng) -> Sample:
    secret = rng.choice(["s", "r"]) + "k_" + rng.choice(["live_", "test_"]) + chars(rng, ALNUM, 24)
    return f"stripe.api_key = '{secret}'", secret


def registries(rng: Rng) -> Sample:
    secret = rng.choice(
        ["np" + "m_" + chars(rng, ALNUM, 36), "py" + "pi-" + "AgEIcHlwaS5vcmc" + chars(rng, ALNUM + "-_", 80)]
    )
    return f"//registry.example.org/:_authToken={secret}", secret


def telegram(rng: Rng) -> Sample:
    secret = chars(rng, string.digits, 10) + ":" + "AA" + chars(rng, ALNUM + "-_", 33)
    return f"https://api.telegram.org/bot{secret}/getMe", secret


def jwt(rng: Rng) -> Sample:
    parts = ["ey" + "J" + chars(rng, ALNUM, 30), "eyJ" + chars(rng, ALNUM, 60), chars(rng, ALNUM + "-_", 43)]
    return f"cookie id_token {'.'.join(parts)} sent", parts[2]


def bearer(rng: Rng) -> Sample:
    secret = chars(rng, ALNUM + "-._", 32) + "7"
    return rng.choice(
        [
            'curl -H "Authorization: Bearer {}" x',
            "authorization: token {}",
            "{{'Authorization': 'Bearer {}'}}",
        ]
    ).format(secret), secret


def basic_and_curl(rng: Rng) -> Sample:
    secret = password(rng)
    encoded = base64.b64encode(f"admin:{secret}".encode()).decode()
    return rng.choice(
        [(f"curl -s -u admin:{secret} https://x/y", secret), (f"Authorization: Basic {encoded}", encoded)]
    )


def environment(rng: Rng) -> Sample:
    secret = password(rng)
    name = rng.choice(["DB_PASSWORD", "PGPASSWORD", "SMTP_PASS", "SESSION_SECRET", "MYSQL_ROOT_PASSWORD"])
    return rng.choice(
        [f"export {name}={secret}", f"A=1\n{name}={secret}\nB=2", f"docker run -e {name}={secret} img"]
    ), secret


def yaml(rng: Rng) -> Sample:
    secret = password(rng)
    name = rng.choice(["password", "db_password", "api_key", "client_secret", "auth-token"])
    return rng.choice([f"db:\n  user: shop\n  {name}: {secret}\n  port: 1", f"  {name}: '{secret}'"]), secret


def code(rng: Rng) -> Sample:
    secret = password(rng)
    template = rng.choice(
        [
            'PASSWORD = "{}"',
            '{{"user": "a", "password": "{}"}}',
            'connect(host="h", passwd="{}")',
            "const apiToken = '{}';",
            'api_key = "{}"',
            'password: str = "{}"',
        ]
    )
    return template.format(secret), secret


def flag(rng: Rng) -> Sample:
    secret = password(rng)
    return rng.choice(
        [
            "app login --user a --password {} --yes",
            "tool --api-key={} run",
            "x --token '{}'",
            "mysql -u root -p{} shop",
        ]
    ).format(secret), secret


def prose(rng: Rng) -> Sample:
    secret = password(rng)
    return rng.choice(
        [
            "The password is {}.",
            "the staging password for the admin user is {}, do not share",
            "use the token: {}",
            "passphrase is '{}'",
            "Our API key is {}",
        ]
    ).format(secret), secret


def private_block(rng: Rng) -> Sample:
    secret = f"{word(rng)} {word(rng)} {word(rng)}"
    return rng.choice(
        ["a <private>{}</private> b", "a <PRIVATE>\n{}\n</Private> b", "a <private>{} and no end"]
    ).format(secret), secret


SECRET_KINDS: tuple[Callable[[Rng], Sample], ...] = (
    database_url, redis_url, basic_url, whole_pem, cut_pem, aws_id, aws_secret_assigned,
    aws_secret_prose, gcp_account, azure, anthropic, claude_oauth, openai, model_providers, google,
    github, gitlab, slack, stripe, registries, telegram, jwt, bearer, basic_and_curl, environment,
    yaml, code, flag, prose, private_block,
)  # fmt: skip


def commit_line(rng: Rng) -> str:
    return rng.choice(["commit {}", "HEAD is now at {} fix token refresh", "git cherry-pick {}"]).format(
        chars(rng, HEX, 40)
    )


def uuid_line(rng: Rng) -> str:
    value = uuid.UUID(int=rng.getrandbits(128), version=4)
    return rng.choice(
        [f"request_id={value}", f"session {value} started", f'{{"id": "{value}", "token_type": "bearer"}}']
    )


def integrity(rng: Rng) -> str:
    return rng.choice(['"integrity": "sha512-{}"', "--hash=sha256:{}", "    sha256 = {}"]).format(
        b64(rng, 64) if rng.random() < 0.5 else chars(rng, HEX, 64)
    )


def image_digest(rng: Rng) -> str:
    return f"FROM registry.example.com/shop/app@sha256:{chars(rng, HEX, 64)}"


def environment_reference(rng: Rng) -> str:
    name = rng.choice(["DB_PASSWORD", "API_TOKEN", "CLIENT_SECRET"])
    return rng.choice(
        [
            f'password = "${{{name}}}"',
            f'password = os.environ["{name}"]',
            f"const token = process.env.{name};",
            f"token: ${{{{ secrets.{name} }}}}",
            f'secret = os.getenv("{name}")',
            f"PGPASSWORD=${name} psql",
            f'--password "${name}"',
        ]
    )


def stand_in(rng: Rng) -> str:
    value = rng.choice(
        [
            "<your-token>",
            "changeme",
            "xxxxxxxx",
            "YOUR_API_KEY",
            "your-token-here",
            "********",
            "example",
            "None",
            "null",
            "...",
            "REDACTED",
        ]
    )
    return rng.choice(
        [
            "API_KEY={}",
            'token = "{}"',
            "password: {}",
            "Authorization: Bearer {}",
            "--token {}",
            "the password is {}",
        ]
    ).format(value)


def url_without_secret(rng: Rng) -> str:
    return rng.choice(
        [
            "https://example.com:8443/a/b?page={}",
            "postgres://localhost:5432/shop{}",
            "https://user@host/x{}",
            "postgres://${{DB_USER}}:${{DB_PASSWORD}}@db/{}",
            "postgresql://user:password@localhost/x{}",
            "git@github.com:team/app{}.git",
            "http://[::1]:80{}/x",
        ]
    ).format(rng.randrange(99))


def call(rng: Rng) -> str:
    return rng.choice(
        [
            "token = next_token(stream)",
            "password = getpass.getpass()",
            "self.secret = load_secret(path)",
            "password=hash_password(raw),",
            "api_key = settings.api_key",
            "const password = form.password.value;",
            "token = tokens[{}]",
            "auth_token = response.json()['token']",
            "secret=secret, token=token",
            "password2 = self.cleaned_data.get('password2')",
        ]
    ).format(rng.randrange(9))


def annotation(rng: Rng) -> str:
    return rng.choice(
        [
            "def login(user: str, password: str) -> Token: ...",
            "interface A { token: string; password?: string }",
            "password: Optional[str] = None",
            "    secret: SecretStr",
            "token: Token | None = None",
            "pub token: String,",
            "password: z.string().min(8),",
            "token: &'a str,",
            "private String password;",
            "api_key: str | None = field(default=None)",
        ]
    )


def speech(rng: Rng) -> str:
    return rng.choice(
        [
            "The password is required and must have 12 characters.",
            "The token is invalid or expired.",
            "Tokens are stored hashed; the secret is rotated every 30 days.",
            "password reset email sent",
            "the secret is to read the docs",
            "Access token is refreshed after 3600s.",
            "The API key is base64-encoded.",
            "token: the smallest unit of text",
            "password is hashed with argon2id",
            "We keep the private key in the vault.",
            "set the --password flag to read from stdin",
            "the pass rate is 98%",
            "the secret is in config/secrets.yml",
        ]
    )


def counting(rng: Rng) -> str:
    return rng.choice(
        [
            "max_tokens={}",
            "input_tokens: {}, output_tokens: 12",
            '"token_count": {}',
            "token_limit = {}",
            "password_min_length: {}",
            "tokens per second: {}.5",
            "next_page_token: {}",
        ]
    ).format(rng.randrange(100, 99999))


def run_and_logs(rng: Rng) -> str:
    return rng.choice(
        [
            "tests/test_token.py::test_password_{} PASSED",
            "2026-11-23T10:00:0{}Z INFO auth token refreshed for user 12",
            "FAILED tests/test_auth.py::test_secret_key - assert {} == 200",
            "12 passed, {} failed in 3.21s",
            "ERROR password authentication failed for user 'shop{}'",
        ]
    ).format(rng.randrange(9))


def lock_file(rng: Rng) -> str:
    return rng.choice(
        [
            'token-types = "6.0.{}"',
            'name = "secrets-manager"\nversion = "1.{}.0"',
            "passlib==1.7.{}",
            'resolved "https://registry.yarnpkg.com/js-tokens/-/js-tokens-4.0.{}.tgz#19203fb59991df98e3a287050d4647cdeaf32499"',
            "python-jose[cryptography]>=3.{}",
        ]
    ).format(rng.randrange(9))


def source(rng: Rng) -> str:
    return rng.choice(
        [
            "if token.type == TokenType.STRING and token.value != 'x{}':",
            '<input type="password" name="password" id="p{}">',
            "password_field = 'user_password'  # {}",
            "for token in tokenize(line{}):",
            "SECRET_NAME = 'shop/db/password{}'",
            "csrf_token = '{{{{ csrf_token }}}}'  # {}",
            "def test_token_expiry_{}(): pass",
            "raise InvalidToken('token expired {}')",
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA{}",
            "PASSWORD_HASHERS = ['django.contrib.auth.hashers.Argon2PasswordHasher']  # {}",
        ]
    ).format(rng.randrange(9))


def merge_line(rng: Rng) -> str:
    return f"Merge {chars(rng, HEX, 7)}..{chars(rng, HEX, 7)} from {word(rng)}; {speech(rng)}"


BENIGN_KINDS: tuple[Callable[[Rng], str], ...] = (
    commit_line, uuid_line, integrity, image_digest, environment_reference, stand_in,
    url_without_secret, call, annotation, speech, counting, run_and_logs, lock_file, source,
    merge_line,
)  # fmt: skip


def secrets(seed: int) -> Iterator[tuple[str, str, str]]:
    rng = random.Random(seed)
    for kind in SECRET_KINDS:
        for _ in range(10):
            yield kind.__name__, *kind(rng)


def benign(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for kind in BENIGN_KINDS:
        for _ in range(20):
            yield kind(rng)


@pytest.mark.parametrize("seed", [SEED, 1, 2, 3])
def test_nearly_every_secret_of_thirty_kinds_is_taken_out(seed: int) -> None:
    samples = list(secrets(seed))
    missed = [(kind, text) for kind, text, secret in samples if secret in redact(text).text]
    assert len(samples) == 300
    assert len(missed) <= (1 - RECALL_MIN) * len(samples), missed


@pytest.mark.parametrize("seed", [SEED, 1, 2, 3])
def test_what_only_looks_like_a_secret_stays(seed: int) -> None:
    samples = list(benign(seed))
    changed = [(text, redact(text).text) for text in samples if redact(text).text != text]
    assert len(samples) == 300
    assert len(changed) <= FALSE_POSITIVES_MAX, changed


def test_redacting_twice_changes_nothing_more() -> None:
    for _, text, _ in secrets(SEED):
        once = redact(text)
        again = redact(once.text)
        assert again.text == once.text
        assert again.counts == {}


def test_the_placeholder_names_the_rule_and_the_rule_is_counted() -> None:
    result = redact("a <private>one</private> b <private>two</private>")
    assert result.text == "a [redacted:private] b [redacted:private]"
    assert result.counts == {"private": 2}


def test_clean_text_comes_back_as_it_was() -> None:
    text = "def add(a, b):\n    return a + b\n"
    assert redact(text).text is text
    assert redact(text).counts == {}


def test_nested_private_blocks_go_as_one_and_a_stray_end_is_no_block() -> None:
    assert redact("<private>a <private>b</private> c</private> d").text == "[redacted:private] d"
    assert redact("no block</private> here").text == "no block</private> here"


def test_a_private_tag_between_backticks_is_a_mention() -> None:
    text = "write `<private>` and `</private>` around it"
    assert redact(text).text == text


def test_a_key_mentioned_without_a_body_is_no_key() -> None:
    marker = "-----BEGIN RSA PRIVATE " + "KEY-----"
    assert redact(f"the file starts with {marker} as usual").counts == {}
    both = f"between {marker} and " + marker.replace("BEGIN", "END")
    assert redact(both).counts == {}


def test_two_keys_in_one_text_are_two_keys() -> None:
    rng = random.Random(SEED)
    first, second = pem(rng, "RSA ")[0], pem(rng, "EC ")[0]
    assert (
        redact(f"{first}\ntext between\n{second}").text
        == "[redacted:private_key]\ntext between\n[redacted:private_key]"
    )


def test_a_key_cut_before_the_next_key_ends_where_its_body_ends() -> None:
    rng = random.Random(SEED)
    cut = pem(rng, "RSA ")[0].split("-----END")[0]
    whole = pem(rng, "EC ")[0]
    assert redact(f"{cut}{whole}").counts == {"private_key": 2}


@pytest.mark.parametrize(
    "text",
    [
        "mysql -h db -u root -p{} shop",
        "sshpass -p {} ssh host",
        "redis-cli -a {} ping",
        "ALTER USER shop IDENTIFIED BY '{}'",
        "CREATE ROLE shop WITH PASSWORD '{}'",
        "machine h login me password {}",
        'os.environ.get("DB_PASSWORD", "{}")',
        "x --db-password={} --yes",
        "Passwort: {}",
        'curl -d "{{\\"password\\": \\"{}\\"}}" https://x',
        "Cookie: sessionid={}abcdefgh1234",
        "password: str | None = '{}'",
        '"auth": "{}xyz="',
        "secret => {}",
        "Server=db;Uid=sa;Pwd={};",
        "https://x/y?api_key={}&page=2",
    ],
)
def test_a_secret_is_found_where_tools_and_tongues_write_it(text: str) -> None:
    secret = "Lk7" + "w9Qz" + "EXAMPLE"
    assert secret not in redact(text.format(secret)).text


@pytest.mark.parametrize("value", ["hunter", "correct-horse-battery", "hunter2"])
def test_words_are_passwords_where_only_a_password_can_stand(value: str) -> None:
    for template in ("DB_PASSWORD={}", "db:\n  password: {}\n", "login --password {}", 'PASSWORD = "{}"'):
        assert value not in redact(template.format(value)).text


def test_a_phrase_of_words_is_a_passphrase_only_under_that_name() -> None:
    assert redact('passphrase = "correct horse battery staple"').counts == {"assignment": 1}
    assert redact('password_help = "use a long one"').counts == {}
    assert redact('password = "Must be longer"').counts == {}


@pytest.mark.parametrize(
    "text",
    [
        'password = "/run/secrets/db"',
        "token = sha256-AbCd",
        'PASSWORD = "DB_PASSWORD"',
        'token = "kubernetes"',
        "api_key = self.api_key2",
        "password = obj->password1",
        "password=token_1",
        "token=a+b",
        'secret: "https://vault.example.com/v1"',
        '("password", "token")',
        "the token is `session_token`",
        "password: 12",
        "AWS::IAM::AccessKey: 48205d4ffd7feba3",
        "docker run -u 1000:1000 img",
        "api_key = 30s",
        "passwords = load1()",
        "set the --token option to x1",
        "the password is 'required'",
        "auth-token: short-lived",
        'token_type="bearer1234"',
    ],
)
def test_code_and_prose_about_secrets_stay(text: str) -> None:
    assert redact(text).text == text


def test_json_is_walked_and_a_telling_key_takes_its_whole_scalar() -> None:
    value = {
        "dbPassword": "a b c", "pin": 4, "token": 12345, "api_key": None, "secret": True, "max_tokens": 4096,
        "nested": [{"clientSecret": "s p a c e", "password": "${PASSWORD}"}], "text": "password=Lk7w9Qz12",
    }  # fmt: skip
    result = redact_json(value)
    assert result.value == {
        "dbPassword": "[redacted:json_key]", "pin": 4, "token": "[redacted:json_key]",
        "api_key": None, "secret": True,
        "max_tokens": 4096, "nested": [{"clientSecret": "[redacted:json_key]", "password": "${PASSWORD}"}],
        "text": "password=[redacted:assignment]",
    }  # fmt: skip
    assert result.counts == {"json_key": 3, "assignment": 1}
    assert redact_json(result.value).counts == {}


def test_the_argument_after_a_secret_flag_goes() -> None:
    result = redact_json(["tool", "--password", "a b", "--token", "--verbose", "--name", "x"])
    assert result.value == [
        "tool",
        "--password",
        "[redacted:json_flag]",
        "--token",
        "--verbose",
        "--name",
        "x",
    ]


def test_names_whose_lower_case_is_longer_do_not_shift_what_is_replaced() -> None:
    assert (
        redact("\u0130\u0130 DB_PASSWORD=Lk7w9Qz12 end").text
        == "\u0130\u0130 DB_PASSWORD=[redacted:assignment] end"
    )


ADVERSARIES = (
    "a", "=", "password=", "password='", 'token="$', "password: ", "--password ", "-p",
    "the password is ", "://", "://a:b", "a:",
    "eyJ", "eyJaaaaaaaaa.", "sk-", "sk-ant-", "<private>", "</private>",
    "-----BEGIN PRIVATE " + "KEY-----", "curl -u a:",
    "mysql -p", "bearer ", "authorization: ", "AKIA", "A" * 40 + " ", "_-", "\\", '"', 'password\\"=\\"', "secret_",
    "token for a b c d e ", "1234567890:A", "api_key=a.b.", "x" * 50 + " ", "identified by '",
    "\n", "Ab1/", "{{", "aws ",
    "-----BEGIN PRIVATE " + "KEY-----\nABCDEFGHIJKLMNOPQRST\n", "password=[redacted:", "pass:pass=", "key: key= ",
)  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ADVERSARIES)
def test_a_quarter_megabyte_made_to_be_slow_is_done_in_time(unit: str) -> None:
    text = unit * (250_000 // len(unit))
    once = redact(text).text
    assert redact(once).text == once
