//! Shell patterns over whole values: `*`, `?`, `[a-z]`, `[!a-z]` or `[^a-z]`.
//!
//! As in `SQLite`'s GLOB and Python's `fnmatch.fnmatchcase`, `*` and `?` also match `/`, and a bracket
//! that is never closed stands for itself. Matching backtracks to the last `*` only, so that it
//! takes at most length of pattern times length of value.

#[derive(Debug)]
enum Token {
    AnyRun,
    AnyOne,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::AnyRun | Self::AnyOne => true,
            Self::Literal(literal) => *literal == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated
            }
        }
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::with_capacity(chars.len());
        let mut rest = chars.as_slice();
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            tokens.push(match first {
                '*' => Token::AnyRun,
                '?' => Token::AnyOne,
                '[' => match class(tail) {
                    Some((token, after)) => {
                        rest = after;
                        token
                    }
                    None => Token::Literal('['),
                },
                literal => Token::Literal(literal),
            });
        }
        Self { tokens }
    }

    /// The one value that the pattern stands for, if it has no wildcard.
    pub(crate) fn literal(&self) -> Option<String> {
        let chars = self.tokens.iter().map(|token| match token {
            Token::Literal(c) => Some(*c),
            _ => None,
        });
        chars.collect()
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let mut tokens = self.tokens.as_slice();
        let mut chars = value.chars();
        let mut retry = None;
        loop {
            let next = chars.clone().next();
            match (tokens.split_first(), next) {
                (None, None) => return true,
                (Some((Token::AnyRun, rest)), _) => {
                    tokens = rest;
                    retry = Some((rest, chars.clone()));
                    continue;
                }
                (Some((token, rest)), Some(c)) if token.accepts(c) => {
                    tokens = rest;
                    chars.next();
                    continue;
                }
                _ => {}
            }
            // A mismatch: let the last `*` swallow one more character.
            let Some((after_star, mut from)) = retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            tokens = after_star;
            chars = from.clone();
            retry = Some((after_star, from));
        }
    }
}

/// The class that starts after a `[`, and what follows it; `None` if it is never closed.
fn class(chars: &[char]) -> Option<(Token, &[char])> {
    let (negated, body) = match chars.split_first()? {
        ('!' | '^', rest) => (true, rest),
        _ => (false, chars),
    };
    // A `]` in first place belongs to the class.
    let end = 1 + body.get(1..)?.iter().position(|c| *c == ']')?;
    let (mut members, rest) = (body.get(..end)?, body.get(end + 1..)?);
    let mut ranges = Vec::new();
    while let Some((&low, tail)) = members.split_first() {
        members = tail;
        let high = match tail {
            ['-', high, after @ ..] => {
                members = after;
                *high
            }
            _ => low,
        };
        ranges.push((low, high));
    }
    Some((Token::Class { negated, ranges }, rest))
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_as_in_a_shell_except_that_slashes_are_plain() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("*.py", "src/x.py", true),
            ("src/**", "src/a/b.rs", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "ax", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[*]", "*", true),
            ("[*]", "a", false),
            ("[ab", "[ab", true),
            ("[", "[", true),
            ("[!", "[!", true),
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
    fn a_pattern_without_wildcards_is_a_literal() {
        assert_eq!(Glob::new("a/b").literal().as_deref(), Some("a/b"));
        assert_eq!(Glob::new("a/*").literal(), None);
        assert_eq!(Glob::new("[a]").literal(), None);
    }

    #[test]
    fn many_stars_do_not_explode() {
        let value = "a".repeat(2000);
        assert!(!Glob::new(&"a*".repeat(50).replace("a*", "*a*b")).matches(&value));
    }
}
