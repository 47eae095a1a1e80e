//! The words by which secrets are named, in the tongues that developers write.

/// Words from which a name is found, and which are whole names as they are.
const BOTH: [&str; 19] = [
    "mot de passe",
    "pwd",
    "kennwort",
    "пароль",
    "Пароль",
    "ПАРОЛЬ",
    "senha",
    "hasło",
    "wachtwoord",
    "lösenord",
    "adgangskode",
    "heslo",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "비밀번호",
    "secret",
    "token",
];
/// Beginnings of names, and what ends one.
const STEMS: [&str; 5] = ["pass", "pw", "contrase", "credential", "key"];
/// Names whose beginning is a stem; the longer before what it begins with.
const WHOLE: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "passord",
    "contraseña",
    "contrasena",
];
/// A stem of prose alone.
pub(crate) const PIN: &str = "pin";

/// What makes a key one that opens something.
pub(crate) const KEYS: [&str; 10] = [
    "api",
    "access",
    "auth",
    "private",
    "signing",
    "encryption",
    "account",
    "master",
    "license",
    "app",
];
/// Names of options.
pub(crate) const FLAGS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "token",
    "secret",
    "key",
];

/// Substrings of names from which a name is found.
pub(crate) fn stems() -> impl Iterator<Item = &'static str> {
    BOTH.into_iter().chain(STEMS)
}

/// Names that are whole as they are.
pub(crate) fn whole() -> impl Iterator<Item = &'static str> {
    BOTH.into_iter().chain(WHOLE)
}
