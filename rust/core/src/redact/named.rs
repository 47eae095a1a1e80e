//! Secrets known only by the name beside them: `password=...`, `--token ...`, "the password is ...".
//!
//! This module finds the name, what stands between, and the value; [`super::judge`] says whether that is a secret.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::fixed;

/// How a secret is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Code,
    Flag,
    Prose,
}

/// A name, what follows it, and a value, as ranges of the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'t> {
    pub(crate) text: &'t [u8],
    pub(crate) manner: Manner,
    pub(crate) start: usize,
    pub(crate) name: &'t [u8],
    pub(crate) tail: &'t [u8],
    pub(crate) close: &'t [u8],
    pub(crate) operator: &'t [u8],
    pub(crate) value: (usize, usize),
    pub(crate) quoted: bool,
    /// Whether a bracket follows an unquoted value, as in a call.
    pub(crate) bracket: bool,
}

/// Substrings of names from which a name is found.
pub(crate) const STEMS: [&str; 11] = [
    "pass",
    "pwd",
    "kennwort",
    "contrase",
    "пароль",
    "Пароль",
    "ПАРОЛЬ",
    "secret",
    "token",
    "credential",
    "key",
];
/// A stem of prose alone.
pub(crate) const PIN: &str = "pin";

const WHOLE: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "pwd",
    "kennwort",
    "contraseña",
    "contrasena",
    "пароль",
    "Пароль",
    "ПАРОЛЬ",
    "secret",
    "token",
];
const KEYS: [&str; 10] = [
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
const FLAGS: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "token",
    "secret",
    "key",
];
const SPOKEN: [&str; 8] = [
    "password",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "pin",
    "secret",
    "token",
];
const TAIL_BYTES: usize = 32;
const VALUE_BYTES: usize = 4096;
const PLAIN_BYTES: usize = 512;

/// A place in a text.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Behind up to `most` bytes that fit.
    fn skip(self, most: usize, fits: impl Fn(u8) -> bool) -> Self {
        let count = self
            .rest()
            .iter()
            .take(most)
            .take_while(|&&byte| fits(byte))
            .count();
        Self {
            at: self.at + count,
            ..self
        }
    }

    fn after(self, word: &str) -> Option<Self> {
        starts_with(self.rest(), word).then(|| Self {
            at: self.at + word.len(),
            ..self
        })
    }

    fn since(self, start: usize) -> &'t [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }
}

fn starts_with(text: &[u8], word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
}

fn before(text: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).and_then(|index| text.get(index)).copied()
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The name that a stem at `at` belongs to: its start and end.
fn name(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let cursor = Cursor { text, at };
    if let Some(found) = WHOLE.iter().find_map(|word| cursor.after(word)) {
        return Some((at, found.at));
    }
    if let Some(end) = cursor.after("credential") {
        return Some((at, end.at));
    }
    if let Some(end) = cursor.after("pass") {
        return bare_pass(text, at, end).then_some((at, end.at));
    }
    let end = cursor.after("key")?;
    key_start(text, at).map(|start| (start, end.at))
}

/// `pass` alone counts where it ends a longer name, or stands by itself before an operator.
fn bare_pass(text: &[u8], at: usize, end: Cursor<'_>) -> bool {
    let previous = before(text, at);
    let ends = !end.peek().is_some_and(|byte| byte.is_ascii_alphabetic());
    if ends && matches!(previous, Some(b'_' | b'-')) {
        return true;
    }
    let alone = !previous.is_some_and(|byte| byte.is_ascii_alphabetic());
    let next = end.skip(1, |byte| matches!(byte, b'"' | b'\'')).skip(1, is_blank);
    alone && matches!(next.peek(), Some(b'=' | b':'))
}

/// Where a name that ends in `key` at `at` begins: `api_key`, `access-key`.
fn key_start(text: &[u8], at: usize) -> Option<usize> {
    let end = match before(text, at) {
        Some(b'_' | b'-') => at - 1,
        _ => at,
    };
    word_before(text, end, &KEYS)
}

fn word_before(text: &[u8], end: usize, words: &[&str]) -> Option<usize> {
    let head = text.get(..end)?;
    words.iter().find_map(|word| {
        let start = end.checked_sub(word.len())?;
        head.get(start..)?
            .eq_ignore_ascii_case(word.as_bytes())
            .then_some(start)
    })
}

/// An assignment whose name a stem at `at` belongs to.
pub(crate) fn assignment(text: &[u8], at: usize) -> Option<Named<'_>> {
    let (start, end) = name(text, at)?;
    let behind = Cursor { text, at: end };
    let tail = behind.skip(TAIL_BYTES, |byte| is_word(byte) || byte == b'-');
    let close = tail
        .skip(1, |byte| byte == b'\\')
        .skip(1, |byte| matches!(byte, b'"' | b'\'' | b'`'))
        .skip(1, |byte| byte == b']');
    let (operator, value) = [annotated(close), assigned(close), listed(close)]
        .into_iter()
        .flatten()
        .find_map(|operator| value(operator).map(|value| (operator, value)))?;
    Some(Named {
        text,
        manner: Manner::Code,
        start,
        name: behind.since(start),
        tail: tail.since(end),
        close: close.since(tail.at),
        operator: operator.since(close.at),
        value: value.0,
        quoted: value.1,
        bracket: value.2,
    })
}

/// Behind `: str | None =`.
fn annotated(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let colon = at.skip(8, is_blank);
    let kind = Cursor {
        at: colon.at + 1,
        ..colon
    }
    .skip(4, is_blank);
    if colon.peek() != Some(b':')
        || !kind
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    {
        return None;
    }
    let named = kind.skip(41, |byte| {
        is_word(byte) || matches!(byte, b'.' | b'[' | b']' | b'|')
    });
    let union = named.skip(1, is_blank);
    let union = match union.peek() {
        Some(b'|') if union.at > named.at => {
            let blank = Cursor {
                at: union.at + 1,
                ..union
            };
            let other = blank.skip(1, is_blank);
            let end = other.skip(20, |byte| byte.is_ascii_alphabetic());
            if other.at > blank.at && end.at > other.at {
                end
            } else {
                named
            }
        }
        _ => named,
    };
    let equals = union.skip(4, is_blank);
    let end = equals.after("=")?;
    (!matches!(end.peek(), Some(b'=' | b'>'))).then(|| end.skip(8, is_blank))
}

/// Behind `=`, `:`, `:=`, `=>`, `==`.
fn assigned(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let operator = at.skip(8, is_blank);
    [":=", "=>", "===", "==", "=", ":"]
        .iter()
        .find_map(|sign| operator.after(sign))
        .map(|end| end.skip(8, is_blank))
}

/// Behind the comma of a list of arguments.
fn listed(at: Cursor<'_>) -> Option<Cursor<'_>> {
    at.after(",").map(|end| end.skip(4, is_blank))
}

/// The value at a place: its range, whether it is quoted, and whether a bracket follows.
fn value(at: Cursor<'_>) -> Option<((usize, usize), bool, bool)> {
    let prefixed = at.skip(2, |byte| b"rRbBuUfF".contains(&byte));
    [prefixed, at]
        .into_iter()
        .find_map(|place| quoted(place).map(|range| (range, true, false)))
        .or_else(|| {
            let end = at.skip(PLAIN_BYTES, |byte| {
                !is_blank(byte) && !b"\"'`,;&|<>(){}[]\\".contains(&byte)
            });
            (end.at > at.at).then(|| {
                (
                    (at.at, end.at),
                    false,
                    matches!(end.peek(), Some(b'(' | b'[' | b'{')),
                )
            })
        })
}

fn quoted(at: Cursor<'_>) -> Option<(usize, usize)> {
    let inside = at.after("\\\"");
    let escaped = inside.is_some();
    let quote = at.peek()?;
    if !escaped && !matches!(quote, b'"' | b'\'' | b'`') {
        return None;
    }
    let start = inside.map_or(at.at + 1, |cursor| cursor.at);
    let mut end = start;
    while let Some(&byte) = at.text.get(end) {
        let stops = byte == b'\n' || end - start >= VALUE_BYTES;
        if stops || (escaped && matches!(byte, b'"' | b'\\')) || (!escaped && byte == quote) {
            break;
        }
        let pair = byte == b'\\' && quote != b'`' && at.text.get(end + 1).is_some_and(|&next| next != b'\n');
        if byte == b'\\' && quote != b'`' && !pair {
            break;
        }
        end += if pair { 2 } else { 1 };
    }
    let end = end.min(at.text.len());
    (end > start).then_some((start, end))
}

/// An option of a command whose name a stem at `at` belongs to.
pub(crate) fn flag(text: &[u8], at: usize) -> Option<Named<'_>> {
    let word = FLAGS
        .iter()
        .find(|word| starts_with(text.get(at..).unwrap_or_default(), word))?;
    let (start, end) = if *word == "key" {
        let end = if before(text, at) == Some(b'-') {
            at - 1
        } else {
            at
        };
        (word_before(text, end, &["api", "access", "auth"])?, at + 3)
    } else {
        (at, at + word.len())
    };
    if before(text, start) != Some(b'-') || !opens_flag(text, start) {
        return None;
    }
    let behind = Cursor { text, at: end };
    let tail = behind.after("-key").unwrap_or(behind);
    let close = tail.skip(1, |byte| matches!(byte, b'"' | b'\''));
    let blanks = close.skip(1, |byte| byte == b',');
    let operator = blanks.skip(4, |byte| byte == b' ');
    if operator.at == blanks.at {
        return None;
    }
    let value = value(operator)?;
    Some(Named {
        text,
        manner: Manner::Flag,
        start,
        name: behind.since(start),
        tail: tail.since(end),
        close: close.since(tail.at),
        operator: operator.since(close.at),
        value: value.0,
        quoted: value.1,
        bracket: value.2,
    })
}

/// Whether the word at `start` ends an option: `--`, up to three words with hyphens, then it.
fn opens_flag(text: &[u8], start: usize) -> bool {
    let mut at = start;
    for _ in 0..4 {
        let hyphens = if before(text, at.saturating_sub(1)) == Some(b'-') {
            2
        } else {
            1
        };
        let head = at.saturating_sub(hyphens);
        if !before(text, head).is_some_and(|byte| is_word(byte) || byte == b'-') {
            return true;
        }
        let word = text.get(head.saturating_sub(20)..head).unwrap_or_default();
        let length = word
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        at = head - length;
        if hyphens == 2 || length == 0 || before(text, at) != Some(b'-') {
            return false;
        }
    }
    false
}

static SPEECH: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r#"(?i)\A["'*`]{0,2}(?P<op>(?:\s(?:for|of|to|on|in|at)(?:\s[\w@./-]{1,40}){1,5}?)?\s{1,4}(?:(?:is|was|are|ist|remains|stays)(?:\s(?:now|still|currently|set to))?|set to|to|->|\xe2\x86\x92|\xe2\x80\x93|\xe2\x80\x94)\s?:?\s{1,4}|(?:\s(?:for|of|to|on|in|at)(?:\s[\w@./-]{1,40}){1,5}?)?\s?:\s{1,4})"#,
    )
});

/// A sentence that says a secret, around a stem at `at`.
pub(crate) fn prose(text: &[u8], at: usize) -> Option<Named<'_>> {
    let cursor = Cursor { text, at };
    let (start, end) = if let Some(found) = SPOKEN.iter().find_map(|word| cursor.after(word)) {
        (at, found.at)
    } else if let Some(found) = cursor.after("credential") {
        (at, found.after("s").unwrap_or(found).at)
    } else {
        let found = cursor.after("key")?;
        let end = match before(text, at) {
            Some(b' ' | b'-') => at - 1,
            _ => at,
        };
        (word_before(text, end, &["api", "access", "secret"])?, found.at)
    };
    let behind = Cursor { text, at: end };
    let next = behind.peek()?;
    if before(text, start).is_some_and(is_word) || !(is_blank(next) || b":\"'*`".contains(&next)) {
        return None;
    }
    let limit = text.len().min(end + 320);
    let found = SPEECH.captures(text.get(end..limit)?)?;
    let operator = found.name("op")?;
    let value = value(Cursor {
        text,
        at: end + operator.end(),
    })?;
    Some(Named {
        text,
        manner: Manner::Prose,
        start,
        name: behind.since(start),
        tail: &[],
        close: text.get(end..end + operator.start()).unwrap_or_default(),
        operator: text
            .get(end + operator.start()..end + operator.end())
            .unwrap_or_default(),
        value: value.0,
        quoted: value.1,
        bracket: value.2,
    })
}
