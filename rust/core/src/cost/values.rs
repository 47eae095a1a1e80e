//! The most common values of a column, with their counts.
//!
//! What the list leaves out is known only in sum: the rows it does not cover, and how many distinct
//! values share them (`PostgreSQL`, `var_eq_const`). A column may hold several values a row (tags,
//! paths); then counts overlap, sums are only upper bounds, and the best bound for a value off the
//! list is the least count on it.

use std::collections::HashMap;

use super::glob::Glob;
use super::interval::Interval;
use super::sample::Sample;
use crate::CoreError;

/// Whether a row can have more than one value of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplicity {
    /// One value a row: counts add up.
    Single,
    /// Several values a row: counts overlap.
    Multiple,
    /// Not said: bounds hold for both, the expectation takes it for multiple if the counts sum up
    /// to more than the rows.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) struct Values {
    counts: Vec<(String, f64)>,
    by_value: HashMap<String, f64>,
    rows: f64,
    /// Distinct values that the list leaves out.
    distinct_left: f64,
    least: f64,
    /// Rows with a value off the list: expected and at most.
    left: (f64, f64),
    multiplicity: Multiplicity,
    overlapping: bool,
    sample: Option<Sample>,
}

impl Values {
    pub(crate) fn new(
        counts: Vec<(String, u64)>,
        distinct: u64,
        rows: u64,
        multiplicity: Multiplicity,
    ) -> Result<Self, CoreError> {
        if distinct < counts.len() as u64 {
            return Err(CoreError::invalid(
                "distinct",
                "must be at least the number of counts",
            ));
        }
        if let Some((value, _)) = counts.iter().find(|(_, count)| *count > rows) {
            let problem = format!("{value:?} must not be counted more often than there are rows");
            return Err(CoreError::invalid("counts", problem));
        }
        let distinct_left = (distinct - counts.len() as u64) as f64;
        let listed: u64 = counts.iter().map(|(_, count)| count).sum();
        if multiplicity == Multiplicity::Single && listed > rows {
            return Err(CoreError::invalid(
                "counts",
                "must not sum up to more than the rows",
            ));
        }
        let least = counts.iter().map(|(_, count)| *count).min().unwrap_or(rows) as f64;
        let counts: Vec<(String, f64)> = counts
            .into_iter()
            .map(|(value, count)| (value, count as f64))
            .collect();
        let by_value: HashMap<String, f64> = counts.iter().cloned().collect();
        if by_value.len() < counts.len() {
            return Err(CoreError::invalid("counts", "must name each value once"));
        }
        let overlapping = multiplicity == Multiplicity::Multiple || listed > rows;
        let rows = rows as f64;
        let uncovered = (rows - listed as f64).max(0.0);
        let left = match (multiplicity, distinct_left > 0.0) {
            (_, false) => (0.0, 0.0),
            (Multiplicity::Single, _) => (uncovered, uncovered),
            _ => {
                let most = (least * distinct_left).min(rows);
                let guess = if overlapping { most / 2.0 } else { uncovered };
                (guess.min(most), most)
            }
        };
        Ok(Self {
            counts,
            by_value,
            rows,
            distinct_left,
            least,
            left,
            multiplicity,
            overlapping,
            sample: None,
        })
    }

    /// Adds a sample of the entries, for patterns and for the values that the list leaves out.
    pub(crate) fn set_sample(&mut self, sample: Sample) {
        let listed: f64 = self.counts.iter().map(|(_, count)| count).sum();
        self.left.0 = (sample.entries() - listed).max(0.0);
        self.sample = Some(sample);
    }

    /// Entries that an index over the values walks for a prefix.
    pub(crate) fn walked(&self, prefix: &str) -> f64 {
        let listed = || self.counts.iter().filter(|(value, _)| value.starts_with(prefix));
        match &self.sample {
            Some(sample) => sample.beginning_with(prefix),
            None if prefix.is_empty() => self.rows,
            None => listed().map(|(_, count)| count).sum::<f64>() + self.left.0,
        }
    }

    /// Rows with any of these values.
    pub(crate) fn any_of(&self, values: &[String]) -> Interval {
        let mut values: Vec<&String> = values.iter().collect();
        values.sort_unstable();
        values.dedup();
        let known = values
            .iter()
            .filter_map(|value| self.by_value.get(*value).copied());
        let known: Vec<f64> = known.collect();
        let unknown = (values.len() - known.len()) as f64;
        let (expected, most) = self.left;
        let expected = if self.distinct_left > 0.0 {
            expected * (unknown / self.distinct_left).min(1.0)
        } else {
            0.0
        };
        let most = if self.multiplicity == Multiplicity::Single {
            if unknown > 0.0 { most } else { 0.0 }
        } else {
            most.min(self.least * unknown)
        };
        self.union(&known, expected, most)
    }

    /// Rows with a value that matches: those on the list, and of the others what the sample says; without
    /// one, the share that the listed values suggest (smoothed by half a match in one).
    pub(crate) fn matching(&self, pattern: &Glob<'_>) -> Interval {
        let matches = self.counts.iter().filter(|(value, _)| pattern.matches(value));
        let known: Vec<f64> = matches.map(|(_, count)| *count).collect();
        let (expected, most) = self.left;
        let others = if let Some(sample) = &self.sample {
            (sample.matching(pattern) - known.iter().sum::<f64>()).clamp(0.0, expected)
        } else {
            let share = (known.len() as f64 + 0.5) / (self.counts.len() as f64 + 1.0);
            expected * share
        };
        self.union(&known, others, most)
    }

    /// Rows that have the column at all.
    pub(crate) fn rows(&self) -> f64 {
        self.rows
    }

    pub(crate) fn distinct(&self) -> f64 {
        self.counts.len() as f64 + self.distinct_left
    }

    /// Rows with any of the `known` counts, or among the `others` (expected, at most).
    fn union(&self, known: &[f64], expected_others: f64, most_others: f64) -> Interval {
        let sum: f64 = known.iter().sum();
        let largest = known.iter().copied().fold(0.0, f64::max);
        let min = if self.multiplicity == Multiplicity::Single {
            sum
        } else {
            largest
        };
        let expected = if self.overlapping && self.rows > 0.0 {
            let parts = known.iter().copied().chain([expected_others]);
            let missed: f64 = parts.map(|count| 1.0 - (count / self.rows).min(1.0)).product();
            self.rows * (1.0 - missed)
        } else {
            sum + expected_others
        };
        Interval::within(min, expected, sum + most_others, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::{Multiplicity, Values};
    use crate::cost::Interval;
    use crate::cost::glob::Glob;

    fn values(counts: &[(&str, u64)], distinct: u64, rows: u64, multiplicity: Multiplicity) -> Values {
        let counts = counts.iter().map(|(value, count)| ((*value).to_owned(), *count));
        Values::new(counts.collect(), distinct, rows, multiplicity).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn listed_values_of_a_single_valued_column_are_exact() {
        let kinds = values(&[("note", 50), ("error", 30)], 4, 100, Multiplicity::Single);
        assert_eq!(kinds.any_of(&names(&["note"])), Interval::exactly(50.0));
        assert_eq!(
            kinds.any_of(&names(&["note", "error", "note"])),
            Interval::exactly(80.0)
        );
        assert_eq!(kinds.any_of(&[]), Interval::ZERO);
        assert_eq!(kinds.rows(), 100.0);
    }

    #[test]
    fn an_unlisted_value_takes_its_part_of_what_is_left() {
        let kinds = values(&[("note", 50), ("error", 30)], 6, 100, Multiplicity::Single);
        let rows = kinds.any_of(&names(&["fix"]));
        assert_eq!((rows.min, rows.expected, rows.max), (0.0, 5.0, 20.0));
        let complete = values(&[("note", 50)], 1, 50, Multiplicity::Single);
        assert_eq!(complete.any_of(&names(&["fix"])), Interval::ZERO);
    }

    #[test]
    fn several_values_a_row_overlap() {
        let tags = values(&[("a", 60), ("b", 50)], 3, 100, Multiplicity::Multiple);
        let rows = tags.any_of(&names(&["a", "b"]));
        assert_eq!((rows.min, rows.max), (60.0, 100.0));
        assert!((rows.expected - 80.0).abs() < 1e-9);
        let unlisted = tags.any_of(&names(&["c"]));
        assert_eq!((unlisted.min, unlisted.expected, unlisted.max), (0.0, 25.0, 50.0));
    }

    #[test]
    fn without_a_word_about_multiplicity_the_bounds_are_careful() {
        let kinds = values(&[("a", 50), ("b", 30)], 4, 100, Multiplicity::Unknown);
        let rows = kinds.any_of(&names(&["a", "b"]));
        assert_eq!((rows.min, rows.expected, rows.max), (50.0, 80.0, 80.0));
        assert_eq!(kinds.any_of(&names(&["x"])).max, 30.0);
    }

    #[test]
    fn a_pattern_takes_the_listed_matches_and_a_share_of_the_rest() {
        let paths = [("src/a.py", 40), ("src/b.rs", 30), ("docs/c.md", 10)];
        let paths = values(&paths, 13, 100, Multiplicity::Single);
        let rows = paths.matching(&Glob::new("src/**"));
        assert_eq!((rows.min, rows.max), (70.0, 90.0));
        assert!((rows.expected - (70.0 + 20.0 * 2.5 / 4.0)).abs() < 1e-9);
        assert_eq!(paths.matching(&Glob::new("src/a.py")).min, 40.0);
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        let refuse = |counts: &[(&str, u64)], distinct, multiplicity| {
            let counts = counts.iter().map(|(value, count)| ((*value).to_owned(), *count));
            Values::new(counts.collect(), distinct, 10, multiplicity)
                .unwrap_err()
                .to_string()
        };
        assert!(refuse(&[("a", 1), ("b", 1)], 1, Multiplicity::Unknown).starts_with("distinct:"));
        assert!(refuse(&[("a", 11)], 1, Multiplicity::Unknown).starts_with("counts:"));
        assert!(refuse(&[("a", 6), ("b", 6)], 2, Multiplicity::Single).starts_with("counts:"));
        assert!(refuse(&[("a", 1), ("a", 2)], 2, Multiplicity::Unknown).starts_with("counts:"));
    }

    #[test]
    fn an_empty_column_yields_nothing() {
        let empty = values(&[], 0, 0, Multiplicity::Unknown);
        assert_eq!(empty.any_of(&names(&["a"])), Interval::ZERO);
        assert_eq!(empty.matching(&Glob::new("*")), Interval::ZERO);
    }
}
