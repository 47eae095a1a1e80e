//! The four ways to search, and which of them is cheapest.

use std::str::FromStr;

use crate::CoreError;

/// How a matrix is searched. All but the ways over bits are exact over the quantised vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Every row in order; a filter is asked only about rows that beat the k-th best so far.
    Scan,
    /// The rows of the filter's keys, one by one.
    Ids,
    /// The signs of every row in order, the filter asked late; the nearest are scored from their int8 rows.
    Bits,
    /// The signs of the rows of the filter's keys; the nearest are scored from their int8 rows.
    BitIds,
}

const WAYS: [(&str, Way); 4] = [
    ("vector_scan", Way::Scan),
    ("vector_ids", Way::Ids),
    ("vector_bits", Way::Bits),
    ("vector_bit_ids", Way::BitIds),
];

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Scan, Self::Ids, Self::Bits, Self::BitIds];

    /// The name by which plans and coefficients call it.
    pub fn name(self) -> &'static str {
        let named = WAYS.iter().find(|(_, way)| *way == self);
        named.map_or("", |(name, _)| name)
    }
}

impl FromStr for Way {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self, CoreError> {
        let named = WAYS.iter().find(|(known, _)| *known == name);
        named.map(|(_, way)| *way).ok_or_else(|| {
            let known = WAYS.map(|(known, _)| known).join(", ");
            CoreError::invalid("way", format!("{name:?} is none of {known}"))
        })
    }
}

/// What a way costs: `startup_us + row_us * rows`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Microseconds to begin; for the ways over bits with the least that is scored again.
    pub startup_us: f64,
    /// Microseconds a row that is looked at.
    pub row_us: f64,
}

/// What each way costs on this machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// [`Way::Scan`], over all rows.
    pub scan: Line,
    /// [`Way::Ids`], over the filter's keys.
    pub ids: Line,
    /// [`Way::Bits`], over all rows.
    pub bits: Line,
    /// [`Way::BitIds`], over the filter's keys.
    pub bit_ids: Line,
}

/// Below so many matching rows an exact way is quick enough, and its recall is kept.
pub(super) const BITS_ROWS_MIN: usize = 20_000;

/// Rows that are scored again for each hit wanted, after a search over bits.
const RESCORED_PER_HIT: usize = 100;

/// Rows that are scored again at least, however few hits are wanted,
const RESCORED_MIN: usize = 1_000;

/// and one of so many that match, for the more there are, the more of them lie as near by their signs.
const MATCHING_PER_RESCORED: usize = 250;

/// Asking a filter about one row: a short search among keys that are cold.
const TEST_US: f64 = 0.07;

impl Costs {
    /// As measured on one machine, for rows of `width` lines, until it is measured here.
    pub(super) fn of_width(width: usize) -> Self {
        let width = width as f64;
        let line = |startup_us, row_us| Line { startup_us, row_us };
        Self {
            scan: line(2.0, 0.0005 + 0.0025 * width),
            ids: line(2.0, 0.01 + 0.008 * width),
            bits: line(60.0, 0.001 + 0.0004 * width),
            bit_ids: line(60.0, 0.02 + 0.001 * width),
        }
    }

    /// The costs of one way.
    pub fn of(&self, way: Way) -> Line {
        match way {
            Way::Scan => self.scan,
            Way::Ids => self.ids,
            Way::Bits => self.bits,
            Way::BitIds => self.bit_ids,
        }
    }

    /// Replaces the costs of one way.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if one of the numbers is negative, infinite or not a number.
    pub fn set(&mut self, way: Way, to: Line) -> Result<(), CoreError> {
        for (name, value) in [("startup_us", to.startup_us), ("row_us", to.row_us)] {
            if !value.is_finite() || value < 0.0 {
                let field = format!("costs[{:?}].{name}", way.name());
                return Err(CoreError::invalid(
                    field,
                    format!("must be finite and at least 0, not {value}"),
                ));
            }
        }
        match way {
            Way::Scan => self.scan = to,
            Way::Ids => self.ids = to,
            Way::Bits => self.bits = to,
            Way::BitIds => self.bit_ids = to,
        }
        Ok(())
    }

    /// The cheapest way to find `k` among `matching` of `rows` rows; `None` for all of them.
    pub(super) fn choose(&self, rows: usize, matching: Option<usize>, k: usize) -> Way {
        let prices = self.prices(rows, matching, k);
        let cheapest = prices.into_iter().min_by(|one, other| one.1.total_cmp(&other.1));
        cheapest.map_or(Way::Scan, |(way, _)| way)
    }

    /// The ways that are considered to find `k` among `matching` of `rows` rows, and what each takes.
    pub fn prices(&self, rows: usize, matching: Option<usize>, k: usize) -> Vec<(Way, f64)> {
        let found = matching.unwrap_or(rows);
        let mut ways = vec![Way::Scan];
        if matching.is_some() {
            ways.push(Way::Ids);
        }
        if found >= BITS_ROWS_MIN {
            ways.push(Way::Bits);
            if matching.is_some() {
                ways.push(Way::BitIds);
            }
        }
        let priced = ways
            .into_iter()
            .map(|way| (way, self.price(way, rows, matching, k)));
        priced.collect()
    }

    /// Microseconds that a way takes.
    fn price(&self, way: Way, rows: usize, matching: Option<usize>, k: usize) -> f64 {
        let line = self.of(way);
        let found = matching.unwrap_or(rows);
        let looked_at = match way {
            Way::Scan | Way::Bits => rows,
            Way::Ids | Way::BitIds => found,
        };
        let kept = match way {
            Way::Scan | Way::Ids => k,
            Way::Bits | Way::BitIds => rescored(k, found),
        };
        let again = kept.saturating_sub(RESCORED_MIN) as f64 * self.ids.row_us;
        let tests = match way {
            Way::Scan | Way::Bits if matching.is_some() => tests(rows as f64, found as f64, kept as f64),
            _ => 0.0,
        };
        line.startup_us + line.row_us * looked_at as f64 + TEST_US * tests + again
    }
}

/// Rows that are scored again to find `k` of `matching`.
pub(super) fn rescored(k: usize, matching: usize) -> usize {
    (k * RESCORED_PER_HIT)
        .max(RESCORED_MIN)
        .max(matching / MATCHING_PER_RESCORED)
}

/// About how often a late filter is asked: a row is among the `kept` best of the matching ones before it with
/// a probability that falls as they grow, and then it matches with the filter's share.
fn tests(rows: f64, matching: f64, kept: f64) -> f64 {
    if matching <= kept {
        return rows;
    }
    (rows / matching * kept * (1.0 + (matching / kept).ln())).min(rows)
}

#[cfg(test)]
mod tests {
    use super::{Costs, Line, Way, rescored};

    #[test]
    fn names_and_ways_agree() {
        for way in Way::ALL {
            assert_eq!(way.name().parse(), Ok(way));
        }
        assert!(
            "graph"
                .parse::<Way>()
                .unwrap_err()
                .to_string()
                .contains("vector_bits")
        );
    }

    #[test]
    fn few_rows_are_read_one_by_one_and_many_in_order() {
        let costs = Costs::of_width(6);
        assert_eq!(costs.choose(10_000, None, 10), Way::Scan);
        assert_eq!(costs.choose(10_000, Some(500), 10), Way::Ids);
        assert_eq!(costs.choose(10_000, Some(9_000), 10), Way::Scan);
        assert_eq!(costs.choose(1_000_000, Some(5_000), 10), Way::Ids);
        assert_eq!(costs.choose(1_000_000, None, 10), Way::Bits);
        assert_eq!(costs.choose(1_000_000, Some(900_000), 10), Way::Bits);
        assert_eq!(costs.choose(1_000_000, Some(50_000), 10), Way::BitIds);
    }

    #[test]
    fn measured_costs_decide() {
        let mut costs = Costs::of_width(6);
        let free = Line {
            startup_us: 0.0,
            row_us: 0.0,
        };
        costs.set(Way::Ids, free).unwrap();
        assert_eq!(costs.choose(10_000, Some(9_999), 10), Way::Ids);
        for wrong in [f64::NAN, -1.0, f64::INFINITY] {
            let line = Line {
                startup_us: 0.0,
                row_us: wrong,
            };
            let error = costs.set(Way::Bits, line).unwrap_err().to_string();
            assert!(error.starts_with("costs[\"vector_bits\"].row_us"), "{error}");
        }
        assert_eq!(costs.of(Way::Ids), free);
    }

    #[test]
    fn only_ways_that_would_be_taken_are_priced() {
        let costs = Costs::of_width(6);
        let names = |rows, matching| -> Vec<&str> {
            let prices = costs.prices(rows, matching, 10);
            prices.iter().map(|(way, _)| way.name()).collect()
        };
        assert_eq!(names(10_000, None), ["vector_scan"]);
        assert_eq!(names(100_000, Some(500)), ["vector_scan", "vector_ids"]);
        assert_eq!(names(100_000, None), ["vector_scan", "vector_bits"]);
        assert_eq!(names(100_000, Some(50_000)).len(), Way::ALL.len());
    }

    #[test]
    fn more_hits_cost_more() {
        let costs = Costs::of_width(4);
        for way in Way::ALL {
            let price = |k| costs.price(way, 1_000_000, Some(400_000), k);
            assert!(price(100) >= price(10));
        }
        assert!(rescored(100, 0) > rescored(10, 0));
        assert!(rescored(10, 1_000_000) > rescored(10, 100_000));
    }
}
