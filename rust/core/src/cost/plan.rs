//! Which way of answering a question is the cheapest.
//!
//! A question has words, a filter, or both. The ways differ in what comes first: the full-text index
//! ([`Way::LexicalFirst`], [`Way::RankFirst`]) or an index of the filter ([`Way::FilterFirst`],
//! [`Way::FilterScan`]), and in which condition drives the filter. All of them give the same answer,
//! so that the price alone decides.

use super::interval::Interval;
use super::model::{CostModel, Price, Step};
use super::statistics::{Filter, Statistics};
use super::ways::Seen;
use crate::CoreError;

/// With so many memories and fewer, every way takes some microseconds.
const ROWS_MIN: f64 = 200.0;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The condition on rows.
    pub filter: Filter,
    /// How many words it has; without words, the newest rows are the answer.
    pub words: usize,
    /// In how many rows each word occurs, if that is known.
    pub postings: Option<Vec<f64>>,
    /// What looking the words up takes, if that is known; if not, each is a stem that reads its rows.
    pub reading: Option<Reading>,
    /// How many rows are wanted.
    pub limit: f64,
    /// Whether to choose; if not, the way that needs no statistics.
    pub choose: bool,
}

/// How much of the full-text index the words read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Stems looked up; a phrase has several.
    pub stems: f64,
    /// Entries of words of one stem.
    pub walked: f64,
    /// Entries of the stems of phrases, most of them skipped over.
    pub skipped: f64,
}

/// What is done in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The rows of the words; the filter is tested on each, the rest is ranked.
    LexicalFirst,
    /// The rows of the words, all ranked; the filter is tested from the best on until enough fit.
    RankFirst,
    /// The keys of the filter; of the rows of the words, only those are ranked.
    FilterFirst,
    /// Without words: rows that fit, the newest ones.
    FilterScan,
}

pub(crate) const WAY_COUNT: usize = 4;

impl Way {
    /// Every way.
    pub const ALL: [Self; WAY_COUNT] = [
        Self::LexicalFirst,
        Self::RankFirst,
        Self::FilterFirst,
        Self::FilterScan,
    ];

    /// The name by which plans call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LexicalFirst => "lexical_first",
            Self::RankFirst => "rank_first",
            Self::FilterFirst => "filter_first",
            Self::FilterScan => "filter_scan",
        }
    }
}

impl std::str::FromStr for Way {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self, CoreError> {
        let named = Self::ALL.into_iter().find(|way| way.name() == name);
        named.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            CoreError::invalid("way", format!("{name:?} is none of {known}"))
        })
    }
}

/// A way with its driver, steps and price.
#[derive(Debug, Clone)]
pub struct Weighed {
    /// What is done.
    pub way: Way,
    /// The part of the filter whose index gives the keys; `None` is the index of times.
    pub driver: Option<usize>,
    /// The operators in order.
    pub steps: Vec<Step>,
    /// What they cost.
    pub price: Price,
}

/// Every way considered.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The cheapest way.
    pub best: Weighed,
    /// The other ones, the cheaper ones first.
    pub others: Vec<Weighed>,
    /// Rows that fit the filter.
    pub rows: Interval,
    /// How many rows to rank ahead where the filter comes after the ranking.
    pub ahead: f64,
}

/// The ways to answer, priced, the cheapest first.
///
/// The coefficients alone decide. What executions taught is of the ways that were chosen before, so that it
/// scales the prices of one question together and turns none of them past another.
pub fn plan(statistics: &Statistics, model: &CostModel, question: &Question) -> Planned {
    let seen = Seen::new(statistics, question);
    let weigh = |way, driver, steps: Vec<Step>| Weighed {
        way,
        driver,
        price: model.price(&steps),
        steps,
    };
    let lexical = question.words > 0;
    let mut best = if lexical {
        weigh(Way::LexicalFirst, None, seen.lexical_first())
    } else {
        weigh(Way::FilterScan, None, seen.newest())
    };
    let mut others = Vec::new();
    if question.choose && seen.total > ROWS_MIN {
        if lexical {
            others.push(weigh(Way::RankFirst, None, seen.rank_first()));
        }
        if lexical && seen.timed {
            others.push(weigh(Way::FilterFirst, None, seen.filter_first(None)));
        }
        others.extend(seen.drivers().into_iter().map(|(index, part)| {
            if lexical {
                weigh(Way::FilterFirst, Some(index), seen.filter_first(Some(part)))
            } else {
                weigh(Way::FilterScan, Some(index), seen.scan_by(part))
            }
        }));
        others.sort_by(|one, other| one.price.us.expected.total_cmp(&other.price.us.expected));
    }
    if let Some(cheapest) = others
        .first_mut()
        .filter(|it| it.price.us.expected < best.price.us.expected)
    {
        std::mem::swap(&mut best, cheapest);
        others.sort_by(|one, other| one.price.us.expected.total_cmp(&other.price.us.expected));
    }
    let factor = model.factor(best.way);
    for weighed in std::iter::once(&mut best).chain(&mut others) {
        weighed.price.us = weighed.price.us.times(factor);
    }
    Planned {
        ahead: seen.ahead(),
        rows: seen.rows,
        best,
        others,
    }
}

#[cfg(test)]
mod tests {
    use super::{Question, Way, plan};
    use crate::cost::ways::DRIVERS_MAX;
    use crate::cost::{CostModel, Filter, Multiplicity, Statistics};

    const ROWS: u64 = 1_000;

    fn statistics() -> Statistics {
        let mut statistics = Statistics::default();
        statistics.set_total(ROWS);
        for field in ["kind", "tag", "path", "workspace", "status"] {
            let counts = (0..10).map(|n| (format!("v{n}"), 10 * (n + 1))).collect();
            statistics
                .set_values(field, counts, 20, ROWS, Multiplicity::Multiple)
                .unwrap();
        }
        statistics
            .set_histogram("time", (0..=10).map(|n| n * 100).collect(), ROWS)
            .unwrap();
        statistics
    }

    fn filter(rng: &mut fastrand::Rng, depth: usize) -> Filter {
        let field = ["kind", "tag", "path", "workspace", "status", "branch"][rng.usize(..6)].to_owned();
        let parts = |rng: &mut fastrand::Rng| (0..rng.usize(..5)).map(|_| filter(rng, depth - 1)).collect();
        match rng.usize(if depth == 0 { 3 } else { 0 }..7) {
            0 => Filter::And(parts(rng)),
            1 => Filter::Or(parts(rng)),
            2 => Filter::Not(Box::new(filter(rng, depth - 1))),
            3 => Filter::Range {
                field: "time".to_owned(),
                low: rng.bool().then(|| rng.i64(0..1000)),
                high: rng.bool().then(|| rng.i64(0..1000)),
            },
            4 => Filter::Glob {
                field,
                pattern: ["*", "v*", "v1/*"][rng.usize(..3)].to_owned(),
            },
            5 => Filter::All,
            _ => Filter::In {
                field,
                values: (0..rng.usize(..4))
                    .map(|_| format!("v{}", rng.u8(..12)))
                    .collect(),
            },
        }
    }

    #[test]
    fn of_any_question_the_best_way_is_the_cheapest_and_its_numbers_are_intervals() {
        let (statistics, model) = (statistics(), CostModel::default());
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let words = rng.usize(..4);
            let question = Question {
                filter: filter(&mut rng, 3),
                words,
                postings: rng.bool().then(|| (0..words).map(|_| rng.f64() * 1e3).collect()),
                reading: None,
                limit: 50.0,
                choose: rng.bool(),
            };
            let planned = plan(&statistics, &model, &question);
            assert!(planned.rows.max <= ROWS as f64 && planned.ahead >= 1.0);
            assert!(planned.others.len() <= DRIVERS_MAX + 2);
            assert_eq!(planned.best.way == Way::FilterScan, words == 0);
            for way in std::iter::once(&planned.best).chain(&planned.others) {
                assert!(planned.best.price.us.expected <= way.price.us.expected);
                assert_eq!(model.price(&way.steps), way.price);
                for step in &way.steps {
                    let rows = step.rows;
                    assert!(0.0 <= rows.min && rows.min <= rows.expected && rows.expected <= rows.max);
                }
            }
        }
    }

    #[test]
    fn who_may_not_choose_gets_the_way_that_needs_no_statistics() {
        let question = |words| Question {
            filter: Filter::All,
            words,
            postings: None,
            reading: None,
            limit: 50.0,
            choose: false,
        };
        let way = |words| {
            let planned = plan(&statistics(), &CostModel::default(), &question(words));
            (planned.best.way, planned.others.len())
        };
        assert_eq!(way(2), (Way::LexicalFirst, 0));
        assert_eq!(way(0), (Way::FilterScan, 0));
    }
}
