//! What a step of a plan costs, in microseconds and bytes.
//!
//! A plan is a list of steps, each an operator over a number of rows. A step costs
//! `startup_us + row_us * rows` and `row_bytes * rows`; sorting costs `row_us` for each of
//! `rows * log2(rows)` comparisons. Costs rise with rows, so the bounds of the rows give the bounds
//! of the cost.

use super::interval::Interval;
use super::plan::{WAY_COUNT, Way};
use crate::CoreError;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Run a statement.
    Statement,
    /// Find a word in the full-text index.
    FtsTerm,
    /// Walk the full-text index and yield matching row ids.
    FtsMatch,
    /// Pass an entry of the full-text index, in search of the next row of a phrase.
    FtsSkip,
    /// Merge the rows of several words, a row and further word.
    FtsMerge,
    /// Count the rows of the words, which the first ranked row takes.
    FtsCount,
    /// Score matching rows.
    FtsRank,
    /// Score a word in a row.
    FtsHit,
    /// Read whole rows.
    RowFetch,
    /// Read a page of rows.
    PageRead,
    /// Hand a row of the answer over.
    RowReturn,
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
    /// Match all paths of a row against a glob.
    GlobTest,
    /// Match an entry of an index roughly against a glob.
    GlobWalk,
    /// Match one value against a glob.
    GlobCall,
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

pub(crate) const OPERATOR_COUNT: usize = 20;

/// Name, operator, and what it costs on an ordinary machine until measured. A further operator is a line here,
/// a variant in the same place, and a step of the ways that take it.
const OPERATORS: [(&str, Operator, [f64; 3]); OPERATOR_COUNT] = [
    ("statement", Operator::Statement, [0.0, 150.0, 512.0]),
    ("fts_term", Operator::FtsTerm, [0.0, 48.0, 1024.0]),
    ("fts_match", Operator::FtsMatch, [0.0, 0.03, 16.0]),
    ("fts_skip", Operator::FtsSkip, [0.0, 0.012, 8.0]),
    ("fts_merge", Operator::FtsMerge, [0.0, 0.01, 0.0]),
    ("fts_count", Operator::FtsCount, [0.0, 0.03, 16.0]),
    ("fts_rank", Operator::FtsRank, [0.0, 0.5, 48.0]),
    ("fts_hit", Operator::FtsHit, [0.0, 0.15, 16.0]),
    ("row_fetch", Operator::RowFetch, [0.0, 0.3, 256.0]),
    ("page_read", Operator::PageRead, [0.0, 1.3, 4096.0]),
    ("row_return", Operator::RowReturn, [0.0, 1.1, 128.0]),
    ("index_scan", Operator::IndexScan, [0.0, 0.05, 32.0]),
    ("rowid_probe", Operator::RowidProbe, [0.0, 0.07, 16.0]),
    ("sort", Operator::Sort, [0.0, 0.06, 64.0]),
    ("cache_probe", Operator::CacheProbe, [0.3, 0.1, 0.0]),
    ("side_probe", Operator::SideProbe, [0.0, 0.3, 32.0]),
    ("glob_test", Operator::GlobTest, [0.0, 2.1, 64.0]),
    ("glob_walk", Operator::GlobWalk, [0.0, 0.11, 64.0]),
    ("glob_call", Operator::GlobCall, [0.0, 0.45, 64.0]),
    ("key_set", Operator::KeySet, [0.0, 0.37, 16.0]),
];

impl Operator {
    /// The name by which plans and persisted coefficients call it.
    pub fn name(self) -> &'static str {
        let named = OPERATORS.iter().find(|(_, operator, _)| *operator == self);
        named.map_or("", |(name, _, _)| name)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        OPERATORS.iter().map(|(_, operator, _)| *operator)
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

/// The coefficients of all operators, and by which factor each way takes longer than they say. Cheap to
/// copy, so that pricing needs no lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    by_operator: [Coefficients; OPERATOR_COUNT],
    by_way: [f64; WAY_COUNT],
}

impl Default for CostModel {
    fn default() -> Self {
        let by_operator = OPERATORS.map(|(_, _, [startup_us, row_us, row_bytes])| Coefficients {
            startup_us,
            row_us,
            row_bytes,
        });
        Self {
            by_operator,
            by_way: [1.0; WAY_COUNT],
        }
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

    /// By which factor a way takes longer than its steps.
    pub fn factor(&self, way: Way) -> f64 {
        self.by_way.get(way as usize).copied().unwrap_or(1.0)
    }

    pub(crate) fn set_factor(&mut self, way: Way, to: f64) {
        if let Some(factor) = self.by_way.get_mut(way as usize) {
            *factor = to;
        }
    }

    /// What steps cost on this way.
    pub fn price_of(&self, way: Way, steps: &[Step]) -> Price {
        let Price { us, bytes } = self.price(steps);
        Price {
            us: us.times(self.factor(way)),
            bytes,
        }
    }

    /// What steps cost by the coefficients alone; nothing for no steps.
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
