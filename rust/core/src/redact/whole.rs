//! How far a secret reaches: an expression may stop in the middle of a token, and a token may go on over a line.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::fixed;
use super::judge;

const TOKEN_BYTES_MAX: usize = 4096;
const LINES_MAX: usize = 128;
const INDENT_MAX: usize = 64;

/// A backslash at the end of a line, and what the next one begins with.
static CONTINUED: LazyLock<Regex> = LazyLock::new(|| fixed(r"\A\\\r?\n(?P<s>[A-Za-z0-9+/=_.~-]{4,4096})"));
/// A string that ends, and one on the next line that is joined to it.
static JOINED: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r#"\A["'`][ \t]*(?:[+.&\\]|\.\.)?[ \t]*\r?\n[ \t]*[+.&]?[ \t]*["'`](?P<s>[A-Za-z0-9+/=_.~-]{6,4096})["'`]"#,
    )
});
/// One more line of a block.
static BLOCK: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"\A\r?\n(?P<indent>[ \t]+)(?P<s>[A-Za-z0-9+/=_~-]{16,4096})[ \t]*(?:\r?\n|\z)"));

/// The end of the token in whose middle a secret ends.
pub(crate) fn token(text: &[u8], end: usize) -> usize {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=~".contains(byte);
    if !end.checked_sub(1).and_then(|at| text.get(at)).is_some_and(inside) {
        return end;
    }
    let rest = text.get(end..).unwrap_or_default();
    end + rest
        .iter()
        .take(TOKEN_BYTES_MAX)
        .take_while(|byte| inside(byte))
        .count()
}

/// The end of a secret with the lines over which it goes on.
pub(crate) fn lines(text: &[u8], start: usize, end: usize) -> usize {
    let mut end = end;
    for _ in 0..LINES_MAX {
        match next(text, start, end) {
            Some(more) => end = more,
            None => break,
        }
    }
    end
}

fn next(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let rest = text.get(end..)?;
    if !matches!(rest.first(), Some(b'\\' | b'"' | b'\'' | b'`' | b'\r' | b'\n')) {
        return None;
    }
    let found = CONTINUED
        .captures(rest)
        .or_else(|| JOINED.captures(rest))
        .or_else(|| BLOCK.captures(rest).filter(|found| in_block(text, start, found)));
    found?.name("s").map(|part| end + part.end())
}

/// Whether a line goes on with what begins on a line of its own, as far indented.
fn in_block(text: &[u8], start: usize, found: &regex::bytes::Captures<'_>) -> bool {
    let before = text
        .get(start.saturating_sub(INDENT_MAX)..start)
        .unwrap_or_default();
    let line = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    let part = |name| found.name(name).map_or(&b""[..], |part| part.as_bytes());
    line.len() < before.len() && line == part("indent") && judge::is_random(part("s"))
}

#[cfg(test)]
mod tests {
    use super::{lines, token};

    #[test]
    fn a_secret_ends_with_its_token() {
        assert_eq!(token(b"key_abc-12= x", 5), 11);
        assert_eq!(token(b"key_abc x", 7), 7);
        assert_eq!(token(b"key'abc", 4), 4);
    }

    #[test]
    fn a_string_that_is_joined_belongs_to_it() {
        let text = b"t = \"abcdef\"\n  \"ghijkl\"\n  \"m n\"";
        assert_eq!(lines(text, 5, 11), 22);
        assert_eq!(lines(b"a=bc\\\ndefg h", 2, 4), 10);
        assert_eq!(lines(b"a=bc\\\n defg", 2, 4), 4);
    }

    #[test]
    fn a_block_goes_on_where_it_is_as_far_indented() {
        let text = b"k: >-\n  abcdefgh12345678\n  ijklmnop12345678\n port: 12345678abcdefgh\n";
        assert_eq!(lines(text, 8, 24), 43);
    }
}
