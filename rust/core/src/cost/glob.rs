//! Path patterns: `*` and `?` within a folder, `**` across folders.
//!
//! As `retain.storage.text.glob_matches` reads them: a pattern without a slash is tried on the last
//! part of the value, as in a gitignore file; one slash before a value or pattern and those behind
//! it do not count. Matching a part backtracks to its last `*` only, and a pattern keeps the set of
//! places that it can have reached, so that time is at most length of pattern times length of value.

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Glob<'a> {
    parts: Vec<&'a str>,
    /// Whether only the last part of a value is looked at.
    name_only: bool,
    /// The folder, if the pattern is a folder with everything in it.
    folder: Option<String>,
    /// How every value that matches ends, which decides nearly every value.
    ending: &'a str,
}

impl<'a> Glob<'a> {
    pub(crate) fn new(pattern: &'a str) -> Self {
        let name_only = !pattern.contains('/');
        let parts = if name_only {
            vec![pattern]
        } else {
            core(pattern).split('/').collect()
        };
        let last = parts.last().copied().unwrap_or_default();
        let folder = match parts.split_last() {
            Some((&"**", above)) if !above.is_empty() && above.iter().all(|part| is_literal(part)) => {
                Some(above.join("/"))
            }
            _ => None,
        };
        Self {
            ending: last.rsplit(['*', '?']).next().unwrap_or_default(),
            parts,
            name_only,
            folder,
        }
    }

    /// What every value that matches begins with, after a slash that may come before it; empty where
    /// that can be anything.
    pub(crate) fn prefix(&self) -> String {
        if self.name_only {
            return String::new();
        }
        let whole = self.parts.join("/");
        let literal = whole.split(['*', '?']).next().unwrap_or_default();
        literal.trim_end_matches('/').to_owned()
    }

    /// The last part of every value that matches, where the pattern says it.
    pub(crate) fn name(&self) -> Option<&'a str> {
        let name = self.parts.last().copied().unwrap_or_default();
        is_literal(name).then_some(name)
    }

    /// Whether only the last part of a value is looked at.
    pub(crate) fn is_of_names(&self) -> bool {
        self.name_only
    }

    /// The folder, if the pattern is a folder with everything in it.
    pub(crate) fn folder(&self) -> Option<&str> {
        self.folder.as_deref()
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        if self.name_only {
            let pattern = self.parts.first().copied().unwrap_or_default();
            return value.ends_with(self.ending) && part_matches(pattern, last_part(value));
        }
        let value = core(value);
        if let Some(folder) = &self.folder {
            let rest = value.strip_prefix(folder.as_str());
            return rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        value.ends_with(self.ending) && path_matches(&self.parts, value)
    }
}

fn is_literal(part: &str) -> bool {
    !part.contains(['*', '?'])
}

/// What follows the last slash.
pub(crate) fn last_part(value: &str) -> &str {
    value.rsplit('/').next().unwrap_or_default()
}

fn core(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path).trim_end_matches('/')
}

/// Greedy over `**`: where the rest fails, the latest one swallows one more part.
fn path_matches(patterns: &[&str], value: &str) -> bool {
    let mut patterns = patterns;
    let mut rest = Some(value);
    let mut retry: Option<(&[&str], Option<&str>)> = None;
    loop {
        match (patterns.split_first(), rest) {
            (None, None) => return true,
            (Some((&"**", after)), _) => {
                patterns = after;
                retry = Some((after, rest));
                continue;
            }
            (Some((pattern, after)), Some(text)) => {
                let (part, following) = first_part(text);
                if part_matches(pattern, part) {
                    patterns = after;
                    rest = following;
                    continue;
                }
            }
            _ => {}
        }
        let Some((after, Some(from))) = retry else {
            return false;
        };
        let (_, following) = first_part(from);
        patterns = after;
        rest = following;
        retry = Some((after, following));
    }
}

fn first_part(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((part, rest)) => (part, Some(rest)),
        None => (text, None),
    }
}

fn part_matches(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    let mut retry = None;
    loop {
        let mut ahead = pattern.clone();
        match (ahead.next(), value.clone().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((ahead.clone(), value.clone()));
                pattern = ahead;
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern = ahead;
                value.next();
                continue;
            }
            _ => {}
        }
        // A mismatch: let the last `*` swallow one more character.
        let Some((after, mut from)) = retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        pattern = after.clone();
        value = from.clone();
        retry = Some((after, from));
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_as_the_store_matches_them() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*.py", "src/x.py", true),
            ("x.py", "src/x.py", true),
            ("x.py", "src/y.py", false),
            ("src/**", "src/a/b.rs", true),
            ("src/**", "src", true),
            ("src/**", "lib/a", false),
            ("src/*", "src/a/b.rs", false),
            ("src/*/b.rs", "src/a/b.rs", true),
            ("src/*/b.rs", "src/a/a/b.rs", false),
            ("**/b.rs", "b.rs", true),
            ("**/a/**/d", "x/a/b/a/c/d", true),
            ("**/a/**/d", "x/b/d", false),
            ("/src/a/", "src/a", true),
            ("src/a", "/src/a", true),
            ("feat/1*", "feat/12", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a]", "a", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("größe?", "größen", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(value),
                expected,
                "{pattern} on {value}"
            );
        }
    }

    #[test]
    fn a_pattern_says_how_its_values_begin() {
        for (pattern, prefix, name) in [
            ("src/a*", "src/a", None),
            ("src/*/b", "src", Some("b")),
            ("/src/", "src", Some("src")),
            ("x.py", "", Some("x.py")),
            ("*.py", "", None),
            ("**/x", "", Some("x")),
        ] {
            assert_eq!(Glob::new(pattern).prefix(), prefix);
            assert_eq!(Glob::new(pattern).name(), name);
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let value = "a".repeat(2000);
        assert!(!Glob::new(&"*a*b".repeat(50)).matches(&value));
        let deep = "a/".repeat(500);
        assert!(!Glob::new(&"**/a/".repeat(50).replace("a/", "b/")).matches(&deep));
    }
}
