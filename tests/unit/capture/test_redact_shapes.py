# ruff: noqa: E501, RUF001 - tables of texts
"""Secrets in the shapes that tools, shells, formats and tongues give them, and what has such a shape without being one.

No full secret stands in this file: every one is put together from parts, so that scanners stay quiet.
"""

from __future__ import annotations

import base64
import random
import string

import pytest

from retain.capture.redact import redact

SECRET = "Vq7" + "w2Lr" + "8KdTz5"
LONG = "Zk4T9q" + "wXb7Lm2R" + "c8VnE5sHy3Pd"
ALNUM = string.ascii_letters + string.digits


def some(count: int, alphabet: str = ALNUM, seed: int = 5) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(alphabet) for _ in range(count))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        # JSON within JSON, and what was quoted once more
        '"stdin": "{\\\\\\"apiToken\\\\\\": \\\\\\"{}\\\\\\"}"', '{\\"db\\":{\\"passwd\\":\\"{}\\"}}',
        # a URL within a URL
        "next=https%3A%2F%2Fbob%3A{}%40git.local%2Fx", "broker amqp%3A%2F%2F%3A{}%40mq%2F",
        # configuration files
        '<property name="javax.jdo.option.ConnectionPassword" value="{}"/>', "- name: SMTP_PASSWORD\n  value: {}", '{"name": "GRAFANA_TOKEN", "value": "{}"}',
        "<clientSecret>{}</clientSecret>", "<db:password>{}</db:password>", "masterauth {}", "requirepass {}", 'wpa_psk="{}"',
        # a value on the next line
        "github_token: |\n  {}\n", "db_password: >-\n    {}\n", 'secret_key = (\n    "{}"\n)',
        # calls with the password behind the name
        'mail.login("bot@corp.io", "{}")', "session.auth = HTTPBasicAuth(user, '{}')", 'requests.get(u, auth=("svc", "{}"))', 'l.simple_bind_s("uid=svc,dc=x", "{}")',
        # clients
        "nerdctl login -u ci -p {} r.local", "buildah login -u ci -p '{}' r.local", "smbclient -U svc%{} //nas/x", "curl --cookie 'a=1; JSESSIONID={}0123456789' https://x",
        "SET PASSWORD FOR 'app'@'%' = '{}'", "SET PASSWORD = PASSWORD('{}')",
        # speech
        "ssh in with pw {} please", "connect as root, password {} , port 22", 'the radius server has password "{}"', "creds: svc / {}", "credentials for nas02: root / {}",
        "the secret that we share is {}", "A senha é {}", "La contraseña es {}", "wachtwoord: {}", "Hasło to {}", "密码是 {}", "パスワードは{}", "비밀번호: {}", "口令：{}", "Le mot de passe est {}",
    ],
)  # fmt: skip
def test_a_password_is_found_in_the_shape_that_tools_give_it(text: str) -> None:
    told = text.replace("{}", SECRET)
    assert SECRET not in redact(told).text


@pytest.mark.parametrize(
    "text",
    [
        'H = {"Proxy-Authorization", "Basic @@"}', "proxy_set_header Authorization 'Basic @@';", "they send Basic @@ with every call",
    ],
)  # fmt: skip
def test_basic_credentials_are_known_by_what_they_decode_to(text: str) -> None:
    told = b64(f"svc:{SECRET}")
    assert told not in redact(text.replace("@@", told)).text
    assert redact(text.replace("@@", "authentication")).counts == {}


@pytest.mark.parametrize(
    "text",
    [
        "export DEPLOY_TOKEN=@@\\\n##", 'API_TOKEN="@@\\\n##"', 'apiKey = "@@" +\n    "##"', 'token = ("@@"\n         "##")', "client_secret: >-\n  @@\n  ##\nport: 1",
        "$secret_key = '@@' .\n  '##';",
    ],
)  # fmt: skip
def test_a_secret_that_goes_on_over_a_line_goes_whole(text: str) -> None:
    told = redact(text.replace("@@", LONG).replace("##", SECRET + LONG[::-1])).text
    assert LONG not in told
    assert SECRET not in told
    assert told.endswith(text.rsplit("##", 1)[1])


def test_the_line_after_a_secret_stays() -> None:
    for after in ('"plain words"', "port: 8080", "  user: admin", "x = compute_v2_hash(a1)"):
        assert redact(f'token = "{LONG}"\n{after}').text.endswith(f"\n{after}")


TOKENS = (
    "sb_" + "secret_" + some(22) + "_" + some(8), "na" + "pi_" + some(64, "abcdef0123456789"), "vercel_" + "blob_rw_" + some(16) + "_" + some(30),
    "fm" + "2_lJPE" + some(90), "rn" + "d_" + some(28), some(3) + "8Q~" + some(34), "LTAI" + "5t" + some(18), "AQ." + "Ab8RN6" + some(44), "sk-" + "lf-0f8fad5b-d9cb-469f-a165-70867728950e",
    "pc" + "sk_" + some(6) + "_" + some(60), "dckr" + "_oat_" + some(32), "gl" + "c_" + some(80), "ts" + "key-auth-" + some(12) + "CNTRL-" + some(32), "PM" + "AK-" + some(24, "abcdef0123456789") + "-" + some(34, "abcdef0123456789"),
    "xkey" + "sib-" + some(64, "abcdef0123456789") + "-" + some(16), "sntry" + "u_" + some(64, "abcdef0123456789"), "AT" + "BB" + some(24) + some(8, "0123456789ABCDEF"), "dp" + ".st.dev." + some(43), "re" + "_" + some(8) + "_" + some(24),
    "NR" + "AK-" + some(27, string.ascii_uppercase + string.digits), "pa" + "t" + some(14) + "." + some(64, "abcdef0123456789"), "cio" + some(32), "da" + "pi" + some(32, "abcdef0123456789"), "hf" + "_" + some(34),
    "bedrock-api-key-" + "YmVkcm9jay5hbWF6b25hd3MuY29t" + some(60), "sk-" + "or-v1-" + some(64, "abcdef0123456789"), "ghp" + "_" + some(36), "xo" + "xb-" + some(12, string.digits) + "-" + some(24),
)  # fmt: skip


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token[:7])
@pytest.mark.parametrize(
    "text", ["the old one, {}, still works", "(see {})", "set up with {}.", "x({});", "`{}`", "<{}>", "{}"]
)
def test_a_token_is_found_whole_whatever_follows_it(token: str, text: str) -> None:
    told = redact(text.replace("{}", token)).text
    assert token[-8:] not in told
    assert token[12:20] not in told


def test_a_bot_token_and_a_webhook_go_whole() -> None:
    bot = "MTE5" + some(20) + "." + "G" + some(5) + "." + some(38)
    assert bot[-20:] not in redact(f"the discord bot runs with {bot}").text
    half = "0f8fad5b-d9cb-469f-a165-70867728950e"
    hook = (
        "https://corp.webhook.off"
        f"ice.com/webhookb2/{half}@{half}/IncomingWebhook/{some(32, 'abcdef0123456789')}/{half}"
    )
    assert half not in redact(f"alerts: {hook}").text
    encoded = b64(b64('{"alg":"HS256","typ":"JWT"}') + "." + b64('{"sub":"svc","exp":1}') + "." + some(43))
    assert encoded[-20:] not in redact(f"it sent {encoded} twice").text


def test_a_key_of_putty_goes_whole() -> None:
    rows = [some(64, seed=seed) for seed in range(4)]
    text = "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 4\n" + "\n".join(rows) + "\nPrivate-MAC: 00"
    told = redact(text).text
    assert not any(row in told for row in rows)
    assert told.endswith("Private-MAC: 00")


@pytest.mark.parametrize(
    "text",
    [
        "mysql -u root -p shop", "psql -h db -p 5432 -U app", "redis-cli -h r -p 6379 ping", "sshpass -e ssh -p 22022 h", "docker run -p 127.0.0.1:3306:3306 --name mariadb mariadb",
        "--color-token: #ff8800;", "request.withCredentials = !!config.withCredentials2;", "withCredentials: defaultToConfig2,", "fetch(u,{credentials:a1?b:void 0})",
        'case "${MVNW_PASSWORD:+has-password1}" in', "_Middleware_token: https://x.org/a/b#readme-2", 'token = "dstok_{}".format(x1)', '"cookie_secret": "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__"',
        "http://user:[secure]@host/", "self._authenticator, max_retries=self._max_retries)", 'telegram_api_token = "token:"', "xoxp-572370529330-573807301142-572331691188-########",
        '<label for="password">Password2</label>', "<password>string</password>", "<token>id_token</token>", 'name="password" value="" />', "- name: API_TOKEN\n  valueFrom:\n    secretKeyRef:\n      name: app-1",
        "password reset2024 flow", "password policy v2.1.0", "the token bucket10 limiter", "login: src / tests2 / docs", "Basic authentication is off", "session=3f2504e0-4f89-11d3-9a0c-0305e82c3301 started",
        "commit 3f2504e04f8911d39a0c0305e82c3301f00dcafe touches password hashing", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        'needless_pass_by_value = "allow"',
        'ok() ? "PASSED" : "FAILED"',
        "token_pos = parser->pos1;",
        'TokenLookup: "header:X-CSRF-Token,form:csrf1",',
        'docker run -v "$PWD:/src2:ro" image',
        "tool --ssl-keyfile-password type",
        'replace token="$next-version2$" value=""',
        'upgrade_token="%s_upgrades1"',
        "TOKEN_STRINGS = '[A-Za-z0-9._~+/-]+=*'",
    ],
)  # fmt: skip
def test_what_only_has_the_shape_stays(text: str) -> None:
    assert redact(text).text == text
