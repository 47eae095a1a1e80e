//! What must not even be spooled: the file `controls`, read as docs/controls.md ("What hooks read") says.
//!
//! `retain/capture/controls.py` writes it and reads it alike; `tests/contract/test_hook_controls.py` holds both to
//! one table. In doubt an event is spooled: the drain asks again.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

const FIRST_LINE: &[u8] = b"retain-controls 1";
const FILE_BYTES_MAX: usize = 64 * 1024;
const HEAD_BYTES: usize = 64 * 1024;
const PUBLIC_MARK: &[u8] = b"#public";

/// Whether the user has switched this project off, or made this session private.
///
/// `cwd` is where the process runs; the payload's own wins.
pub(crate) fn holds_back(home: &Path, payload: &[u8], cwd: &[u8]) -> bool {
    read(&home.join("controls")).is_some_and(|data| decides(&data, payload, cwd))
}

fn decides(data: &[u8], payload: &[u8], cwd: &[u8]) -> bool {
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if lines.first() != Some(&FIRST_LINE) {
        return false;
    }
    if is_private(&lines, payload) && !contains(payload, PUBLIC_MARK) {
        return true;
    }
    let folder = field(payload, b"\"cwd\"").map(|named| if named.is_empty() { cwd } else { named });
    folder.is_some_and(|folder| captured(&lines, folder) == Some(false))
}

fn is_private(lines: &[&[u8]], payload: &[u8]) -> bool {
    let mut private = lines
        .iter()
        .filter_map(|line| line.strip_prefix(b"private "))
        .peekable();
    if private.peek().is_none() {
        return false;
    }
    field(payload, b"\"session_id\"").is_some_and(|session| private.any(|one| one == session))
}

/// What the longest path at or above a folder says; None where none says anything.
fn captured(lines: &[&[u8]], folder: &[u8]) -> Option<bool> {
    if !folder.starts_with(b"/") {
        return None;
    }
    let says = |word: &[u8], place: &[u8]| lines.iter().any(|line| line.strip_prefix(word) == Some(place));
    let mut place = folder;
    while let Some(shorter) = place.strip_suffix(b"/") {
        place = shorter;
    }
    loop {
        let named: &[u8] = if place.is_empty() { b"/" } else { place };
        if says(b"on ", named) {
            return Some(true);
        }
        if says(b"off ", named) {
            return Some(false);
        }
        place = &place[..place.iter().rposition(|&byte| byte == b'/')?];
    }
}

/// The string after the first such key: empty where it is not there, None where it is in doubt.
fn field<'a>(payload: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let head = &payload[..payload.len().min(HEAD_BYTES)];
    let Some(at) = head.windows(key.len()).position(|part| part == key) else {
        return Some(b"");
    };
    let value = without_blanks(&head[at + key.len()..]).strip_prefix(b":")?;
    let value = without_blanks(value).strip_prefix(b"\"")?;
    let value = &value[..value.iter().position(|&byte| byte == b'"')?];
    (!value.contains(&b'\\')).then_some(value)
}

fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = text {
        text = rest;
    }
    text
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The bytes of the file; None where it is not there, cannot be read or is too long.
fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    let mut data = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut data).ok()?;
    (data.len() <= FILE_BYTES_MAX).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::decides;

    const FILE: &[u8] = b"retain-controls 1\noff /\non /home\noff /home/me/secret\nprivate s-1\n";

    #[test]
    fn the_longest_path_decides() {
        for (cwd, held) in [
            ("/", true),
            ("//", true),
            ("/tmp", true),
            ("/home/", false),
            ("/home/me", false),
            ("/home/me/secret/x/", true),
            ("/home/me/secrets", false),
            ("home", false),
            ("", false),
        ] {
            assert_eq!(decides(FILE, b"{}", cwd.as_bytes()), held, "{cwd}");
        }
    }

    #[test]
    fn a_private_session_is_held_back_until_its_end() {
        assert!(decides(FILE, br#"{"session_id":"s-1"}"#, b"/home"));
        assert!(!decides(
            FILE,
            br##"{"session_id":"s-1","prompt":"#public"}"##,
            b"/home"
        ));
        assert!(!decides(FILE, br#"{"session_id":"s-2"}"#, b"/home"));
        assert!(!decides(b"retain-controls 2\noff /\n", b"{}", b"/home"));
    }
}
