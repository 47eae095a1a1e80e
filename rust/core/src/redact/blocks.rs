//! Secrets that are blocks of a text: private keys in PEM, and what a user marked as private.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::fixed;

type Span = (usize, usize);

static TAG: LazyLock<Regex> = LazyLock::new(|| fixed(r"(?i)<(?P<close>/?)private(?:\s[^<>]{0,200})?>"));
static BEGIN: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"(?i)-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----"));
static END: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"(?i)-----END[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----"));
static BODY: LazyLock<Regex> = LazyLock::new(|| fixed(r"[A-Za-z0-9+/=]{16}"));
static OPEN: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r#"\A(?:(?:\\[nr]|[\s>|"',+])*(?:[A-Za-z-]{3,20}: ?[^\n\\]{1,80}|[A-Za-z0-9+/=]{16,}))+(?:(?:\\[nr]|[\s>|])+[A-Za-z0-9+/=]+)?"#,
    )
});

/// Blocks between private tags, nested ones inside their outermost; an open one runs to the end.
///
/// A tag alone between backticks is a mention.
pub(crate) fn private(text: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for found in TAG.captures_iter(text) {
        let (Some(tag), Some(close)) = (found.get(0), found.name("close")) else {
            continue;
        };
        let quoted = tag.start() > 0 && text.get(tag.start() - 1) == Some(&b'`');
        if quoted && text.get(tag.end()) == Some(&b'`') {
            continue;
        }
        if close.is_empty() {
            start = if depth > 0 { start } else { tag.start() };
            depth += 1;
        } else if depth > 0 {
            depth -= 1;
            if depth == 0 {
                spans.push((start, tag.end()));
            }
        }
    }
    if depth > 0 {
        spans.push((start, text.len()));
    }
    spans
}

/// Private keys in PEM, whole, or cut off before their end.
pub(crate) fn pem(text: &[u8]) -> Vec<Span> {
    let begins: Vec<Span> = BEGIN
        .find_iter(text)
        .map(|found| (found.start(), found.end()))
        .collect();
    let ends: Vec<usize> = END.find_iter(text).map(|found| found.end()).collect();
    let limits = begins.iter().skip(1).map(|begin| begin.0).chain([text.len()]);
    let mut spans = Vec::new();
    for (&(start, body), limit) in begins.iter().zip(limits) {
        let next = ends.get(ends.partition_point(|&end| end <= body));
        let (upto, whole) = match next {
            Some(&end) if end <= limit => (end, true),
            _ => (limit, false),
        };
        let rest = text.get(body..upto).unwrap_or_default();
        if whole {
            if BODY.is_match(rest) {
                spans.push((start, upto));
            }
        } else if let Some(cut) = OPEN.find(rest) {
            spans.push((start, body + cut.end()));
        }
    }
    spans
}
