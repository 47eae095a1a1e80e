//! What a step of a plan costs, in microseconds and bytes.
//!
//! A plan is a list of steps, each an operator over a number of rows. A step costs
//! `startup_us + row_us * rows` and `row_bytes * rows`; sorting costs `row_us` for each of
//! `rows * log2(rows)` comparisons. Costs rise with rows, so the bounds of the rows give the bounds
//! of the cost.

use super::interval::Interval;
use crate::CoreError;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Walk the full-text index and yield matching row ids.
    FtsMatch,
    /// Score matching rows.
    FtsRank,
    /// Read whole rows.
    RowFetch,
    /// Walk a range of an ordinary index.
    IndexScan,
    /// Look up single rows by id.
    RowidProbe,
    /// Sort.
    Sort,
    /// Look into the cache.
    CacheProbe,
    /// Look up a row's tags or paths in their own table.
    SideProbe,
    /// Match a path or branch against a glob.
    GlobTest,
    /// Hold a key in a set to be looked up.
    KeySet,
}

/// Three numbers that make up an operator's cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Microseconds to begin.
    pub startup_us: f64,
    /// Microseconds a row; a comparison for sorting.
    pub row_us: f64,
    /// Bytes a row.
    pub row_bytes: f64,
}

const COUNT: usize = 10;

/// Name, operator, and what it costs on an ordinary machine until measured.
const OPERATORS: [(&str, Operator, [f64; 3]); COUNT] = [
    ("fts_match", Operator::FtsMatch, [30.0, 0.06, 16.0]),
    ("fts_rank", Operator::FtsRank, [10.0, 0.8, 48.0]),
    ("row_fetch", Operator::RowFetch, [5.0, 1.2, 1024.0]),
    ("index_scan", Operator::IndexScan, [20.0, 0.2, 32.0]),
    ("rowid_probe", Operator::RowidProbe, [2.0, 0.1, 16.0]),
    ("sort", Operator::Sort, [1.0, 0.02, 64.0]),
    ("cache_probe", Operator::CacheProbe, [0.3, 0.1, 0.0]),
    ("side_probe", Operator::SideProbe, [2.0, 0.7, 32.0]),
    ("glob_test", Operator::GlobTest, [5.0, 2.0, 64.0]),
    ("key_set", Operator::KeySet, [5.0, 0.8, 16.0]),
];

impl Operator {
    /// The name by which plans and persisted coefficients call it.
    pub fn name(self) -> &'static str {
        let named = OPERATORS.iter().find(|(_, operator, _)| *operator == self);
        named.map_or("", |(name, _, _)| name)
    }

    /// How many times `row_us` counts for `rows` rows.
    pub(crate) fn work(self, rows: f64) -> f64 {
        match self {
            Self::Sort => rows * rows.max(2.0).log2(),
            _ => rows,
        }
    }
}

impl std::str::FromStr for Operator {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self, CoreError> {
        let named = OPERATORS.iter().find(|(known, _, _)| *known == name);
        named.map(|(_, operator, _)| *operator).ok_or_else(|| {
            let known: Vec<&str> = OPERATORS.iter().map(|(known, _, _)| *known).collect();
            CoreError::invalid("operator", format!("{name:?} is none of {}", known.join(", ")))
        })
    }
}

/// One step of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What is done.
    pub operator: Operator,
    /// To how many rows.
    pub rows: Interval,
}

/// What a plan costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Time in microseconds.
    pub us: Interval,
    /// Bytes touched or produced.
    pub bytes: Interval,
}

/// The coefficients of all operators. Cheap to copy, so that pricing needs no lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    by_operator: [Coefficients; COUNT],
}

impl Default for CostModel {
    fn default() -> Self {
        let by_operator = OPERATORS.map(|(_, _, [startup_us, row_us, row_bytes])| Coefficients {
            startup_us,
            row_us,
            row_bytes,
        });
        Self { by_operator }
    }
}

impl CostModel {
    /// Replaces the coefficients of one operator.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if one of them is negative, infinite or not a number.
    pub fn set(&mut self, operator: Operator, to: Coefficients) -> Result<(), CoreError> {
        for (name, value) in [
            ("startup_us", to.startup_us),
            ("row_us", to.row_us),
            ("row_bytes", to.row_bytes),
        ] {
            if !value.is_finite() || value < 0.0 {
                let field = format!("coefficients[{:?}].{name}", operator.name());
                return Err(CoreError::invalid(
                    field,
                    format!("must be finite and at least 0, not {value}"),
                ));
            }
        }
        *self.of_mut(operator) = to;
        Ok(())
    }

    /// The coefficients of one operator.
    pub fn of(&self, operator: Operator) -> Coefficients {
        #[expect(clippy::indexing_slicing, reason = "one place for each variant")]
        self.by_operator[operator as usize]
    }

    pub(crate) fn of_mut(&mut self, operator: Operator) -> &mut Coefficients {
        #[expect(clippy::indexing_slicing, reason = "one place for each variant")]
        &mut self.by_operator[operator as usize]
    }

    /// Every operator's name with its coefficients.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Coefficients)> {
        OPERATORS.iter().map(|(name, _, _)| *name).zip(self.by_operator)
    }

    /// What a plan costs; nothing for no steps.
    pub fn price(&self, steps: &[Step]) -> Price {
        let mut price = Price {
            us: Interval::ZERO,
            bytes: Interval::ZERO,
        };
        for step in steps {
            let Coefficients {
                startup_us,
                row_us,
                row_bytes,
            } = self.of(step.operator);
            let us = |rows| startup_us + row_us * step.operator.work(rows);
            let rows = step.rows;
            price.us.min += us(rows.min);
            price.us.expected += us(rows.expected);
            price.us.max += us(rows.max);
            price.bytes.min += row_bytes * rows.min;
            price.bytes.expected += row_bytes * rows.expected;
            price.bytes.max += row_bytes * rows.max;
        }
        price
    }
}

#[cfg(test)]
mod tests {
    use super::{Coefficients, CostModel, OPERATORS, Operator, Step};
    use crate::cost::Interval;

    #[test]
    fn names_and_places_agree() {
        for (index, (name, operator, _)) in OPERATORS.iter().enumerate() {
            assert_eq!(*operator as usize, index);
            assert_eq!(operator.name(), *name);
            assert_eq!(name.parse(), Ok(*operator));
        }
        let error = "seq_scan".parse::<Operator>().unwrap_err().to_string();
        assert!(
            error.contains("\"seq_scan\"") && error.contains("row_fetch"),
            "{error}"
        );
    }

    #[test]
    fn a_plan_costs_the_sum_of_its_steps() {
        let mut model = CostModel::default();
        let to = Coefficients {
            startup_us: 10.0,
            row_us: 2.0,
            row_bytes: 100.0,
        };
        model.set(Operator::RowFetch, to).unwrap();
        let to = Coefficients {
            startup_us: 1.0,
            row_us: 1.0,
            row_bytes: 0.0,
        };
        model.set(Operator::Sort, to).unwrap();
        let rows = Interval::new("rows", 0.0, 8.0, 16.0).unwrap();
        let steps = [Operator::RowFetch, Operator::Sort].map(|operator| Step { operator, rows });
        let price = model.price(&steps);
        assert_eq!(
            price.us,
            Interval::new("us", 11.0, 26.0 + 25.0, 42.0 + 65.0).unwrap()
        );
        assert_eq!(price.bytes, Interval::new("bytes", 0.0, 800.0, 1600.0).unwrap());
        assert_eq!(model.price(&[]).us, Interval::ZERO);
    }

    #[test]
    fn bad_coefficients_are_refused_by_name() {
        let mut model = CostModel::default();
        let before = model;
        let to = Coefficients {
            startup_us: 0.0,
            row_us: f64::NAN,
            row_bytes: 0.0,
        };
        let error = model.set(Operator::Sort, to).unwrap_err().to_string();
        assert!(error.starts_with("coefficients[\"sort\"].row_us:"), "{error}");
        assert_eq!(model.iter().count(), before.iter().count());
        assert_eq!(model, before);
    }
}
