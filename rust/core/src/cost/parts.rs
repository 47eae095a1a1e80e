//! The conditions that a filter joins by `and`, as the ways of answering see them.

use super::glob::Glob;
use super::interval::Interval;
use super::statistics::{Filter, Statistics};

/// A condition that must hold.
pub(crate) struct Part {
    /// Rows that meet it.
    pub(crate) rows: Interval,
    /// What reading its own index takes; none where there is no index for it.
    pub(crate) index: Option<Walk>,
    /// What testing one row takes.
    pub(crate) test: Test,
    /// Whether it is a single condition: the index that gives its rows leaves nothing to test.
    pub(crate) leaf: bool,
    /// Whether a row of the index of times is enough to test it: the row itself need not be read.
    pub(crate) covered: bool,
    /// Whether its index lists keys mostly ascending: of one value each, not of many paths one after the other.
    pub(crate) ascending: bool,
    /// What it says.
    pub(crate) about: About,
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// In which workspace a row lies.
    Place,
    /// In which state it is.
    State,
    /// When it happened.
    Time,
    /// What it holds.
    Content,
}

/// How much of an index is read in every workspace together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Walk {
    /// Entries that give a row.
    pub(crate) keys: f64,
    /// Entries tried on a pattern, and those of them that the rough pattern lets through.
    pub(crate) tried: f64,
    pub(crate) matched: f64,
}

impl Walk {
    fn and(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            tried: self.tried + other.tried,
            matched: self.matched + other.matched,
        }
    }

    pub(crate) fn entries(&self) -> f64 {
        self.keys.max(self.tried)
    }
}

/// Lookups and patterns that testing one row takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Test {
    /// Lookups of tags and paths in their own table.
    pub(crate) probes: f64,
    /// Patterns tried on all paths of the row.
    pub(crate) globs: f64,
    /// Patterns tried on a column.
    pub(crate) calls: f64,
}

impl Test {
    /// Tests that need another table come after those that do not.
    pub(crate) fn is_late(&self) -> bool {
        self.probes > 0.0 || self.globs > 0.0
    }

    fn count(&mut self, filter: &Filter) {
        match filter {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| self.count(part)),
            Filter::Not(part) => self.count(part),
            Filter::In { field, .. } if is_side(field) => self.probes += 1.0,
            Filter::Glob { field, .. } if field == "path" => self.globs += 1.0,
            Filter::Glob { .. } => self.calls += 1.0,
            _ => {}
        }
    }
}

impl Part {
    /// The parts of a filter in their order.
    pub(crate) fn of(statistics: &Statistics, filters: &[Filter]) -> Vec<Self> {
        let rows = statistics.rows_of_all(filters);
        let parts = filters.iter().zip(rows);
        parts
            .map(|(filter, rows)| Self::new(statistics, filter, rows))
            .collect()
    }

    fn new(statistics: &Statistics, filter: &Filter, rows: Interval) -> Self {
        let mut test = Test::default();
        test.count(filter);
        Self {
            rows,
            index: walk(statistics, filter),
            test,
            leaf: !matches!(filter, Filter::And(_) | Filter::Or(_) | Filter::Not(_)),
            covered: is_covered(filter),
            ascending: matches!(filter, Filter::In { .. }),
            about: about(filter),
        }
    }
}

fn about(filter: &Filter) -> About {
    match filter {
        Filter::In { field, .. } if field == "workspace" => About::Place,
        Filter::In { field, .. } if field == "status" => About::State,
        Filter::Range { .. } => About::Time,
        _ => About::Content,
    }
}

fn is_covered(filter: &Filter) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().all(is_covered),
        Filter::Not(part) => is_covered(part),
        Filter::In { field, .. } => is_side(field) || about(filter) != About::Content,
        Filter::Range { .. } | Filter::All => true,
        Filter::Glob { .. } => false,
    }
}

fn is_side(field: &str) -> bool {
    field == "tag" || field == "path"
}

/// What reading the index takes that gives the rows of a condition, or more than those.
fn walk(statistics: &Statistics, filter: &Filter) -> Option<Walk> {
    match filter {
        Filter::In { field, .. } if matches!(field.as_str(), "tag" | "path" | "session" | "id" | "kind") => {
            Some(Walk {
                keys: statistics.rows(filter).expected,
                ..Walk::default()
            })
        }
        Filter::Glob { field, pattern } if field == "path" => {
            let (keys, glob) = (statistics.rows(filter).expected, Glob::new(pattern));
            if glob.folder().is_some_and(|folder| !folder.is_empty()) {
                // A range of the index is exactly the folder.
                return Some(Walk {
                    keys,
                    ..Walk::default()
                });
            }
            Some(Walk {
                keys,
                tried: statistics.walked(field, &glob.prefix()).max(keys),
                matched: keys,
            })
        }
        Filter::Or(parts) if !parts.is_empty() => {
            let each: Option<Vec<Walk>> = parts.iter().map(|part| walk(statistics, part)).collect();
            each.map(|each| each.into_iter().fold(Walk::default(), Walk::and))
        }
        // The store takes the first that has an index.
        Filter::And(parts) => parts.iter().find_map(|part| walk(statistics, part)),
        _ => None,
    }
}
