//! What is known about the table, and how many rows a filter yields by it.

use std::collections::BTreeMap;

use super::glob::Glob;
use super::histogram::Histogram;
use super::interval::Interval;
use super::sample::Sample;
use super::values::{Multiplicity, Values};
use crate::CoreError;

/// A condition on rows, as a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every row.
    All,
    /// Rows that meet every part; without parts, every row.
    And(Vec<Filter>),
    /// Rows that meet any part; without parts, none.
    Or(Vec<Filter>),
    /// Rows that do not meet the part.
    Not(Box<Filter>),
    /// Rows that have one of the values in a column.
    In {
        /// The column.
        field: String,
        /// The values, in any order, repeated or not.
        values: Vec<String>,
    },
    /// Rows with a value that matches the shell pattern.
    Glob {
        /// The column.
        field: String,
        /// `*`, `?`, `[a-z]`, `[!a-z]`; `*` also matches `/`.
        pattern: String,
    },
    /// Rows with an integer between two bounds, both included, either open.
    Range {
        /// The column.
        field: String,
        /// The least value.
        low: Option<i64>,
        /// The greatest value.
        high: Option<i64>,
    },
}

// Guesses where a column has no statistics: PostgreSQL's, `src/include/utils/selfuncs.h`.
const SHARE_EQUAL: f64 = 0.005;
const SHARE_MATCH: f64 = 0.005;
const SHARE_RANGE: f64 = 0.005;
const SHARE_INEQUALITY: f64 = 1.0 / 3.0;

/// Statistics of one table.
#[derive(Debug, Default, Clone)]
pub struct Statistics {
    total: f64,
    values: BTreeMap<String, Values>,
    histograms: BTreeMap<String, Histogram>,
}

impl Statistics {
    /// Sets the number of rows in the table.
    pub fn set_total(&mut self, rows: u64) {
        self.total = rows as f64;
    }

    /// Replaces the most common values of `field`: each with the rows that have it, how many
    /// distinct values there are in all, and how many rows have the field.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if the numbers contradict each other.
    pub fn set_values(
        &mut self,
        field: &str,
        counts: Vec<(String, u64)>,
        distinct: u64,
        rows: u64,
        multiplicity: Multiplicity,
    ) -> Result<(), CoreError> {
        let values = Values::new(counts, distinct, rows, multiplicity)?;
        self.values.insert(field.to_owned(), values);
        Ok(())
    }

    /// Replaces the equi-depth histogram of `field`; `rows` have the field.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if the bounds are not ascending, or fewer than 2 with rows.
    pub fn set_histogram(&mut self, field: &str, bounds: Vec<i64>, rows: u64) -> Result<(), CoreError> {
        let histogram = Histogram::new(bounds, rows)?;
        self.histograms.insert(field.to_owned(), histogram);
        Ok(())
    }

    /// Adds to the values of `field` an even sample of its `entries`: each row's every value, so that a
    /// value of many rows occurs often. Nothing happens where nothing else is known of the field.
    pub fn set_sample(&mut self, field: &str, values: Vec<String>, entries: u64) {
        if let Some(known) = self.values.get_mut(field) {
            known.set_sample(Sample::new(values, entries));
        }
    }

    /// The number of rows in the table.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Entries that an index over `field` walks for values with a prefix; the whole table where nothing
    /// is known of it.
    pub(crate) fn walked(&self, field: &str, prefix: &str) -> f64 {
        self.values
            .get(field)
            .map_or(self.total, |known| known.walked(prefix))
    }

    /// How many distinct values `field` has, as far as that is known.
    pub(crate) fn distinct(&self, field: &str) -> Option<f64> {
        self.values.get(field).map(Values::distinct)
    }

    /// How many rows meet `filter`: `0 <= min <= expected <= max <= total`.
    pub fn rows(&self, filter: &Filter) -> Interval {
        match filter {
            Filter::All => Interval::exactly(self.total),
            Filter::And(parts) => Interval::all_of(&self.rows_of_all(parts), self.total),
            Filter::Or(parts) => Interval::any_of(&self.rows_of_each(parts), self.total),
            Filter::Not(part) => self.rows(part).not(self.total),
            Filter::In { field, values } => match self.values.get(field) {
                Some(known) => self.capped(known.any_of(values)),
                None => self.guess((SHARE_EQUAL * values.len() as f64).min(1.0)),
            },
            Filter::Glob { field, pattern } => match self.values.get(field) {
                Some(known) => self.capped(known.matching(&Glob::new(pattern))),
                None => self.guess(SHARE_MATCH),
            },
            Filter::Range { field, low, high } => self.range(field, *low, *high),
        }
    }

    fn range(&self, field: &str, low: Option<i64>, high: Option<i64>) -> Interval {
        match (self.histograms.get(field), low, high) {
            (_, Some(low), Some(high)) if low > high => Interval::ZERO,
            (Some(histogram), None, None) => self.capped(Interval::exactly(histogram.rows())),
            (Some(histogram), _, _) => self.capped(histogram.range(low, high)),
            (None, None, None) => match self.values.get(field) {
                Some(known) => self.capped(Interval::exactly(known.rows())),
                None => self.guess(1.0),
            },
            (None, Some(_), Some(_)) => self.guess(SHARE_RANGE),
            (None, _, _) => self.guess(SHARE_INEQUALITY),
        }
    }

    /// The rows of each part of an `and`; ranges over one field are one range, and stand in its first place.
    pub(crate) fn rows_of_all(&self, parts: &[Filter]) -> Vec<Interval> {
        let ranges = parts
            .iter()
            .filter(|part| matches!(part, Filter::Range { .. }))
            .count();
        let each = parts.iter().enumerate().map(|(place, part)| match part {
            Filter::Range { field, .. } if ranges > 1 => {
                let same = |part: &&Filter| matches!(part, Filter::Range { field: of, .. } if of == field);
                match parts.iter().take(place).find(same) {
                    Some(_) => Interval::exactly(self.total),
                    None => self.rows(&joined(field, parts)),
                }
            }
            _ => self.rows(part),
        });
        each.collect()
    }

    fn rows_of_each(&self, parts: &[Filter]) -> Vec<Interval> {
        parts.iter().map(|part| self.rows(part)).collect()
    }

    /// Statistics may be older than the total.
    fn capped(&self, rows: Interval) -> Interval {
        Interval::within(rows.min, rows.expected, rows.max, self.total)
    }

    fn guess(&self, share: f64) -> Interval {
        let most = if share > 0.0 { self.total } else { 0.0 };
        Interval::within(0.0, self.total * share, most, self.total)
    }
}

/// The range that all ranges over a field leave together.
fn joined(of: &str, parts: &[Filter]) -> Filter {
    let (mut least, mut greatest) = (None, None);
    for part in parts {
        match part {
            Filter::Range { field, low, high } if field == of => {
                least = least.max(*low);
                greatest = match (greatest, *high) {
                    (Some(one), Some(other)) => Some(i64::min(one, other)),
                    (one, other) => one.or(other),
                };
            }
            _ => {}
        }
    }
    Filter::Range {
        field: of.to_owned(),
        low: least,
        high: greatest,
    }
}

#[cfg(test)]
mod tests {
    use super::{Filter, Statistics};
    use crate::cost::{Interval, Multiplicity};

    fn kind_is(value: &str) -> Filter {
        Filter::In {
            field: "kind".into(),
            values: vec![value.into()],
        }
    }

    fn range(field: &str, low: Option<i64>, high: Option<i64>) -> Filter {
        Filter::Range {
            field: field.into(),
            low,
            high,
        }
    }

    fn statistics() -> Statistics {
        let mut statistics = Statistics::default();
        statistics.set_total(1000);
        let kinds = vec![("note".to_owned(), 500), ("error".to_owned(), 300)];
        statistics
            .set_values("kind", kinds, 4, 1000, Multiplicity::Single)
            .unwrap();
        statistics.set_histogram("time", vec![0, 100, 200], 800).unwrap();
        statistics
    }

    #[test]
    fn a_tree_combines_its_leaves() {
        let statistics = statistics();
        let tree = Filter::And(vec![
            Filter::Or(vec![kind_is("note"), kind_is("error")]),
            Filter::Not(Box::new(kind_is("error"))),
            range("time", Some(0), Some(100)),
            Filter::All,
        ]);
        let rows = statistics.rows(&tree);
        assert!(rows.min <= rows.expected && rows.expected <= rows.max && rows.max <= 801.0);
        assert_eq!(statistics.rows(&Filter::All), Interval::exactly(1000.0));
        assert_eq!(statistics.rows(&Filter::And(vec![])), Interval::exactly(1000.0));
        assert_eq!(statistics.rows(&Filter::Or(vec![])), Interval::ZERO);
    }

    #[test]
    fn a_column_without_statistics_gets_a_guess_from_nothing_to_everything() {
        let statistics = statistics();
        let unknown = Filter::Glob {
            field: "path".into(),
            pattern: "*".into(),
        };
        for filter in [
            unknown,
            range("size", Some(1), Some(2)),
            range("size", None, Some(2)),
        ] {
            let rows = statistics.rows(&filter);
            assert_eq!((rows.min, rows.max), (0.0, 1000.0));
            assert!(rows.expected > 0.0 && rows.expected < 500.0);
        }
        let nothing = Filter::In {
            field: "path".into(),
            values: vec![],
        };
        assert_eq!(statistics.rows(&nothing), Interval::ZERO);
        assert_eq!(statistics.rows(&range("size", Some(3), Some(2))), Interval::ZERO);
        assert_eq!(statistics.rows(&range("size", None, None)).max, 1000.0);
    }

    #[test]
    fn an_open_range_asks_who_has_the_column() {
        let statistics = statistics();
        assert_eq!(
            statistics.rows(&range("time", None, None)),
            Interval::exactly(800.0)
        );
        assert_eq!(
            statistics.rows(&range("kind", None, None)),
            Interval::exactly(1000.0)
        );
    }

    #[test]
    fn no_estimate_exceeds_the_total_even_with_old_statistics() {
        let mut statistics = statistics();
        statistics.set_total(100);
        assert_eq!(statistics.rows(&kind_is("note")), Interval::exactly(100.0));
        let not = Filter::Not(Box::new(kind_is("note")));
        assert_eq!(statistics.rows(&not), Interval::ZERO);
    }
}
