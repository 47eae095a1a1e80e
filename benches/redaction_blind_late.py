# ruff: noqa: E501 - tables of sentences
"""A second set like benches/redaction_blind.py, written when the rules had been changed after the first one.

    python benches/redaction_blind_late.py [SEED]

30 kinds of texts with a secret and 30 without, five of each. It was run when it was whole; the rules were not tuned to it.
"""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Callable, Iterator

from redaction_blind import ALNUM, HEX, Rng, Sample, b64, chosen, filled, letters, plain, report, some

SEED = 61_803
EACH = 5


def of(make: Callable[[Rng], str], *templates: str) -> Callable[[Rng], Sample]:
    return lambda rng: filled(rng, make, *templates)


def basic(rng: Rng) -> str:
    return base64.b64encode(f"deploy:{letters(rng)}".encode()).decode()


def token(prefix: str, count: int, alphabet: str = ALNUM) -> Callable[[Rng], str]:
    return lambda rng: prefix + some(rng, alphabet, count)


def pem(rng: Rng) -> Sample:
    rows = [b64(rng, 48) for _ in range(6)]
    head, tail = "-----BEGIN EC PRIVATE " + "KEY-----", "-----END EC PRIVATE " + "KEY-----"
    return rng.choice((
        ("  tls.key: |\n    " + "\n    ".join([head, *rows, tail]), tuple(rows)),
        ("> " + "\n> ".join([head, *rows, tail]), tuple(rows)),
        (' "\\\n'.join(['KEY="' + head, *rows, tail]) + '"', tuple(rows)),
        ("cat <<EOF\n" + "\n".join([head, *rows[:3]]), tuple(rows[:3])),
    ))  # fmt: skip


SECRETS: tuple[Callable[[Rng], Sample], ...] = (
    of(letters, "sqlalchemy.url = mssql+pyodbc://app:@@@sql-4/%%?driver=x", "couchdb http://admin:@@@couch:5984", "DSN=postgres://%%:@@@/app?host=/run/pg", "ldaps://cn=svc:@@@ldap.local:636"),
    of(chosen, "Driver={ODBC Driver 18};Server=db;Uid=%%;Pwd=@@;", "Endpoint=sb://x.servicebus.net/;SharedAccessKeyName=Root;Password=@@", "provider=System.Data;user=%%;password='@@'"),
    of(letters, "set -x RESTIC_PASSWORD @@", "setx /M ADMIN_PASSWORD @@", "$env:SA_PASSWORD='@@'", "fly secrets set SESSION_KEY_SECRET=@@ -a %%", "heroku config:set MAILER_PASSWORD=@@"),
    of(letters, "ENV NPM_AUTH_TOKEN=@@", 'ARG GH_PACKAGES_TOKEN="@@"', "docker build --build-arg DB_PASS=@@ .", "podman run -e MARIADB_ROOT_PASSWORD=@@ mariadb"),
    of(letters, "db.password=@@\ndb.user=%%", "quarkus.datasource.password = @@", "jasypt.encryptor.password: @@", 'ktor { jwt { secret = "@@" } }'),
    of(letters, "[mysqld]\nuser=%%\n[client]\npassword=@@", "[profile %%]\naws_secret = x\nrole_token = @@", "ansible_become_password=@@", 'ansible_ssh_pass: "@@"'),
    of(letters, "INSERT INTO settings VALUES ('smtp_password', '@@');", "UPDATE users SET password = '@@' WHERE id = 1", "ATTACH DATABASE 'x' AS y KEY '@@' -- password", "CREATE USER MAPPING FOR %% SERVER s OPTIONS (user 'a', password '@@');"),
    of(letters, "curl -F 'token=@@' https://x.org/upload", "curl --data-urlencode 'password=@@' https://x.org", "http POST x.org/login password=@@ user=%%", "wget --password=@@ --user=%% ftp://x", "curl -d '{\"client_secret\":\"@@\"}' https://x.org/token"),
    of(basic, 'curl -H "authorization: basic @@" x.org', "headers.set('Authorization', `Basic @@`)", "Authorization=Basic @@", '"headers": [["authorization", "Basic @@"]]'),
    of(token("", 40), "Authorization: Token @@", "authorization=Bearer+@@", "grpcurl -H 'authorization: bearer @@' x:443", '-H "X-Gitlab-Token: @@"', "'x-functions-key': '@@'"),
    of(token("", 26), "Cookie: laravel_session=@@; XSRF=1", "document.cookie = 'session_id=@@'", "set-cookie: __Host-session=@@; Secure", "ASP.NET_SessionId=@@ in the cookie jar"),
    of(letters, "net use Z: \\\\nas\\x /user:%% password=@@", "mount -t cifs //nas/x /m -o username=%%,password=@@", "lftp -u %%,@@ sftp://x", "sshpass -p'@@' scp a b:", 'expect "Password:" { send "password=@@\\r" }'),
    pem,
    of(token("AS" + "IA", 16, "ABCDEFGHJKLMNPQRSTUVWXYZ234567"), "aws sts gave @@ for an hour", "(key id @@)", 'AWS_ACCESS_KEY_ID: "@@"'),
    of(lambda rng: b64(rng, 30), "the secret access key of %% is @@", "aws configure: secret key @@", "AWS_SECRET=@@"),
    of(token("sk-" + "ant-" + "oat01-", 86), "claude setup-token printed @@", "env CLAUDE_TOKEN=@@ claude", "(@@)"),
    of(token("gh" + "o_", 36), "hub stores @@ in its config", "git push https://%%:@@@github.com/x/y", "- token: @@"),
    of(token("gl" + "rt-", 20), "registered the runner with @@,", 'runner token = "@@"', "see @@."),
    of(token("xo" + "xp-4821", 40, "0123456789abcdef-"), "slack export used @@", "SLACK=@@", "[@@]"),
    of(token("r" + "k_live_", 60), "the restricted key @@ may read charges", "stripe listen --api-key @@", "'@@',"),
    of(token("py" + "pi-AgEIcHlwaS5vcmc", 90), "twine upload -u __token__ -p @@", "UV_PUBLISH_TOKEN=@@", "password = @@"),
    of(token("S" + "G.", 22), "the old sendgrid key @@.YYYYYYYYYYYYYYYYYYYYYY went", "SENDGRID_API_KEY=@@", "sendgrid api key: @@"),
    of(token("dp" + ".pt.", 43), "doppler login printed @@", "doppler run --token=@@ -- npm start", "@@; rotated"),
    of(token("hv" + "b.AAAAAQ", 90), "batch token @@ expires at noon", "VAULT_TOKEN=@@ vault read x", "vault: @@,"),
    of(token("gs" + "k_", 52), "GROQ=@@", "Groq(api_key='@@')", '{"groq": "@@"}'),
    of(letters, "The root password of %% was changed to @@ on Monday.", "db password → @@", "Password (staging): @@", "its passphrase is @@", "admin password = @@", "new pw: @@"),
    of(letters, "Passwort für %%: @@", "le mot de passe de %% est @@", "contraseña: @@", "Wachtwoord is @@", "Lösenordet: @@", "Adgangskode: @@", "пароль от %%: @@", "口令是@@"),
    of(letters, 'login("%%", password="@@")', "client.auth('%%', '@@')  # password", 'DriverManager.getConnection(url, "%%", "@@") // password', 'new NetworkCredential("%%", "@@")', "Net::SSH.start('h', '%%', password: '@@')"),
    of(lambda rng: some(rng, HEX, 64), "SECRET_KEY_BASE=@@", "APP_KEY=base64secret@@", "encryption_key: '@@'", '"jwt_secret": "@@"', "webhook_secret = @@"),
    of(letters, '- name: CI_TOKEN\n  value: "@@"', '<entry key="db.password">@@</entry>', "<Password>@@</Password>", "key: api_token\nvalue: @@", 'variable "db_password" {\n  default = "@@"\n}'),
)  # fmt: skip

OTHERS: tuple[Callable[[Rng], str], ...] = (
    plain("Bump actions/checkout from [sha] to v4", "Fixes #[number]: token leak in logger ([short])", "Co-authored-by: x <x@y.org>\nChange-Id: I[sha]"),
    plain("nix hash sha256-[b64]", "go.sum h1:[b64]", "cosign: sha256:[digest]", "ipfs Qm[code][lower][lower]"),
    plain("run-[uuid]", "X-Amzn-Trace-Id: Root=1-[short]-[code]", "span_id=[short] trace_id=[md5]", 'etag "[md5]-[number]"'),
    plain("passwordRef: [name]-db", "secretName: [name]-tls", "tokenSecretRef:\n  key: token", "existingSecret: [name]"),
    plain("password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256", "password: ENC(xxxx)", "token: ((github-token))", "secret: {{ .Values.secret }}", "password: \"{{ lookup('env', 'PW') }}\""),
    plain("const token = useToken();", "let password = prompt('Password?');", "secret := rand.Text()", "token = secrets.token_urlsafe(32)", "String token = UUID.randomUUID().toString();"),
    plain("def check_password(self, raw_password: str) -> bool:", "fn token(&self) -> &str {", "public Token getToken() { return token; }", "type TokenSource interface { Token() (*Token, error) }"),
    plain("assert response.json() == {'detail': 'Invalid token'}", "expect(screen.getByLabelText('Password')).toBeVisible()", "with pytest.raises(InvalidTokenError):", "self.assertIn('password', form.errors)"),
    plain("The token is the unit that the lexer yields.", "A password is asked for when the keyring is locked.", "Our API key page is slow.", "The secret of good tests is small fixtures."),
    plain("pwd: /srv/[name]", "cwd=/home/[name]", "$PWD/build", 'cd "$(pwd)"'),
    plain("key = (user_id, '[name]')", "key: [name]", "sort(key=lambda item: item.id)", "dict[key] = value", "foreign key ([name]_id)"),
    plain("--password-file /etc/[name]/pw", "--token-env API_TOKEN", "--api-key-stdin", "-p [number]", "ssh -i ~/.ssh/id_[name] -p [number] h"),
    plain("auth: ['basic', 'bearer']", "auth=None", "auth_backend: ldap", "authorization: required", "Authorization header is missing"),
    plain("basic auth is off", "Basic usage of the CLI", "basic_train_[number]", "Basic plan costs [number]"),
    plain("cookie: httpOnly, sameSite=lax, maxAge=[number]", "session cookie expires in [number]s", "Set-Cookie: theme=dark; Path=/", "cookies are disabled"),
    plain("redis://localhost:6379/[number]", "https://[name].example.org:8443/login", "git@github.com:[name]/app.git", "ssh://git@host/[name].git", "amqp://mq:5672/%2F"),
    plain("login: [name]", "logins per day: [number]", "creds are in the vault", "credentials: include", "credentials: 'same-origin'"),
    plain("psk mode needs TLS 1.3", "private key file: /etc/ssl/[name].key", "public key: ssh-rsa AAAAB3NzaC1yc2E[code][code]", "-----BEGIN CERTIFICATE REQUEST-----\n[long]\n-----END CERTIFICATE REQUEST-----"),
    plain("tokens_per_minute: [number]", "token usage 12k/200k", "1 token ~ 4 characters", "max_tokens_to_sample=[number]", "budget_tokens: [number]"),
    plain("<secretsManager>on</secretsManager>", "<key>CFBundleName</key><string>[name]</string>", "<token>ident</token>", '<property name="password" value="${db.password}"/>'),
    plain("name: TOKEN\nvalueFrom: x", "value: [number]", "name: [name]\nvalue: true", "- name: LOG_LEVEL\n  value: debug2"),
    plain("wachtwoord vergeten?", "Passwort zurücksetzen", "mot de passe oublié", "contraseña incorrecta", "пароль не найден", "密码错误", "パスワードを忘れた"),
    plain("base64: [b64] is the icon", "data:font/woff2;base64,[long]", '"mappings": "AAAA,SAAS,CAAC;[code]"', "nonce-[lower]"),
    plain("account [number][number] was charged", "order-[lower] shipped", "sku PAT-[number]-EU", "re_index_[number] ran"),
    plain("patch [short] applied", "path/to/[name]/file_[number].py", "pattern [a-z0-9]{32}", "compat-[lower]"),
    plain("s3://[name]/backups/2026/[number].tar", "arn:aws:iam::[number]00000000:role/[name]", "projects/[name]/locations/eu", "gs://[name]-tokens/"),
    plain("PASSED tests/test_auth.py::test_token[[number]]", "FAILED test_secret.py - KeyError: 'token'", "token test took [number] ms", "ok 12 - password is hashed"),
    plain("SELECT token FROM sessions WHERE id = [number]", "password VARCHAR([number])", "DROP INDEX token_idx", "GRANT SELECT ON tokens TO [name]"),
    plain("css: .token.keyword { color: #07a }", "var(--token-[name])", "token-list-[number]", ".password-field:focus"),
    plain("we rotate the JWT secret on 2026-03-[number]", "password length went from 8 to 12", "the API token page moved to /settings2", "secret v2 is live", "token TTL is 15m"),
)  # fmt: skip


def secrets(seed: int) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Number of the kind, text, and what must be gone."""
    rng = random.Random(seed)
    for number, kind in enumerate(SECRETS):
        for _ in range(EACH):
            yield str(number), *kind(rng)


def others(seed: int) -> Iterator[str]:
    """Texts that hold no secret."""
    rng = random.Random(seed)
    for kind in OTHERS:
        for _ in range(EACH):
            yield kind(rng)


if __name__ == "__main__":
    start = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    report(start, list(secrets(start)), list(others(start)))
