//! Branch and commit of a working tree from the files of git: the rule of `retain/git/head.py`, to the letter.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes read of HEAD, of a gitfile or of a loose ref; none of them is ever longer.
const SMALL: usize = 4096;
/// Packed refs are searched up to this size; beyond it the commit is left unknown.
const PACKED_BYTES_MAX: usize = 1 << 20;
/// What HEAD holds where the refs lie in a reftable, which is not read here.
const REFTABLE_MARK: &str = "refs/heads/.invalid";

/// Branch and commit checked out around a folder; empty where unknown, branch empty when detached.
pub(crate) fn read(cwd: &[u8]) -> (String, String) {
    let Some(git_dir) = find_git_dir(cwd) else {
        return Default::default();
    };
    let text = file(&[&git_dir, b"/HEAD"], SMALL);
    let text = strip(&text);
    let Some(named) = text.strip_prefix("ref:") else {
        let commit = if is_commit(text) { text } else { "" };
        return (String::new(), commit.to_owned());
    };
    let named = strip(named);
    if named == REFTABLE_MARK || named.contains('\0') {
        return Default::default();
    }
    let branch = named.strip_prefix("refs/heads/").unwrap_or(named);
    let shared = common_dir(&git_dir);
    let loose = file(&[&shared, b"/", named.as_bytes()], SMALL);
    let loose = strip(&loose);
    let commit = if is_commit(loose) {
        loose.to_owned()
    } else {
        packed(&file(&[&shared, b"/packed-refs"], PACKED_BYTES_MAX), named)
    };
    (branch.to_owned(), commit)
}

fn find_git_dir(cwd: &[u8]) -> Option<Vec<u8>> {
    if !cwd.starts_with(b"/") {
        return None;
    }
    let mut folder = cwd;
    loop {
        while let Some(shorter) = folder.strip_suffix(b"/") {
            folder = shorter;
        }
        let dot_git = [folder, b"/.git"].concat();
        if let Ok(found) = std::fs::metadata(OsStr::from_bytes(&dot_git)) {
            if found.is_dir() {
                return Some(dot_git);
            }
            if found.is_file() {
                let text = file(&[&dot_git], SMALL);
                if let Some(target) = strip(&text).strip_prefix("gitdir:") {
                    return Some(join(folder, strip(target).as_bytes()));
                }
            }
        }
        let slash = folder.iter().rposition(|&byte| byte == b'/')?;
        folder = &folder[..slash];
    }
}

/// The git directory that linked worktrees share.
fn common_dir(git_dir: &[u8]) -> Vec<u8> {
    let text = file(&[git_dir, b"/commondir"], SMALL);
    match strip(&text) {
        "" => git_dir.to_vec(),
        named => join(git_dir, named.as_bytes()),
    }
}

fn packed(text: &str, named: &str) -> String {
    let whole = text.rfind('\n').map_or(0, |end| end + 1); // without a last line that may have been cut
    let found = text[..whole].split('\n').find_map(|line| {
        let first = line.split(' ').next().unwrap_or_default();
        let after = line.strip_suffix(named).is_some_and(|start| start.ends_with(' '));
        (after && is_commit(first)).then_some(first)
    });
    found.unwrap_or_default().to_owned()
}

fn is_commit(text: &str) -> bool {
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(text.len(), 40 | 64) && text.bytes().all(digits)
}

fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    let base = if base.is_empty() { b"/" } else { base };
    [base, b"/", path].concat()
}

/// Without the white space around it, as Python counts white space.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

/// The start of a file as text; empty where it cannot be read.
fn file(parts: &[&[u8]], limit: usize) -> String {
    let path = parts.concat();
    let mut data = Vec::new();
    let opened = File::open(Path::new(OsStr::from_bytes(&path)));
    if opened
        .and_then(|file| file.take(limit as u64).read_to_end(&mut data))
        .is_err()
    {
        return String::new();
    }
    String::from_utf8_lossy(&data).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{is_commit, join, packed, read, strip};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_packed_ref_is_found_by_its_whole_name_and_a_cut_line_is_not_believed() {
        let text = format!("# pack-refs\n{COMMIT} refs/heads/main-2\n{COMMIT} refs/heads/main\n^peeled\n");
        assert_eq!(packed(&text, "refs/heads/main"), COMMIT);
        assert_eq!(packed(&text, "heads/main"), "");
        assert_eq!(
            packed(&format!("{COMMIT} refs/heads/main"), "refs/heads/main"),
            ""
        );
        assert_eq!(packed("not-a-hash refs/heads/main\n", "refs/heads/main"), "");
    }

    #[test]
    fn a_commit_is_a_whole_hash() {
        assert!(is_commit(COMMIT) && is_commit(&"a".repeat(64)));
        assert!(!is_commit(&COMMIT[1..]) && !is_commit(&"G".repeat(40)) && !is_commit(&"é".repeat(20)));
    }

    #[test]
    fn paths_and_white_space_are_those_of_python() {
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/a", b"/b"), b"/b");
        assert_eq!(strip("\x1c\u{a0} x y \r\n\u{2003}"), "x y");
    }

    #[test]
    fn outside_a_repository_nothing_is_known() {
        for folder in [&b""[..], b"relative", b"/", b"/no/such/folder"] {
            assert_eq!(read(folder), Default::default());
        }
    }
}
