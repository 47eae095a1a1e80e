//! How an integer column is spread: an equi-depth histogram.
//!
//! With `n + 1` bounds, every two neighbours enclose the same number of rows, whatever the values
//! between. A range then holds for certain the rows of buckets that lie inside, at most those of
//! buckets it touches, and by linear interpolation a part of the others (as in `PostgreSQL`,
//! `ineq_histogram_selectivity`). One row of slack a side covers bucket sizes that do not divide.

use super::interval::Interval;
use crate::CoreError;

#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: Vec<i64>,
    rows: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: Vec<i64>, rows: u64) -> Result<Self, CoreError> {
        if rows > 0 && bounds.len() < 2 {
            return Err(CoreError::invalid(
                "bounds",
                "must be at least 2 where there are rows",
            ));
        }
        if !bounds.is_sorted() {
            return Err(CoreError::invalid("bounds", "must be ascending"));
        }
        Ok(Self {
            bounds,
            rows: rows as f64,
        })
    }

    /// Rows with a value in `low..=high`, either side open.
    pub(crate) fn range(&self, low: Option<i64>, high: Option<i64>) -> Interval {
        let (low, high) = (low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX));
        let buckets = self.bounds.len().saturating_sub(1);
        if low > high || buckets == 0 {
            return Interval::ZERO;
        }
        let depth = self.rows / buckets as f64;
        let (mut inside, mut touched, mut expected) = (0.0, 0.0, 0.0);
        for pair in self.bounds.windows(2) {
            let &[first, last] = pair else { continue };
            if last < low || high < first {
                continue;
            }
            touched += depth;
            if low <= first && last <= high {
                inside += depth;
                expected += depth;
            } else {
                let width = width(first, last);
                expected += depth * self::width(first.max(low), last.min(high)) / width;
            }
        }
        if touched == 0.0 {
            return Interval::ZERO;
        }
        let whole = inside >= touched && inside >= self.rows;
        let slack = if whole { 0.0 } else { 1.0 };
        Interval::within(inside - slack, expected, touched + slack, self.rows)
    }

    /// Rows that have the column at all.
    pub(crate) fn rows(&self) -> f64 {
        self.rows
    }
}

/// How many integers `first..=last` holds.
fn width(first: i64, last: i64) -> f64 {
    last as f64 - first as f64 + 1.0
}

#[cfg(test)]
mod tests {
    use super::Histogram;
    use crate::cost::Interval;

    #[test]
    fn whole_buckets_are_certain_and_partial_ones_interpolated() {
        let histogram = Histogram::new(vec![0, 9, 19, 29, 39], 400).unwrap();
        let rows = histogram.range(Some(0), Some(24));
        assert_eq!((rows.min, rows.max), (199.0, 301.0));
        assert!((rows.expected - (200.0 + 100.0 * 6.0 / 11.0)).abs() < 1e-9);
        assert_eq!(histogram.range(None, None), Interval::exactly(400.0));
        assert_eq!(histogram.rows(), 400.0);
    }

    #[test]
    fn a_range_outside_or_upside_down_is_empty() {
        let histogram = Histogram::new(vec![0, 10], 100).unwrap();
        assert_eq!(histogram.range(Some(11), None), Interval::ZERO);
        assert_eq!(histogram.range(None, Some(-1)), Interval::ZERO);
        assert_eq!(histogram.range(Some(5), Some(4)), Interval::ZERO);
    }

    #[test]
    fn a_value_that_fills_buckets_is_certain() {
        let histogram = Histogram::new(vec![5, 5, 5, 6], 300).unwrap();
        let rows = histogram.range(Some(5), Some(5));
        assert_eq!((rows.min, rows.max), (199.0, 300.0));
        assert_eq!(rows.expected, 250.0);
    }

    #[test]
    fn bounds_must_be_ascending_and_present() {
        assert!(Histogram::new(vec![2, 1], 5).is_err());
        assert!(Histogram::new(vec![1], 5).is_err());
        let empty = Histogram::new(vec![], 0).unwrap();
        assert_eq!(empty.range(None, None), Interval::ZERO);
    }

    #[test]
    fn extreme_bounds_do_not_overflow() {
        let histogram = Histogram::new(vec![i64::MIN, i64::MAX], 10).unwrap();
        let half = histogram.range(Some(0), None).expected;
        assert!((half - 5.0).abs() < 1e-6);
    }
}
