//! Secrets in texts: found by keyword, window and linear-time expression, and replaced.
//!
//! One automaton looks for the keywords of all rules in one pass. Where one stands, its rules look: from it on,
//! around it, or behind it. No expression backtracks, none is compiled before it is needed, and what a rule has
//! looked through it does not look through again, so the time is linear in the text. Of overlapping finds the one
//! of the earlier rule stays; what is left is searched again until nothing more is found.

mod blocks;
mod filters;
mod judge;
mod named;
mod pii;
mod scan;
mod table;
mod whole;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use sha2::{Digest, Sha256};

use crate::CoreError;
use scan::Use;
use table::Rule;

/// Rules of this project, which name what they find first, and those of gitleaks (MIT).
const TABLES: [&str; 2] = [include_str!("own.rules"), include_str!("gitleaks.rules")];
/// Raised when the code here finds other secrets in the same text; a change of the tables shows by itself.
const ENGINE_VERSION: u8 = 2;
/// Replacing one secret can bare another; after this many rounds the text is taken as it is.
const PASSES_MAX: usize = 16;
/// How many ranks are those of blocks, whose ends are known.
const BLOCKS: usize = 2;
const OPENING: &str = "[redacted:";
const NAME_BYTES_MAX: usize = 48;

/// Where a secret stands in a text, in bytes, and the rule that found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<'r> {
    /// The name of the rule, as the placeholder says it.
    pub rule: &'r str,
    /// Where the secret begins, on a boundary of characters.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// A text without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted<'r> {
    /// The text with a placeholder for each secret.
    pub text: String,
    /// How many secrets each rule found.
    pub counts: BTreeMap<&'r str, usize>,
}

/// A find before overlaps are settled; the lower rank stays.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    rank: usize,
    start: usize,
    end: usize,
}

/// The rules, ready to be asked. Immutable; may be shared between threads.
pub struct Redactor {
    rules: Vec<Rule>,
    names: Vec<String>,
    /// The rank of each rule of the tables.
    ranks: Vec<usize>,
    fixed: scan::Fixed,
    keywords: AhoCorasick,
    uses: Vec<Vec<Use>>,
    pii: bool,
    allowed: HashSet<(String, u64)>,
}

impl Redactor {
    /// The rules of the tables, with those for personal data where `pii` says so.
    ///
    /// `allowed` names values that are no secret: a rule and the [`fingerprint`] of the value.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for a table that cannot be read.
    pub fn new(pii: bool, allowed: impl IntoIterator<Item = (String, u64)>) -> Result<Self, CoreError> {
        let mut rules = table::parse(TABLES[0])?;
        let own = rules.len();
        rules.extend(table::parse(TABLES[1])?);
        let mut names = vec!["private".to_owned(), "private_key".to_owned()];
        let mut ranks = Vec::with_capacity(rules.len());
        let mut fixed = scan::Fixed::default();
        for (index, rule) in rules.iter().enumerate() {
            if index == own {
                fixed.named = names.len();
                names.extend(["assignment", "flag", "prose"].map(str::to_owned));
            }
            ranks.push(names.len());
            names.push(rule.name.clone());
        }
        fixed.pii = names.len();
        names.extend(pii::NAMES.map(str::to_owned));
        let (words, uses) = keywords(&rules);
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(words)
            .map_err(|error| CoreError::invalid("keywords", error.to_string()))?;
        Ok(Self {
            rules,
            names,
            ranks,
            fixed,
            keywords,
            uses,
            pii,
            allowed: allowed.into_iter().collect(),
        })
    }

    /// The names of all rules, in the order in which they are preferred.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Where secrets stand in a text: sorted, not overlapping, none of them a placeholder.
    pub fn find(&self, text: &str) -> Vec<Finding<'_>> {
        let bytes = text.as_bytes();
        let mut spans = scan::spans(self, bytes);
        for span in &mut spans {
            if (BLOCKS..self.fixed.pii).contains(&span.rank) {
                span.end = whole::lines(bytes, span.start, span.end);
            }
            while !text.is_char_boundary(span.start) {
                span.start -= 1;
            }
            while !text.is_char_boundary(span.end) {
                span.end += 1;
            }
        }
        spans.retain(|span| span.start < span.end && !touches_placeholder(bytes, *span));
        settled(spans)
            .into_iter()
            .filter_map(|span| {
                let rule = self.names.get(span.rank)?;
                let value = text.get(span.start..span.end)?;
                let allowed =
                    !self.allowed.is_empty() && self.allowed.contains(&(rule.clone(), fingerprint(value)));
                (!allowed).then_some(Finding {
                    rule,
                    start: span.start,
                    end: span.end,
                })
            })
            .collect()
    }

    /// The text without its secrets, or `None` where it has none.
    pub fn redact(&self, text: &str) -> Option<Redacted<'_>> {
        let mut findings = self.find(text);
        if findings.is_empty() {
            return None;
        }
        let mut counts = BTreeMap::new();
        let mut clean = text.to_owned();
        for _ in 0..PASSES_MAX {
            for finding in &findings {
                *counts.entry(finding.rule).or_insert(0) += 1;
            }
            clean = replaced(&clean, &findings);
            findings = self.find(&clean);
            if findings.is_empty() {
                break;
            }
        }
        Some(Redacted { text: clean, counts })
    }
}

/// 64 bits of the SHA-256 of a value, by which an allowlist knows it.
pub fn fingerprint(value: &str) -> u64 {
    hashed(value.as_bytes())
}

fn hashed(value: &[u8]) -> u64 {
    let digest = Sha256::digest(value);
    digest
        .iter()
        .take(8)
        .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

/// A number that changes with the rules, so that a store knows what it was redacted by.
pub fn rules_version() -> u64 {
    let mut hash = Sha256::new();
    hash.update([ENGINE_VERSION]);
    for table in TABLES {
        hash.update(table);
    }
    hash.finalize()
        .iter()
        .take(7)
        .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

/// Whether a key of a mapping says that its value is a secret.
pub fn names_secret(key: &str) -> bool {
    judge::names_secret(key)
}

/// Whether a value stands for a secret instead of being one.
pub fn is_placeholder(value: &str) -> bool {
    filters::is_placeholder(value.as_bytes())
}

/// Every keyword once, and what each of them sets off.
fn keywords(rules: &[Rule]) -> (Vec<String>, Vec<Vec<Use>>) {
    let mut words: Vec<String> = Vec::new();
    let mut uses: Vec<Vec<Use>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let own = [("<private", Use::Private), ("private key", Use::Pem)]
        .into_iter()
        .chain(words::stems().map(|stem| (stem, Use::Stem)))
        .chain([(words::PIN, Use::Spoken)])
        .map(|(word, kind)| (word.to_owned(), kind));
    let tables = rules.iter().enumerate().flat_map(|(index, rule)| {
        rule.keywords
            .iter()
            .map(move |word| (word.clone(), Use::Rule(index)))
    });
    for (word, kind) in own.chain(tables) {
        let index = *known.entry(word.clone()).or_insert_with(|| {
            words.push(word);
            uses.push(Vec::new());
            words.len() - 1
        });
        if let Some(list) = uses.get_mut(index) {
            list.push(kind);
        }
    }
    (words, uses)
}

/// Of overlapping spans the one of the lowest rank, and of equals the first and longest; sorted by place.
fn settled(mut spans: Vec<Span>) -> Vec<Span> {
    if spans.len() > 1 {
        spans.sort_unstable_by_key(|span| (span.rank, span.start, std::cmp::Reverse(span.end)));
    }
    let mut kept: BTreeMap<usize, Span> = BTreeMap::new();
    for span in spans {
        let before = kept.range(..span.end).next_back();
        if before.is_none_or(|(_, other)| other.end <= span.start) {
            kept.insert(span.start, span);
        }
    }
    kept.into_values().collect()
}

fn replaced(text: &str, findings: &[Finding<'_>]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut position = 0;
    for finding in findings {
        clean.push_str(text.get(position..finding.start).unwrap_or_default());
        clean.push_str(OPENING);
        clean.push_str(finding.rule);
        clean.push(']');
        position = finding.end;
    }
    clean.push_str(text.get(position..).unwrap_or_default());
    clean
}

/// Whether a span is a placeholder, or begins or ends inside of one.
fn touches_placeholder(text: &[u8], span: Span) -> bool {
    let around = |at: usize| {
        let from = at.saturating_sub(OPENING.len() + NAME_BYTES_MAX);
        let head = text.get(from..at).unwrap_or_default();
        let open = head
            .iter()
            .rposition(|&byte| byte == b'[')
            .map(|index| from + index);
        open.and_then(|open| placeholder_end(text, open))
            .filter(|&end| end > at)
    };
    placeholder_end(text, span.start) == Some(span.end)
        || around(span.start).is_some()
        || around(span.end).is_some()
}

/// Where the placeholder that begins at `open` ends.
fn placeholder_end(text: &[u8], open: usize) -> Option<usize> {
    let name = text.get(open..)?.strip_prefix(OPENING.as_bytes())?;
    let length = name
        .iter()
        .take(NAME_BYTES_MAX)
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    (length > 0 && name.get(length) == Some(&b']')).then_some(open + OPENING.len() + length + 1)
}

#[cfg(test)]
mod tests;
