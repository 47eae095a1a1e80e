//! Row counts as intervals, and what `and`, `or` and `not` make of them.
//!
//! `min` and `max` are the Fréchet bounds: true whatever the correlation of the conditions, as long
//! as the inputs' bounds are true. `expected` must guess a correlation. Independence guesses too low
//! for the conditions people combine, so that each further condition counts with half the exponent
//! of the one before: s1 * s2^(1/2) * s3^(1/4) * s4^(1/8), from the most selective on. This is the
//! exponential back-off of SQL Server since 2014 (J. Sack, *Optimizing Your Query Plans with the SQL
//! Server 2014 Cardinality Estimator*, Microsoft, 2014). Disjunction goes through De Morgan.

use crate::CoreError;

/// Conditions beyond this many, the least selective, do not lower an expectation any more.
const BACKOFF_TERMS: usize = 4;

/// An estimated number of rows (or of microseconds or bytes): `0 <= min <= expected <= max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// No fewer than this.
    pub min: f64,
    /// The single best guess.
    pub expected: f64,
    /// No more than this.
    pub max: f64,
}

impl Interval {
    /// Nothing, for certain.
    pub const ZERO: Self = Self {
        min: 0.0,
        expected: 0.0,
        max: 0.0,
    };

    /// A checked interval; `field` is named in the error.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if a bound is negative, infinite or not a number, or if they are not
    /// in ascending order.
    pub fn new(field: impl std::fmt::Display, min: f64, expected: f64, max: f64) -> Result<Self, CoreError> {
        if ![min, expected, max]
            .iter()
            .all(|bound| bound.is_finite() && *bound >= 0.0)
        {
            let problem = format!("must be finite and at least 0, not ({min}, {expected}, {max})");
            return Err(CoreError::invalid(field.to_string(), problem));
        }
        if min > expected || expected > max {
            let problem = format!("must be ascending, not ({min}, {expected}, {max})");
            return Err(CoreError::invalid(field.to_string(), problem));
        }
        Ok(Self { min, expected, max })
    }

    /// Exactly this many.
    pub const fn exactly(value: f64) -> Self {
        Self {
            min: value,
            expected: value,
            max: value,
        }
    }

    /// Bounds forced into `0..=total` and into order, for sums that rounding may push over.
    pub(crate) fn within(min: f64, expected: f64, max: f64, total: f64) -> Self {
        let max = max.clamp(0.0, total);
        let min = min.clamp(0.0, max);
        Self {
            min,
            expected: expected.clamp(min, max),
            max,
        }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            min: self.min * factor,
            expected: self.expected * factor,
            max: self.max * factor,
        }
    }

    /// Rows that are not among these, of `total`.
    pub(crate) fn not(self, total: f64) -> Self {
        Self::within(total - self.max, total - self.expected, total - self.min, total)
    }

    /// Rows that are among all of `parts`; of no parts, all rows.
    pub(crate) fn all_of(parts: &[Self], total: f64) -> Self {
        let spare: f64 = parts.iter().map(|part| total - part.min).sum();
        let max = parts.iter().map(|part| part.max).fold(total, f64::min);
        let expected = backoff(parts.iter().map(|part| part.expected), total);
        Self::within(total - spare, expected, max, total)
    }

    /// Rows that are among any of `parts`; of no parts, none.
    pub(crate) fn any_of(parts: &[Self], total: f64) -> Self {
        let min = parts.iter().map(|part| part.min).fold(0.0, f64::max);
        let max: f64 = parts.iter().map(|part| part.max).sum();
        let missed = backoff(parts.iter().map(|part| total - part.expected), total);
        Self::within(min, total - missed, max, total)
    }
}

/// The damped product of selectivities, in rows.
fn backoff(rows: impl Iterator<Item = f64>, total: f64) -> f64 {
    if total <= 0.0 {
        return 0.0;
    }
    let mut shares: Vec<f64> = rows.map(|rows| (rows / total).clamp(0.0, 1.0)).collect();
    shares.sort_unstable_by(f64::total_cmp);
    let exponents = [1.0, 0.5, 0.25, 0.125];
    let damped = shares.iter().zip(exponents).take(BACKOFF_TERMS);
    total
        * damped
            .map(|(share, exponent)| share.powf(exponent))
            .product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::Interval;

    fn rows(min: f64, expected: f64, max: f64) -> Interval {
        Interval::new("rows", min, expected, max).unwrap()
    }

    #[test]
    fn bounds_must_be_finite_positive_and_ascending() {
        for (min, expected, max) in [
            (-1.0, 0.0, 0.0),
            (0.0, f64::NAN, 1.0),
            (0.0, 0.0, f64::INFINITY),
            (2.0, 1.0, 3.0),
            (0.0, 4.0, 3.0),
        ] {
            let error = Interval::new("steps[0].rows", min, expected, max).unwrap_err();
            assert!(error.to_string().starts_with("steps[0].rows:"), "{error}");
        }
    }

    #[test]
    fn conjunction_keeps_the_frechet_bounds_and_damps_the_expectation() {
        let both = Interval::all_of(&[rows(60.0, 64.0, 70.0), rows(50.0, 64.0, 65.0)], 100.0);
        assert_eq!((both.min, both.max), (10.0, 65.0));
        assert!((both.expected - 100.0 * 0.64 * 0.8).abs() < 1e-9);
        assert_eq!(Interval::all_of(&[], 100.0), Interval::exactly(100.0));
    }

    #[test]
    fn disjunction_is_at_least_the_largest_and_at_most_the_sum() {
        let either = Interval::any_of(&[rows(10.0, 20.0, 30.0), rows(5.0, 40.0, 50.0)], 100.0);
        assert_eq!((either.min, either.max), (10.0, 80.0));
        assert!(either.expected > 40.0 && either.expected < 60.0);
        assert_eq!(Interval::any_of(&[], 100.0), Interval::ZERO);
    }

    #[test]
    fn negation_mirrors_the_bounds() {
        assert_eq!(rows(10.0, 20.0, 30.0).not(100.0), rows(70.0, 80.0, 90.0));
    }

    #[test]
    fn an_empty_table_yields_nothing() {
        assert_eq!(Interval::all_of(&[Interval::ZERO], 0.0), Interval::ZERO);
        assert_eq!(Interval::any_of(&[Interval::ZERO], 0.0), Interval::ZERO);
    }
}
