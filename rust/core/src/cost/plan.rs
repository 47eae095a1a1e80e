//! Which way of answering a question is the cheapest.
//!
//! A question has words, a filter, or both. The ways differ in what comes first: the full-text index
//! ([`Way::LexicalFirst`], [`Way::RankFirst`]) or an index of the filter ([`Way::FilterFirst`],
//! [`Way::FilterScan`]), and in which condition drives the filter. All of them give the same answer,
//! so that the price alone decides.

use super::interval::Interval;
use super::model::{CostModel, Operator, Price, Step};
use super::statistics::{Filter, Statistics};

/// Share of the rows that a word is taken to occur in, where its frequency is not known.
const ASSUMED_POSTINGS: f64 = 0.05;
/// How many times more rows than expected are ranked ahead, so that a second try is rare.
const AHEAD: f64 = 2.0;
const AHEAD_ROWS: f64 = 20.0;
/// With so many memories and fewer, every way takes some microseconds.
const ROWS_MIN: f64 = 200.0;
/// How likely a second try is taken to be where the estimate of the filter is uncertain.
const RISK: f64 = 0.2;
/// Conditions that are considered as drivers; the most selective ones win anyway.
const DRIVERS_MAX: usize = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The condition on rows.
    pub filter: Filter,
    /// How many words it has; without words, the newest rows are the answer.
    pub words: usize,
    /// In how many rows each word occurs, if that is known.
    pub postings: Option<Vec<f64>>,
    /// How many rows are wanted.
    pub limit: f64,
    /// Whether to choose; if not, the way that needs no statistics.
    pub choose: bool,
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

impl Way {
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
        others.extend(seen.drivers().into_iter().map(|(index, part, entries)| {
            if lexical {
                weigh(
                    Way::FilterFirst,
                    Some(index),
                    seen.filter_first(Some((part, entries))),
                )
            } else {
                weigh(Way::FilterScan, Some(index), seen.scan_by(part, entries))
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
    Planned {
        ahead: seen.ahead(),
        rows: seen.rows,
        best,
        others,
    }
}

/// A condition that must hold, as the ways see it.
struct Part {
    rows: Interval,
    /// Entries that its own index walks; none where there is no index for it.
    entries: Option<f64>,
    /// Lookups of tags and paths, and globs, that testing one row takes.
    probes: f64,
    globs: f64,
    /// Globs matched while its index is walked.
    walked_globs: f64,
    /// Whether the index of times holds all that it asks for.
    in_time_index: bool,
}

struct Seen {
    total: f64,
    rows: Interval,
    parts: Vec<Part>,
    /// Share of the rows in the workspaces that are asked for.
    here: f64,
    /// Rows in the index of times between the bounds, in these workspaces and states.
    between: f64,
    timed: bool,
    /// Share of all rows that are not older than what is asked for: keys grow with time.
    span: f64,
    postings: f64,
    matching: f64,
    limit: f64,
}

impl Seen {
    fn new(statistics: &Statistics, question: &Question) -> Self {
        let total = statistics.total();
        let filters: &[Filter] = match &question.filter {
            Filter::And(parts) => parts,
            Filter::All => &[],
            one => std::slice::from_ref(one),
        };
        let rows_of = |filter: &Filter| statistics.rows(filter);
        let parts: Vec<Part> = filters.iter().map(|one| Part::new(statistics, one)).collect();
        let share = |rows: f64| if total > 0.0 { rows / total } else { 1.0 };
        let (mut here, mut between, mut span, mut timed) = (1.0, 1.0, 1.0, false);
        for (filter, part) in filters.iter().zip(&parts) {
            match filter {
                Filter::In { field, .. } if field == "workspace" => here *= share(part.rows.expected),
                Filter::In { field, .. } if field == "status" => between *= share(part.rows.expected),
                Filter::Range { field, low, .. } => {
                    between *= share(part.rows.expected);
                    timed = true;
                    span = low.map_or(span, |low| share(rows_of(&since(field, low)).expected).min(span));
                }
                _ => {}
            }
        }
        let postings = question.postings.clone().unwrap_or_else(|| {
            let assumed = ASSUMED_POSTINGS * total;
            vec![assumed; question.words]
        });
        let missed: f64 = postings.iter().map(|&rows| 1.0 - share(rows).min(1.0)).product();
        Self {
            total,
            rows: together(filters, &parts, total),
            parts,
            here,
            between: between * here * total,
            timed,
            span,
            postings: postings.iter().sum(),
            matching: total * (1.0 - missed),
            limit: question.limit,
        }
    }

    /// The conditions whose own index walks the fewest entries.
    fn drivers(&self) -> Vec<(usize, &Part, f64)> {
        let parts = self.parts.iter().enumerate();
        let mut drivers: Vec<_> = parts
            .filter_map(|(index, part)| part.entries.map(|entries| (index, part, entries)))
            .collect();
        drivers.sort_by(|one, other| one.2.total_cmp(&other.2));
        drivers.truncate(DRIVERS_MAX);
        drivers
    }

    /// Share of the rows that fit.
    fn fitting(&self) -> f64 {
        if self.total > 0.0 {
            self.rows.expected / self.total
        } else {
            1.0
        }
    }

    fn ahead(&self) -> f64 {
        let fitting = self.fitting().max(1e-9);
        (AHEAD * self.limit / fitting + AHEAD_ROWS).min(self.total.max(1.0))
    }

    fn most(&self) -> f64 {
        self.postings.min(self.total)
    }

    /// The conditions tested on `rows` rows, but for the one that drove them.
    fn tests(&self, rows: f64, most: f64, driver: Option<&Part>, steps: &mut Vec<Step>) {
        let others = self
            .parts
            .iter()
            .filter(|part| !driver.is_some_and(|driver| std::ptr::eq(driver, *part)));
        let (probes, globs) = others.fold((0.0, 0.0), |(probes, globs), part| {
            (probes + part.probes, globs + part.globs)
        });
        if probes > 0.0 {
            steps.push(at_most(Operator::SideProbe, rows * probes, most * probes));
        }
        if globs > 0.0 {
            steps.push(at_most(Operator::GlobTest, rows * globs, most * globs));
        }
    }

    fn lexical_first(&self) -> Vec<Step> {
        let most = self.most();
        let fit = self.matching * self.fitting();
        let mut steps = vec![
            at_most(Operator::FtsMatch, self.postings, self.postings),
            at_most(Operator::RowFetch, self.matching, most),
        ];
        self.tests(self.matching, most, None, &mut steps);
        steps.push(at_most(Operator::FtsRank, fit, most));
        steps.push(at_most(Operator::Sort, fit.min(self.limit), most));
        steps
    }

    fn rank_first(&self) -> Vec<Step> {
        let most = self.most();
        let tested = (self.limit / self.fitting().max(1e-9)).min(self.matching);
        let mut steps = vec![
            at_most(Operator::FtsMatch, self.postings, self.postings),
            at_most(Operator::FtsRank, self.matching, most),
            at_most(Operator::Sort, self.ahead().min(self.matching), most),
            at_most(Operator::RowFetch, tested, most),
        ];
        self.tests(tested, most, None, &mut steps);
        if self.rows.min < self.rows.expected / 2.0 && self.ahead() < self.matching {
            // Fewer may fit than expected; then the filter is tested on all of them after all.
            steps.push(at_most(Operator::RowFetch, self.matching * RISK, most));
            steps.push(at_most(Operator::FtsMatch, self.postings * RISK, self.postings));
            self.tests(self.matching * RISK, most, None, &mut steps);
        }
        steps
    }

    fn filter_first(&self, driver: Option<(&Part, f64)>) -> Vec<Step> {
        let mut steps = self.keys(driver);
        let (postings, matching) = (self.postings * self.span, self.matching * self.span);
        let most = self.most();
        let fit = (self.matching * self.fitting()).min(self.rows.max);
        steps.push(Step {
            operator: Operator::KeySet,
            rows: self.rows,
        });
        steps.push(at_most(Operator::FtsMatch, postings, self.postings));
        steps.push(at_most(Operator::RowidProbe, matching, most));
        steps.push(at_most(Operator::FtsRank, fit, most));
        steps.push(at_most(Operator::Sort, fit.min(self.limit), most));
        steps
    }

    /// The keys of all rows that fit.
    fn keys(&self, driver: Option<(&Part, f64)>) -> Vec<Step> {
        let (part, walked) = match driver {
            Some((part, entries)) => (Some(part), entries),
            None => (None, self.between),
        };
        let mut steps = vec![at_most(Operator::IndexScan, walked, self.total.max(walked))];
        let fetched = part.map_or(walked, |part| (part.rows.expected * self.here).min(self.total));
        if let Some(part) = part.filter(|part| part.walked_globs > 0.0) {
            steps.push(at_most(
                Operator::GlobTest,
                part.walked_globs,
                self.total.max(part.walked_globs),
            ));
        }
        if part.is_some() || !self.parts.iter().all(|part| part.in_time_index) {
            steps.push(at_most(Operator::RowFetch, fetched, self.total));
        }
        self.tests(fetched, self.total, part, &mut steps);
        steps
    }

    /// The index of times from its new end, until enough rows fit.
    fn newest(&self) -> Vec<Step> {
        let fitting = self.rows.expected / self.between.max(1e-9);
        let scanned = (self.limit / fitting.max(1e-9)).min(self.between);
        let mut steps = vec![
            at_most(Operator::IndexScan, scanned, self.total),
            at_most(Operator::RowFetch, scanned, self.total),
        ];
        self.tests(scanned, self.total, None, &mut steps);
        steps
    }

    fn scan_by(&self, part: &Part, entries: f64) -> Vec<Step> {
        let mut steps = self.keys(Some((part, entries)));
        steps.push(at_most(Operator::Sort, self.rows.expected, self.total));
        steps
    }
}

/// Rows that meet all parts. Where and in which state a row is says nothing of what it holds, so these
/// conditions count in full; the others are damped as conditions that people combine.
fn together(filters: &[Filter], parts: &[Part], total: f64) -> Interval {
    let all: Vec<Interval> = parts.iter().map(|part| part.rows).collect();
    let bounds = Interval::all_of(&all, total);
    let mut scope = 1.0;
    let mut others = Vec::with_capacity(parts.len());
    for (filter, part) in filters.iter().zip(parts) {
        match filter {
            Filter::In { field, .. } if total > 0.0 && (field == "workspace" || field == "status") => {
                scope *= part.rows.expected / total;
            }
            _ => others.push(part.rows),
        }
    }
    let expected = scope * Interval::all_of(&others, total).expected;
    Interval::within(bounds.min, expected, bounds.max, total)
}

impl Part {
    fn new(statistics: &Statistics, filter: &Filter) -> Self {
        let rows = statistics.rows(filter);
        let mut part = Self {
            rows,
            entries: None,
            probes: 0.0,
            globs: 0.0,
            walked_globs: 0.0,
            in_time_index: is_in_time_index(filter),
        };
        part.count(filter);
        if let Some((entries, globs)) = entries(statistics, filter) {
            part.entries = Some(entries);
            part.walked_globs = globs;
        }
        part
    }

    /// Adds up what testing a row takes; the later parts of an and or or are often not reached.
    fn count(&mut self, filter: &Filter) {
        match filter {
            Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| self.count(part)),
            Filter::Not(part) => self.count(part),
            Filter::In { field, .. } if is_side(field) => self.probes += 1.0,
            Filter::Glob { .. } => self.globs += 1.0,
            _ => {}
        }
    }
}

fn is_in_time_index(filter: &Filter) -> bool {
    match filter {
        Filter::In { field, .. } => field == "workspace" || field == "status",
        Filter::Range { .. } | Filter::All => true,
        _ => false,
    }
}

fn is_side(field: &str) -> bool {
    field == "tag" || field == "path"
}

/// Entries walked and globs matched where an index gives the rows of a condition, or more than those.
fn entries(statistics: &Statistics, filter: &Filter) -> Option<(f64, f64)> {
    match filter {
        Filter::In { field, .. } if matches!(field.as_str(), "tag" | "path" | "session" | "id" | "kind") => {
            Some((statistics.rows(filter).expected, 0.0))
        }
        Filter::Glob { field, pattern } if field == "path" => {
            let rows = statistics.rows(filter).expected;
            let prefixed = pattern
                .split(['*', '?'])
                .next()
                .is_some_and(|prefix| prefix.len() > 1 && pattern.contains('/'));
            let walked = if prefixed {
                rows
            } else {
                statistics.rows_with(field)
            };
            Some((walked, rows))
        }
        Filter::Or(parts) if !parts.is_empty() => {
            let each: Option<Vec<_>> = parts.iter().map(|part| entries(statistics, part)).collect();
            each.map(|each| {
                each.iter()
                    .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
            })
        }
        Filter::And(parts) => parts
            .iter()
            .filter_map(|part| entries(statistics, part))
            .min_by(|one, other| one.0.total_cmp(&other.0)),
        _ => None,
    }
}

fn since(field: &str, low: i64) -> Filter {
    Filter::Range {
        field: field.to_owned(),
        low: Some(low),
        high: None,
    }
}

fn at_most(operator: Operator, expected: f64, most: f64) -> Step {
    let rows = Interval {
        min: 0.0,
        expected: expected.clamp(0.0, most.max(0.0)),
        max: most.max(0.0),
    };
    Step { operator, rows }
}

#[cfg(test)]
mod tests {
    use super::{DRIVERS_MAX, Question, Way, plan};
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
