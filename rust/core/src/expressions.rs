//! Expressions tried in their order, each only where one of its keywords stands in the text.
//!
//! One automaton looks for the keywords of all of them in one pass, so that most texts cost that pass alone. None is
//! compiled before it is needed, and none backtracks: the time is linear in the text.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::{Regex, RegexBuilder, bytes};

use crate::CoreError;

/// More expressions than a mask has bits are refused.
const EXPRESSIONS_MAX: usize = 64;
const COMPILED_BYTES_MAX: usize = 32 << 20;

/// An expression, compiled when it is first needed: for ASCII, whose states are a tenth as many, and for all else.
struct Expression {
    source: String,
    ascii: OnceLock<Result<bytes::Regex, CoreError>>,
    wide: OnceLock<Result<Regex, CoreError>>,
}

impl Expression {
    fn is_match(&self, text: &str) -> Result<bool, CoreError> {
        if text.is_ascii() {
            let compiled = self.ascii.get_or_init(|| {
                bytes::RegexBuilder::new(&self.source)
                    .unicode(false)
                    .multi_line(true)
                    .size_limit(COMPILED_BYTES_MAX)
                    .build()
                    .map_err(|error| refused(&error))
            });
            compiled
                .as_ref()
                .map(|found| found.is_match(text.as_bytes()))
                .map_err(Clone::clone)
        } else {
            let compiled = self.wide.get_or_init(|| {
                RegexBuilder::new(&self.source)
                    .multi_line(true)
                    .size_limit(COMPILED_BYTES_MAX)
                    .build()
                    .map_err(|error| refused(&error))
            });
            compiled
                .as_ref()
                .map(|found| found.is_match(text))
                .map_err(Clone::clone)
        }
    }
}

fn refused(error: &regex::Error) -> CoreError {
    CoreError::invalid("expression", error.to_string())
}

/// A list of expressions with their keywords. Immutable; may be shared between threads.
pub struct Expressions {
    keywords: AhoCorasick,
    /// The expressions that each keyword belongs to, a bit each.
    owners: Vec<u64>,
    list: Vec<Expression>,
}

impl Expressions {
    /// Takes (keywords, expression); `^` and `$` of an expression stand for the ends of a line.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for more than 64 expressions, or for one without a keyword.
    pub fn new(list: impl IntoIterator<Item = (Vec<String>, String)>) -> Result<Self, CoreError> {
        let (mut words, mut owners, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (needs, source)) in list.into_iter().enumerate() {
            if index >= EXPRESSIONS_MAX {
                return Err(CoreError::invalid("expressions", "must be at most 64"));
            }
            if needs.is_empty() || needs.iter().any(String::is_empty) {
                return Err(CoreError::invalid("keywords", "must be given, and not be empty"));
            }
            for word in needs {
                words.push(word);
                owners.push(1 << index);
            }
            kept.push(Expression {
                source,
                ascii: OnceLock::new(),
                wide: OnceLock::new(),
            });
        }
        let keywords = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(words)
            .map_err(|error| CoreError::invalid("keywords", error.to_string()))?;
        Ok(Self {
            keywords,
            owners,
            list: kept,
        })
    }

    /// The first expression from `from` to before `to` that is found in a text.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for an expression that had to be tried and cannot be compiled.
    pub fn first(&self, text: &str, from: usize, to: usize) -> Result<Option<usize>, CoreError> {
        let mut waiting = 0;
        for index in from..to.min(self.list.len()) {
            waiting |= 1_u64 << index;
        }
        let mut found = 0;
        for keyword in self.keywords.find_overlapping_iter(text) {
            found |= self.owners.get(keyword.pattern().as_usize()).unwrap_or(&0) & waiting;
            if found == waiting {
                break;
            }
        }
        for (index, one) in self.list.iter().enumerate() {
            if found & (1 << index) != 0 && one.is_match(text)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Expressions;
    use crate::CoreError;

    fn made(list: &[(&[&str], &str)]) -> Expressions {
        Expressions::new(list.iter().map(|(needs, source)| {
            (
                needs.iter().map(|&need| need.to_owned()).collect(),
                (*source).to_owned(),
            )
        }))
        .unwrap()
    }

    #[test]
    fn the_first_that_is_found_is_named_within_the_range_asked_for() {
        let all = made(&[
            (&["run"], r"\brun\b.{0,9}\bfast"),
            (&["run", "walk"], r"^(?:run|walk)"),
        ]);
        assert_eq!(all.first("run, run fast", 0, 2), Ok(Some(0)));
        assert_eq!(all.first("run, run fast", 1, 2), Ok(Some(1)));
        assert_eq!(all.first("slowly\nwalk", 0, 9), Ok(Some(1)));
        assert_eq!(all.first("rerun", 0, 2), Ok(None));
        assert_eq!(all.first("run", 2, 2), Ok(None));
    }

    #[test]
    fn an_expression_without_its_keyword_is_not_tried() {
        let all = made(&[(&["never"], "(")]);
        assert_eq!(all.first("a text", 0, 1), Ok(None));
        assert!(matches!(
            all.first("never say", 0, 1),
            Err(CoreError::Invalid { .. })
        ));
    }

    #[test]
    fn a_keyword_inside_another_sets_off_its_own_expression_too() {
        let all = made(&[(&["from now on"], "from now on, run"), (&["now"], r"now on\b")]);
        assert_eq!(all.first("from now on we walk", 0, 2), Ok(Some(1)));
    }

    #[test]
    fn letters_of_any_alphabet_are_letters_where_a_text_is_not_ascii() {
        let all = made(&[(&["run"], r"run\W")]);
        assert_eq!(all.first("run\u{e9}", 0, 1), Ok(None));
        assert_eq!(all.first("run \u{e9}", 0, 1), Ok(Some(0)));
        assert_eq!(all.first("run!", 0, 1), Ok(Some(0)));
    }

    #[test]
    fn too_many_or_keywordless_expressions_are_refused() {
        let many = (0..65).map(|_| (vec!["a".to_owned()], "a".to_owned()));
        assert!(Expressions::new(many).is_err());
        assert!(Expressions::new([(Vec::new(), "a".to_owned())]).is_err());
        assert!(Expressions::new([(vec![String::new()], "a".to_owned())]).is_err());
    }
}
