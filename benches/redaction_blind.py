# ruff: noqa: E501, RUF001 - tables of sentences
"""300 texts with a secret and 300 without, written before the rules were tried on them: a held-out set.

    python benches/redaction_blind.py [SEED]

Prints what is missed and what goes by mistake. None of the templates stands in the tests; no full secret stands in
this file. A sample is a text and what of it must be gone.
"""

from __future__ import annotations

import base64
import random
import string
import sys
import urllib.parse
import uuid
from collections.abc import Callable, Iterator

Rng = random.Random
Sample = tuple[str, tuple[str, ...]]
SEED = 90_210
EACH = 10
ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
HEX = "0123456789abcdef"
NAMES = ("orders", "billing", "media", "ledger", "crawler", "search", "notify", "gateway")
WORDS = ("Quartz", "lantern", "Osprey", "meadow", "Cobalt", "saffron", "Bramble", "tidal", "Nimbus", "walnut")


def some(rng: Rng, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def b64(rng: Rng, count: int) -> str:
    return base64.b64encode(rng.randbytes(count)).decode()


def chosen(rng: Rng) -> str:
    """A password as people and generators make them."""
    one, other = rng.sample(WORDS, 2)
    return rng.choice((
        f"{one}-{other}-{rng.randrange(10, 99)}", f"{one}{rng.randrange(1980, 2026)}!", some(rng, ALNUM, 20),
        f"{one[:3]}${other[:3]}%{rng.randrange(100, 999)}", some(rng, ALNUM + "!#%*-_", 16) + "4x",
        f"{one.lower()}{other.lower()}{rng.randrange(10, 99)}",
    ))  # fmt: skip


def letters(rng: Rng) -> str:
    """A password that needs no quoting anywhere."""
    return some(rng, ALNUM, rng.choice((12, 18, 24))) + str(rng.randrange(10, 99))


def filled(rng: Rng, make: Callable[[Rng], str], *templates: str) -> Sample:
    secret = make(rng)
    return rng.choice(templates).replace("@@", secret).replace("%%", rng.choice(NAMES)), (secret,)


def jdbc(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "jdbc:postgresql://db-3/%%?user=%%&password=@@&ssl=true",
        "jdbc:sqlserver://sql1:1433;databaseName=%%;user=sa;password=@@;encrypt=true",
        "jdbc:mysql://%%:@@@mysql-2:3306/%%",
    )


def ado(rng: Rng) -> Sample:
    return filled(
        rng,
        chosen,
        "Server=tcp:%%.database.windows.net,1433;Initial Catalog=%%;User ID=app;Password=@@;Encrypt=True;",
        "Data Source=sql;Initial Catalog=%%;uid=app;pwd=@@;",
        "Host=pg;Username=%%;Password=@@;Database=%%",
    )


def keyword_dsn(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        'psql "host=pg-1 user=%% password=@@ dbname=%%"',
        "dsn = host=pg port=5432 user=%% password=@@ sslmode=require",
        "The sidecar connects with `host=10.2.0.9 password=@@ user=%%`.",
    )


def env_dump(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "$ printenv | sort\nHOME=/home/ci\nLANG=C.UTF-8\n%%_API_KEY=@@\nPATH=/usr/bin:/bin\nSHLVL=1",
        "HOSTNAME=web-1\nRAILS_MASTER_KEY=@@\nTERM=xterm",
        'declare -x OLDPWD\ndeclare -x SMTP_PASSWORD="@@"\ndeclare -x PWD="/srv"',
        "env: USER=ci REDIS_AUTH_TOKEN=@@ SHELL=/bin/sh",
    )


def dotenv(rng: Rng) -> Sample:
    return filled(
        rng,
        chosen,
        "# .env of %%\nDJANGO_SECRET_KEY='@@'\nDEBUG=0",
        'export MAIL_PASSWORD="@@" # rotated in May',
        "NEXTAUTH_SECRET=@@\nNEXTAUTH_URL=http://localhost:3000",
        "ENCRYPTION_KEY=@@\n",
    )


def compose(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "services:\n  db:\n    environment:\n      - MYSQL_PASSWORD=@@\n      - MYSQL_USER=%%",
        "    environment:\n      POSTGRES_PASSWORD: @@\n      POSTGRES_DB: %%",
        '      MINIO_ROOT_PASSWORD: "@@"',
    )


def kubernetes(rng: Rng) -> Sample:
    if rng.random() < 0.5:
        return filled(
            rng,
            chosen,
            "kind: Secret\nmetadata:\n  name: %%\nstringData:\n  password: @@\n",
            "stringData:\n  api-token: '@@'",
        )
    return filled(
        rng,
        lambda r: base64.b64encode(letters(r).encode()).decode(),
        "kind: Secret\ndata:\n  password: @@\n  username: YWRtaW4=",
        "data:\n  client-secret: @@",
    )


def json_escaped(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        '{"level":"info","body":"{\\"user\\":\\"%%\\",\\"password\\":\\"@@\\"}"}',
        'log: "request {\\"api_key\\": \\"@@\\", \\"page\\": 2}"',
        '"args": "{\\\\\\"token\\\\\\":\\\\\\"@@\\\\\\"}"',
        'payload = "{\\"client_secret\\":\\"@@\\"}"',
    )


def url_encoded(rng: Rng) -> Sample:
    secret = letters(rng)
    signed = secret[:6] + "&" + secret[6:]
    quoted = urllib.parse.quote(signed, safe="")
    return rng.choice((
        (f"POST /oauth/token grant_type=password&username=a%40b.org&password={quoted}&scope=all", (quoted,)),
        (f"DATABASE=postgres%3A%2F%2Fapp%3A{secret}%40db-1%3A5432%2Fapp", (secret,)),
        (f"redirected to /cb?state=1&client_secret={quoted}#x", (quoted,)),
    ))  # fmt: skip


def basic(rng: Rng) -> Sample:
    secret = base64.b64encode(f"{rng.choice(NAMES)}:{letters(rng)}".encode()).decode()
    return rng.choice((
        f'requests.get(url, headers={{"Authorization": "Basic {secret}"}})', f"> Authorization: Basic {secret}\n> Accept: */*",
        f"Proxy-Authorization: Basic {secret}", f'nginx sets proxy_set_header Authorization "Basic {secret}";',
        f"_auth={secret}", f'{{"auths": {{"ghcr.io": {{"auth": "{secret}"}}}}}}',
    )), (secret,)  # fmt: skip


def cookies(rng: Rng) -> Sample:
    return filled(
        rng,
        lambda r: some(r, ALNUM, 32),
        "Set-Cookie: sid=@@; Path=/; HttpOnly; Secure",
        "curl -b 'theme=dark; session=@@' https://%%.example.org",
        "Cookie: _ga=GA1.2.3; auth_token=@@; lang=en",
        'requests.get(u, cookies={"sessionid": "@@"})',
        "curl --cookie PHPSESSID=@@ https://%%.example.org/",
    )


def headers(rng: Rng) -> Sample:
    return filled(
        rng,
        lambda r: some(r, ALNUM, 36),
        'metadata = [("authorization", "Bearer @@")]',
        "X-Auth-Token: @@",
        "http GET api/%% 'X-API-Key:@@'",
        'fetch(u, { headers: { "x-api-key": "@@" } })',
        "wget --header='Authorization: token @@' u",
        'req.Header.Set("Authorization", "Bearer @@")',
    )


def docker_login(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "docker login ghcr.io -u %% -p @@",
        "docker login --username %% --password=@@ registry.local:5000",
        "podman login -u ci -p '@@' quay.io",
        "helm registry login r.local -u ci -p @@",
    )


def command_lines(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        'ansible-playbook site.yml --extra-vars "db_password=@@"',
        "terraform apply -var db_password=@@ -auto-approve",
        "helm upgrade %% . --set postgresql.auth.password=@@",
        "openssl rsa -in k.pem -passin pass:@@",
        "kubectl create secret generic %% --from-literal=password=@@",
        "gh secret set NPM --body @@ && vault kv put kv/%% token=@@",
        "rclone config create s3 s3 secret_access_key @@",
        "restic -r s3 --password-command 'echo @@'",
        "smbclient //nas/x -U %%%@@",
    )


def pem_crlf(rng: Rng) -> Sample:
    rows = [b64(rng, 48) for _ in range(5)]
    kind = rng.choice(("RSA ", "", "EC ", "OPENSSH "))
    return f"-----BEGIN {kind}PRIVATE " + "KEY-----\r\n" + "\r\n".join(
        rows
    ) + f"\r\n-----END {kind}PRIVATE " + "KEY-----\r\n", tuple(rows)


def pem_escaped(rng: Rng) -> Sample:
    rows = [b64(rng, 48) for _ in range(4)]
    newline = rng.choice(("\\n", "\\\\n", "\\r\\n"))
    block = newline.join(["-----BEGIN PRIVATE " + "KEY-----", *rows, "-----END PRIVATE " + "KEY-----"])
    return rng.choice(
        (
            f'{{"client_email": "x@y", "private_key": "{block}{newline}"}}',
            f'FIREBASE_KEY="{block}"',
            f"GITHUB_APP_PEM={block}",
        )
    ), tuple(rows)


def split_over_lines(rng: Rng) -> Sample:
    head, tail = "gh" + "p_" + some(rng, ALNUM, 18), some(rng, ALNUM, 18)
    first, second = some(rng, ALNUM, 30), some(rng, ALNUM, 30)
    return rng.choice((
        (f"export GITHUB_TOKEN={head}\\\n{tail}", (head, tail)),
        (f'token = ("{head}"\n         "{tail}")', (head, tail)),
        (f'const apiKey = "{first}" +\n  "{second}";', (first, second)),
        (f"api_key: >-\n  {first}\n  {second}\nuser: x", (first, second)),
        (f"client_secret: |\n    {first}\n\nport: 80", (first,)),
        (f'API_TOKEN="{first}\\\n{second}"', (first, second)),
    ))  # fmt: skip


def other_keys(rng: Rng) -> Sample:
    rows = [b64(rng, 48) for _ in range(3)]
    age = "AGE-SECRET-" + "KEY-1" + some(rng, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)
    wire = b64(rng, 32)
    pgp = (
        "-----BEGIN PGP PRIVATE "
        "KEY BLOCK-----\nVersion: GnuPG v2\n\n"
        + "\n".join(rows)
        + "\n=aB3d\n-----END PGP PRIVATE "
        + "KEY BLOCK-----"
    )
    putty = (
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 3\n"
        + "\n".join(rows)
        + "\nPrivate-MAC: "
        + some(rng, HEX, 64)
    )
    return rng.choice((
        (f"sops uses {age}", (age,)), (f"[Interface]\nPrivateKey = {wire}\nAddress = 10.0.0.2/32", (wire,)), (pgp, tuple(rows)), (putty, tuple(rows)),
        (f"PresharedKey = {wire}", (wire,)),
    ))  # fmt: skip


def clouds(rng: Rng) -> Sample:
    make = rng.choice((
        lambda r: "sb_" + "secret_" + some(r, ALNUM, 22) + "_" + some(r, ALNUM, 8), lambda r: "sbp_" + some(r, HEX, 40),
        lambda r: "fm" + "2_lJPE" + some(r, ALNUM, 90), lambda r: "na" + "pi_" + some(r, LOWER, 64),
        lambda r: "vercel_" + "blob_rw_" + some(r, ALNUM, 16) + "_" + some(r, ALNUM, 30), lambda r: "rn" + "d_" + some(r, ALNUM, 28),
        lambda r: "dop" + "_v1_" + some(r, HEX, 64), lambda r: "psc" + "ale_tkn_" + some(r, ALNUM + "-_", 40),
        lambda r: some(r, ALNUM, 3) + "8Q~" + some(r, ALNUM + "-_.~", 34), lambda r: "LTAI5t" + some(r, ALNUM, 18),
    ))  # fmt: skip
    return filled(
        rng,
        make,
        "deploy used @@ until today",
        "`@@` is the one of the %% project",
        "flyctl -t @@ deploy",
        "The provider is configured with @@; move it to the vault.",
    )


def models(rng: Rng) -> Sample:
    make = rng.choice((
        lambda r: "pc" + "sk_" + some(r, ALNUM, 6) + "_" + some(r, ALNUM, 60), lambda r: "sk-" + "lf-" + str(uuid.UUID(int=r.getrandbits(128), version=4)),
        lambda r: "sk-" + "or-v1-" + some(r, HEX, 64), lambda r: "sk-" + some(r, HEX, 32), lambda r: "xa" + "i-" + some(r, ALNUM, 80),
        lambda r: "gs" + "k_" + some(r, ALNUM, 52), lambda r: "AQ." + "Ab8RN6" + some(r, ALNUM + "-_", 44), lambda r: "hf" + "_" + some(r, string.ascii_letters, 34),
        lambda r: "sk-" + "ant-" + "api03-" + some(r, ALNUM, 93) + "AA", lambda r: "el" + "_" + some(r, HEX, 48),
    ))  # fmt: skip
    return filled(
        rng,
        make,
        "evals ran on @@ over night",
        "client = Client('@@')",
        "LLM gateway key @@ expires in June",
        "%% calls the model with `@@`.",
    )


def devtools(rng: Rng) -> Sample:
    make = rng.choice((
        lambda r: "dckr" + "_oat_" + some(r, ALNUM + "-_", 32), lambda r: "gl" + "c_" + b64(r, 60).rstrip("="), lambda r: "ts" + "key-auth-" + some(r, ALNUM, 12) + "CNTRL-" + some(r, ALNUM, 32),
        lambda r: "PM" + "AK-" + some(r, HEX, 24) + "-" + some(r, HEX, 34), lambda r: "xkey" + "sib-" + some(r, HEX, 64) + "-" + some(r, ALNUM, 16),
        lambda r: "sntry" + "u_" + some(r, HEX, 64), lambda r: "AT" + "BB" + some(r, ALNUM, 24) + some(r, HEX.upper(), 8), lambda r: "pat-" + "eu1-" + str(uuid.UUID(int=r.getrandbits(128), version=4)),
        lambda r: "dp" + ".st.prd." + some(r, ALNUM, 43), lambda r: "re" + "_" + some(r, ALNUM, 8) + "_" + some(r, ALNUM, 24), lambda r: "NR" + "AK-" + some(r, string.ascii_uppercase + string.digits, 27),
        lambda r: "pa" + "tXb" + some(r, ALNUM, 11) + "." + some(r, HEX, 64), lambda r: "cio" + some(r, ALNUM, 32), lambda r: "da" + "pi" + some(r, HEX, 32),
        lambda r: some(r, ALNUM, 14) + ".atlas" + "v1." + some(r, ALNUM, 64), lambda r: "np" + "m_" + some(r, ALNUM, 36),
    ))  # fmt: skip
    return filled(
        rng,
        make,
        "the old one, @@, still works in CI",
        "set up with @@ by hand",
        "runner registered using @@",
    )


def chat_bots(rng: Rng) -> Sample:
    make = rng.choice((
        lambda r: "MT" + some(r, ALNUM, 24) + "." + "G" + some(r, ALNUM, 5) + "." + some(r, ALNUM + "-_", 38), lambda r: some(r, string.digits, 10) + ":AA" + "H" + some(r, ALNUM + "-_", 32),
        lambda r: "xo" + "xe.xoxp-1-" + some(r, ALNUM, 120),
    ))  # fmt: skip
    return filled(rng, make, "bot.run('@@')", "the %% bot answers with token @@", "BOT=@@ npm start")


def remote_urls(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "git remote set-url origin https://x-token-auth:@@@bitbucket.org/a/b.git",
        "ftp://%%:@@@files.local/in",
        "index-url = https://ci:@@@pypi.local/simple",
        "nats://%%:@@@nats-1:4222",
        "clickhouse://default:@@@ch:9000/%%",
        "smtp://apikey:@@@smtp.example.org:587",
        "proxy http://%%:@@@proxy:3128 is needed",
    )


def told(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "Log in as admin with password @@ on the staging box.",
        "creds for %%: admin / @@",
        "user: %%, pass: @@",
        "I set the database password to @@ for now.",
        "Password for the %% account is now @@ (rotated today)",
        "the token we use there is @@",
        "api key = @@ , same as last year",
        "ssh root@%% with pw @@",
        "login: %% password: @@",
    )


def tongues(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        "Das Passwort lautet @@",
        "Mot de passe : @@",
        "La contraseña es @@",
        "Zugangsdaten: admin / @@",
        "A senha é @@",
        "пароль: @@",
        "密码：@@",
        "パスワード: @@",
        "Hasło: @@",
    )


def configuration(rng: Rng) -> Sample:
    return filled(
        rng,
        chosen,
        "[smtp]\nhost = mail\npassword = @@\n",
        "spring.datasource.password=@@",
        '<add key="ApiKey" value="@@" />',
        "<password>@@</password>",
        'api-secret = "@@"',
        "auth:\n  shared_secret: @@\n",
        "requirepass @@",
        'sasl.jaas.config=org.x.PlainLoginModule required username="%%" password="@@";',
        "password_hash_salt_secret: '@@'",
    )


def sql(rng: Rng) -> Sample:
    return filled(
        rng,
        chosen,
        "CREATE USER '%%'@'%' IDENTIFIED BY '@@';",
        "ALTER ROLE %% WITH LOGIN PASSWORD '@@';",
        "SET PASSWORD FOR '%%'@'localhost' = '@@';",
        "CREATE LOGIN %% WITH PASSWORD = '@@';",
        "GRANT ALL ON *.* TO '%%'@'%' IDENTIFIED BY '@@' WITH GRANT OPTION;",
    )


def networks(rng: Rng) -> Sample:
    return filled(
        rng,
        chosen,
        'network={\n  ssid="office"\n  psk="@@"\n}',
        "the guest wifi password is @@",
        'ipsec: %any : PSK "@@"',
        'snmp community string and auth password "@@"',
        "radius secret = @@",
    )


def hooks(rng: Rng) -> Sample:
    parts = (some(rng, ALNUM, 9), some(rng, ALNUM, 11), some(rng, ALNUM, 24))
    slack = f"T{parts[0].upper()}/B{parts[1].upper()}/{parts[2]}"
    discord = some(rng, string.digits, 18) + "/" + some(rng, ALNUM + "-_", 68)
    teams = f"{uuid.UUID(int=rng.getrandbits(128))}@{uuid.UUID(int=rng.getrandbits(128))}/IncomingWebhook/{some(rng, HEX, 32)}/{uuid.UUID(int=rng.getrandbits(128))}"
    return rng.choice((
        ("alerts go to https://hooks.sla" + f"ck.com/services/{slack}", (parts[2],)), ("https://discord.com/api/web" + f"hooks/{discord} posts the build", (discord.split("/")[1],)),
        ("https://corp.webhook.off" + f"ice.com/webhookb2/{teams}", (teams.split("/")[2],)),
    ))  # fmt: skip


def clients(rng: Rng) -> Sample:
    return filled(
        rng,
        lambda r: b64(r, 30),
        's3 = boto3.client("s3", aws_access_key_id=ID, aws_secret_access_key="@@")',
        'new S3Client({ credentials: { accessKeyId: id, secretAccessKey: "@@" } })',
        'credentials.NewStaticCredentials(id, `@@`, "") // aws secret',
        "AWS_SESSION_TOKEN=@@",
        'Aws.config.update(secret_access_key: "@@")',
    )


def calls(rng: Rng) -> Sample:
    return filled(
        rng,
        letters,
        'smtp.login("%%@example.org", "@@")',
        "psycopg.connect(host='pg', user='%%', password='@@')",
        'redis.Redis(host="r", password="@@")',
        "conn = ldap.simple_bind_s('cn=admin', '@@')",
        'new Client({ user: "%%", password: "@@" })',
        "auth=('%%', '@@')",
        "HTTPBasicAuth('%%', '@@')",
    )


SECRETS: tuple[Callable[[Rng], Sample], ...] = (
    jdbc, ado, keyword_dsn, env_dump, dotenv, compose, kubernetes, json_escaped, url_encoded, basic, cookies, headers,
    docker_login, command_lines, pem_crlf, pem_escaped, split_over_lines, other_keys, clouds, models, devtools, chat_bots,
    remote_urls, told, tongues, configuration, sql, networks, hooks, calls,
)  # fmt: skip


def plain(*templates: str) -> Callable[[Rng], str]:
    def text(rng: Rng) -> str:
        values = {
            "sha": some(rng, HEX, 40), "short": some(rng, HEX, 8), "digest": some(rng, HEX, 64), "md5": some(rng, HEX, 32),
            "uuid": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "name": rng.choice(NAMES), "word": rng.choice(WORDS),
            "number": str(rng.randrange(2, 9_999)), "b64": b64(rng, 32), "long": b64(rng, 120), "code": some(rng, ALNUM, 24),
            "lower": some(rng, LOWER, 10),
        }  # fmt: skip
        told = rng.choice(templates)
        for key, value in values.items():
            told = told.replace(f"[{key}]", value)
        return told

    return text


OTHERS: tuple[Callable[[Rng], str], ...] = (
    plain("fix(auth): refresh token before it expires ([short])", "feat: rotate signing keys every [number] hours", "chore: drop unused API key column from [name]", 'revert: "store password hash in [name]" ([short])'),
    plain("cherry-picked from commit [sha]", "parent [sha]\ntree [sha]", "[sha] refs/heads/[name]", "submodule [name] at [sha]"),
    plain("image: ghcr.io/acme/[name]@sha256:[digest]", "Digest: sha256:[digest]", "layer [digest] exists", "[digest]  [name].tar.gz"),
    plain("        secretKeyRef:\n          name: [name]-db\n          key: password", "envFrom:\n  - secretRef:\n      name: [name]-secrets", "imagePullSecrets:\n  - name: registry-[name]", "volumes:\n- name: token\n  projected:\n    sources: [serviceAccountToken]"),
    plain("  password: ${{ secrets.DB_PASSWORD }}", "with:\n  token: ${{ github.token }}", "NPM_TOKEN: ${{ secrets.NPM_TOKEN }}", "if: secrets.DEPLOY_KEY != ''"),
    plain("password = var.db_password", "secret_id = aws_secretsmanager_secret.[name].id", 'token = data.vault_generic_secret.[name].data["token"]', "password = random_password.[name].result"),
    plain("arn:aws:secretsmanager:eu-west-1:123456789012:secret:[name]/db-AbCdEf", "vault kv get secret/[name]/prod", "projects/[name]/secrets/db-password/versions/latest", "op://Private/[name]/password"),
    plain("token, err := s.tokens.Next(ctx)", "if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil {", 'secret := os.Getenv("[name]_SECRET")', 'apiKey := r.Header.Get("X-API-Key")'),
    plain("let token = tokens.next()?;", "pub fn with_password(mut self, password: impl Into<String>) -> Self {", "let secret: Secret<String> = config.secret.clone();", "assert_eq!(token.kind, TokenKind::Ident);"),
    plain("private final String password;", 'String token = request.getHeader("Authorization");', '@Value("${[name].password}") String password;', "passwordEncoder.encode(user.getPassword())"),
    plain("export type Session = { token: string; refreshToken?: string | null };", "const { token } = await getToken({ req });", "const secretName = `${env}-[name]`;", "password: z.string().min(8).max(128),"),
    plain("password_hash VARCHAR(255) NOT NULL,", "ALTER TABLE users ADD COLUMN reset_token TEXT;", "CREATE INDEX idx_tokens_user ON tokens (user_id);", "SELECT id FROM api_keys WHERE revoked_at IS NULL"),
    plain('<input type="password" autocomplete="current-password" required>', '<label for="password">Password</label>', '<meta name="csrf-token" content="<%= token %>">', '<PasswordInput label="Password" name="password" />'),
    plain('"password": "Passwort",\n"login": "Anmelden"', '"passwordLabel": "Enter your password"', "forgot_password: Forgot your password?", '"token_expired": "Your session has expired."'),
    plain("401 Unauthorized: invalid token", 'error: password authentication failed for user "[name]"', "WARN token for [name] expires in [number]s", "TokenExpiredError: jwt expired at verify (/app/node_modules/jsonwebtoken/verify.js:40:19)"),
    plain("--color-token: #ff8800;", "--ds-token-spacing-[number]: 8px;", "design tokens: color.[word].500", "$token-radius: 4px;"),
    plain("Token(type=COMMA, value=',')", "tokens = lexer.tokenize(source)", "tok == token.NEWLINE", "expected token ')' but found 'else'"),
    plain("prompt_tokens: [number], completion_tokens: 12", 'usage = {"total_tokens": [number], "cached_tokens": 0}', "context of [number] tokens; $0.003 per token", "max_new_tokens=[number]"),
    plain("securitySchemes:\n  bearerAuth:\n    type: http\n    scheme: bearer", "in: header\nname: X-API-Key", '"password": { "type": "string", "format": "password" }', "required: [username, password]"),
    plain("API_KEY= # required", "DB_PASSWORD=\nDB_HOST=localhost", "SECRET_KEY=<generate with openssl rand -hex 32>", "TOKEN=your-token-goes-here", "PASSWORD=********"),
    plain("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[code][code] ci@[name]", "-----BEGIN PUBLIC KEY-----\n[long]\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----\n[long]\n-----END CERTIFICATE-----", "fingerprint SHA256:[b64]"),
    plain("background: url(data:image/svg+xml;base64,[long])", "//# sourceMappingURL=data:application/json;base64,[long]", 'ETag: W/"[md5]"', "X-Request-Id: [uuid]"),
    plain("0[number]_add_token_to_user.py", "db/migrate/2026[number]_create_api_keys.rb", "tests/auth/test_password_reset.py::test_token_[number]", "src/secrets/[name].rs:[number]"),
    plain("https://[name].example.org/reset-password?lang=en", "https://auth.example.org/authorize?response_type=token&client_id=[name]", "see https://docs.example.org/api-keys#rotation", "GET /v1/tokens/[uuid] 404"),
    plain("pk_" + "live_51H[code] is the publishable key", "price_1N[code] is the yearly plan", "order ord_[lower] failed", "trace-id: [md5]"),
    plain("pod/[name]-7d9f8b6c5-x2x9z restarted", "job [name]-[lower] done", "configmap/[name]-[short] created", "node ip-10-0-[number].eu-west-1.compute.internal"),
    plain('cache_key = f"user:{user_id}:[name]"', 'primary_key=True, foreign_key="[name].id"', 'if event.key == "Enter":', 'sort_key = ("created_at", "id")', 'keyboard shortcut: key: "ctrl+shift+p"'),
    plain("Passwords need at least 12 characters and one digit.", "We decided that tokens live 15 minutes and refresh tokens 30 days.", "The secret never leaves the vault; [name] asks for it at start.", "Nobody may log passwords, tokens or keys."),
    plain("docker run -p 8080:80 -u 1000:1000 [name]", "ssh -p 2222 ci@[name]", "mysql -u root -p [name]", 'curl -u "$USER:$PASS" https://[name].example.org', "psql -U [name] -W", "tool --token-file /run/secrets/token"),
    plain('yarn.lock: "js-tokens@^3.0.0 || ^4.0.0"', 'secrecy = "0.8.[number]"', "golang.org/x/crypto v0.21.0 h1:[b64]", '"keytar": "^7.9.0"', 'resolution: "jsonwebtoken@npm:9.0.2"\n  checksum: 10/[digest]'),
)  # fmt: skip


def secrets(seed: int) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Kind, text, and what must be gone."""
    rng = random.Random(seed)
    for kind in SECRETS:
        for _ in range(EACH):
            yield kind.__name__, *kind(rng)


def others(seed: int) -> Iterator[str]:
    """Texts that hold no secret."""
    rng = random.Random(seed)
    for kind in OTHERS:
        for _ in range(EACH):
            yield kind(rng)


def report(seed: int, held: list[tuple[str, str, tuple[str, ...]]], quiet: list[str]) -> tuple[int, int]:
    """Prints what is missed and what goes by mistake; returns how many of each."""
    from retain._core import Redactor

    redactor = Redactor()

    def clean(text: str) -> str:
        return (redactor.redact(text) or (text,))[0]

    missed = [(kind, text) for kind, text, parts in held if any(part in clean(text) for part in parts)]
    changed = [text for text in quiet if clean(text) != text]
    for kind, text in missed:
        print(f"missed  {kind}: {text!r}\n     -> {clean(text)!r}")
    for text in changed:
        print(f"false   {text!r}\n     -> {clean(text)!r}")
    taken = len(held) - len(missed)
    print(f"seed {seed}: {taken} of {len(held)} taken out, {len(changed)} of {len(quiet)} false")
    return len(missed), len(changed)


if __name__ == "__main__":
    start = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    report(start, list(secrets(start)), list(others(start)))
