//! Secrets known only by the name beside them: `password=...`, `--token ...`, "the password is ...".
//!
//! This module finds the name, what stands between, and the value; [`super::judge`] says whether that is a secret.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::fixed;
use super::words::{self, FLAGS, KEYS, PIN};

/// How a secret is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Code,
    Flag,
    Prose,
    /// The value stands right behind the name, with nothing between that says so.
    Told,
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

/// Backslashes before a quote: each time that a text is quoted, they double.
const ESCAPES: usize = 7;
const INDENT: usize = 40;
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
    if let Some(found) = words::whole().find_map(|word| cursor.after(word)) {
        return Some((at, found.at));
    }
    if let Some(end) = cursor.after("credential") {
        return Some((at, end.at));
    }
    if let Some(end) = cursor.after("pass").or_else(|| cursor.after("pw")) {
        return bare_pass(text, at, end).then_some((at, end.at));
    }
    let end = cursor.after("key")?;
    key_start(text, at).map(|start| (start, end.at))
}

/// `pass` or `pw` alone counts where it ends a longer name, or stands by itself before an operator.
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
        .skip(ESCAPES, |byte| byte == b'\\')
        .skip(1, |byte| matches!(byte, b'"' | b'\'' | b'`'))
        .skip(1, |byte| byte == b']');
    let (operator, value) = [
        annotated(close),
        assigned(close),
        attributed(close),
        listed(close),
    ]
    .into_iter()
    .flatten()
    .find_map(|operator| value(operator).map(|value| (operator, value)))?;
    Some(named(Manner::Code, start, [behind, tail, close, operator], value))
}

/// What was found from `start` on, by the ends of its name, what the name goes on with, what closes it, and the operator.
fn named(manner: Manner, start: usize, ends: [Cursor<'_>; 4], value: Value) -> Named<'_> {
    let [name, tail, close, operator] = ends;
    Named {
        text: name.text,
        manner,
        start,
        name: name.since(start),
        tail: tail.since(name.at),
        close: close.since(tail.at),
        operator: operator.since(close.at),
        value: value.0,
        quoted: value.1,
        bracket: value.2,
    }
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
    [":=", "=>", "===", "==", "=", ":", "\u{ff1a}"]
        .iter()
        .find_map(|sign| operator.after(sign))
        .map(|end| folded(end).unwrap_or_else(|| end.skip(8, is_blank)))
}

/// Behind the mark of a block of YAML, where the value begins on the next line.
fn folded(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let mark = at.skip(4, |byte| byte == b' ');
    let end = mark
        .skip(1, |byte| matches!(byte, b'|' | b'>'))
        .skip(1, |byte| matches!(byte, b'-' | b'+'));
    (end.at > mark.at && matches!(end.peek(), Some(b'\n' | b'\r'))).then(|| end.skip(INDENT, is_blank))
}

/// Behind the `value` that follows a name: `name="password" value="..."`, and the same in YAML and JSON.
fn attributed(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let blank = at.skip(1, |byte| byte == b',').skip(INDENT, is_blank);
    let quote = blank.skip(1, |byte| matches!(byte, b'"' | b'\''));
    let word = quote.after("value").filter(|_| blank.at > at.at)?;
    let close = word
        .skip(1, |byte| matches!(byte, b'"' | b'\''))
        .skip(2, is_blank);
    let sign = close.skip(1, |byte| matches!(byte, b'=' | b':'));
    (sign.at > close.at).then(|| sign.skip(4, is_blank))
}

/// Behind the comma of a list of arguments.
fn listed(at: Cursor<'_>) -> Option<Cursor<'_>> {
    at.after(",").map(|end| end.skip(4, is_blank))
}

/// The range of a value, whether it is quoted, and whether a bracket follows.
type Value = ((usize, usize), bool, bool);

/// The value at a place.
fn value(at: Cursor<'_>) -> Option<Value> {
    let prefixed = at.skip(2, |byte| b"rRbBuUfF".contains(&byte));
    let within = at.skip(1, |byte| byte == b'(').skip(INDENT, is_blank);
    [prefixed, at, within]
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
    let open = at.skip(ESCAPES, |byte| byte == b'\\');
    let escaped = open.at > at.at;
    let quote = open.peek()?;
    if !matches!(quote, b'"' | b'\'' | b'`') || (escaped && quote != b'"') {
        return None;
    }
    let start = open.at + 1;
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
    Some(named(Manner::Flag, start, [behind, tail, close, operator], value))
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
        r#"(?i)\A["'*`]{0,2}(?P<op>(?:\s(?:for|of|to|on|in|at|that|which|we|you|they|i)(?:\s[\w@./-]{1,40}){1,5}?)?\s{1,4}(?:(?:is|was|are|ist|remains|stays)(?:\s(?:now|still|currently|set to))?|lautet|est|es|jest|je|er|\xc3\xa9|\xc3\xa8|\xc3\xa4r|set to|to|->|\xe2\x86\x92|\xe2\x80\x93|\xe2\x80\x94)\s?:?\s{1,4}|(?:\s(?:for|of|to|on|in|at)(?:\s[\w@./-]{1,40}){1,5}?)?\s?(?::\s{1,4}|\xef\xbc\x9a\s{0,4})|\s{0,2}(?:\xe6\x98\xaf|\xe4\xb8\xba|\xe3\x81\xaf|\xeb\x8a\x94|\xec\x9d\x80)\s{0,4})"#,
    )
});

/// The end of the name of a sentence's secret, around a stem at `at`, and its start.
fn spoken(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let cursor = Cursor { text, at };
    let mut names = words::whole().chain([PIN, "pw"]);
    if let Some(found) = names.find_map(|word| cursor.after(word)) {
        return Some((at, found.at));
    }
    if let Some(found) = cursor.after("credential") {
        return Some((at, found.after("s").unwrap_or(found).at));
    }
    let found = cursor.after("key")?;
    let end = match before(text, at) {
        Some(b' ' | b'-') => at - 1,
        _ => at,
    };
    Some((word_before(text, end, &["api", "access", "secret"])?, found.at))
}

/// A sentence that says a secret, around a stem at `at`.
pub(crate) fn prose(text: &[u8], at: usize) -> Option<Named<'_>> {
    let (start, end) = spoken(text, at)?;
    let behind = Cursor { text, at: end };
    let name = behind.since(start);
    let next = behind.peek()?;
    let ends = is_blank(next) || b":\"'*`".contains(&next) || (next >= 0x80 && !name.is_ascii());
    if before(text, start).is_some_and(is_word) || !ends {
        return None;
    }
    let limit = text.len().min(end + 320);
    let speech = SPEECH
        .captures(text.get(end..limit)?)
        .and_then(|found| found.name("op").map(|op| (op.start(), op.end())));
    let (manner, (from, to)) = match speech {
        Some(operator) => (Manner::Prose, operator),
        None => (Manner::Told, (0, behind.skip(2, |byte| byte == b' ').at - end)),
    };
    let value = value(Cursor { text, at: end + to }).filter(|_| to > from)?;
    Some(Named {
        text,
        manner,
        start,
        name,
        tail: &[],
        close: text.get(end..end + from).unwrap_or_default(),
        operator: text.get(end + from..end + to).unwrap_or_default(),
        value: value.0,
        quoted: value.1,
        bracket: value.2,
    })
}
