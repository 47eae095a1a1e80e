//! The table of rules: read from text, one field a line, so that a change of a rule reads as one.
//!
//! `rule NAME` opens a rule. `keyword K` (lower case, repeated): nothing else of the rule runs where none occurs.
//! `pattern RE` is searched around a keyword, `near RE` stands for the secret behind "keyword, a few characters,
//! operator". The secret is the group `s`, else `group N`, else the first group that took part, else the whole.
//! `window BACK AHEAD` in bytes; `anchor any|word|space` says that the pattern begins with its keyword, and after
//! what (anything, no letter or digit, blank); `entropy BITS` a byte at least; `filter NAME`; `before TEXT` on the line before;
//! `allow_secret|match|line RE`, `stop WORD` and `known HASH` say what is no secret all the same.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use crate::CoreError;

/// How far before and behind a keyword a pattern is searched, unless its rule says otherwise.
const WINDOW: (usize, usize) = (160, 640);
/// Bytes that one compiled expression may take, and its lazy automaton.
const SIZE_LIMIT: usize = 8 << 20;

/// A test of a found value, named in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// No placeholder, no variable, no dummy word.
    Real,
    /// Holds a digit.
    Digit,
    /// Upper and lower case, and a digit or one of `/+`.
    Mixed,
    /// Neither placeholder nor place nor name of something.
    Value,
    /// No run of words that hyphens or underscores join.
    Token,
    /// Mixes letters, digits and signs as no word does.
    Random,
    /// Base64 of a name, a colon and a password.
    Credentials,
    /// Does not call itself an example.
    Example,
}

/// What an allowance looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Secret,
    Match,
    Line,
}

/// What stands before a keyword with which a pattern begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Any,
    Word,
    Space,
}

/// How the secret is found once a keyword was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Anywhere in a window around the keyword.
    Window,
    /// From the keyword on.
    Anchored(Edge),
    /// Behind the keyword, a few characters and an operator.
    Near,
}

/// An expression that is compiled when it is first needed: most never are.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
    compiled: OnceLock<Regex>,
}

impl Expression {
    fn new(source: String) -> Self {
        Self {
            source,
            compiled: OnceLock::new(),
        }
    }

    /// The compiled expression. One that does not compile matches nothing; a test compiles the whole table.
    pub(crate) fn get(&self) -> &Regex {
        self.compiled
            .get_or_init(|| compile(&self.source).unwrap_or_else(|_| nothing()))
    }
}

/// An expression over bytes: ASCII classes, which are what tokens are made of and compile fast.
pub(crate) fn compile(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .build()
}

#[allow(clippy::expect_used, reason = "a constant that a test compiles")]
fn nothing() -> Regex {
    compile(r"[^\x00-\xff]").expect("a class that holds nothing")
}

/// One kind of secret.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) style: Style,
    pub(crate) expression: Expression,
    pub(crate) window: (usize, usize),
    pub(crate) group: Option<usize>,
    pub(crate) entropy: f64,
    pub(crate) filters: Vec<Filter>,
    pub(crate) before: Vec<String>,
    pub(crate) allowed: Vec<(Target, Expression)>,
    pub(crate) stop: Vec<String>,
    pub(crate) known: Vec<u64>,
}

impl Rule {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            keywords: Vec::new(),
            style: Style::Window,
            expression: Expression::new(String::new()),
            window: WINDOW,
            group: None,
            entropy: 0.0,
            filters: Vec::new(),
            before: Vec::new(),
            allowed: Vec::new(),
            stop: Vec::new(),
            known: Vec::new(),
        }
    }

    fn set(&mut self, field: &str, value: &str) -> Option<()> {
        match field {
            "keyword" => self.keywords.push(value.to_owned()),
            "pattern" => self.expression = Expression::new(value.to_owned()),
            "anchor" => {
                self.style = Style::Anchored(edge(value)?);
                self.expression = Expression::new(format!(r"\A(?:{})", self.expression.source));
            }
            "near" => {
                self.style = Style::Near;
                self.expression = Expression::new(format!(r"\A(?i:({value})(?:[`'\x22\s;]|\\[nr]|\z))"));
            }
            "window" => {
                let (back, ahead) = value.split_once(' ')?;
                self.window = (back.parse().ok()?, ahead.parse().ok()?);
            }
            "group" => self.group = Some(value.parse().ok()?),
            "entropy" => self.entropy = value.parse().ok()?,
            "filter" => self.filters.push(filter(value)?),
            "before" => self.before.push(value.to_owned()),
            "allow_secret" => self.allow(Target::Secret, value),
            "allow_match" => self.allow(Target::Match, value),
            "allow_line" => self.allow(Target::Line, value),
            "stop" => self.stop.push(value.to_ascii_lowercase()),
            "known" => self.known.push(u64::from_str_radix(value, 16).ok()?),
            _ => return None,
        }
        Some(())
    }

    fn allow(&mut self, target: Target, value: &str) {
        self.allowed.push((target, Expression::new(value.to_owned())));
    }
}

fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "real" => Filter::Real,
        "digit" => Filter::Digit,
        "mixed" => Filter::Mixed,
        "value" => Filter::Value,
        "random" => Filter::Random,
        "token" => Filter::Token,
        "credentials" => Filter::Credentials,
        "example" => Filter::Example,
        _ => return None,
    })
}

fn edge(name: &str) -> Option<Edge> {
    Some(match name {
        "any" => Edge::Any,
        "word" => Edge::Word,
        "space" => Edge::Space,
        _ => return None,
    })
}

/// The rules of a table, in their order.
///
/// # Errors
/// [`CoreError::Invalid`] naming the line that cannot be read.
pub(crate) fn parse(table: &str) -> Result<Vec<Rule>, CoreError> {
    let mut rules: Vec<Rule> = Vec::new();
    for (number, line) in table.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (field, value) = line.split_once(' ').unwrap_or((line, ""));
        let read = if field == "rule" {
            rules.push(Rule::new(value));
            Some(())
        } else {
            rules.last_mut().and_then(|rule| rule.set(field, value))
        };
        read.ok_or_else(|| CoreError::invalid(format!("rules line {}", number + 1), "cannot be read"))?;
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::{compile, nothing, parse};
    use crate::redact::TABLES;

    #[test]
    fn every_expression_of_the_table_compiles_and_every_rule_has_a_keyword() {
        assert!(!nothing().is_match(b"anything"));
        for table in TABLES {
            for rule in parse(table).expect("the table is well formed") {
                assert!(!rule.keywords.is_empty(), "{}", rule.name);
                assert!(
                    rule.keywords
                        .iter()
                        .all(|word| *word == word.to_ascii_lowercase())
                );
                assert!(rule.name.len() <= 48, "{}", rule.name);
                let allowed = rule.allowed.iter().map(|(_, expression)| expression);
                for expression in allowed.chain([&rule.expression]) {
                    assert!(!expression.source.is_empty(), "{}", rule.name);
                    if let Err(error) = compile(&expression.source) {
                        panic!("{}: {error}", rule.name);
                    }
                }
            }
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        assert!(
            parse("rule a\nkeyword b\nfilter none").is_err_and(|error| error.to_string().contains("line 3"))
        );
        assert!(parse("keyword b").is_err());
    }
}
