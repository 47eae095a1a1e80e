//! The steps of each way of answering.

use super::interval::Interval;
use super::model::{Operator, Step};
use super::parts::{About, Part, Test, Walk};
use super::plan::{Question, Reading};
use super::statistics::{Filter, Statistics};

/// Share of the rows that a word is taken to occur in, where its frequency is not known.
const ASSUMED_POSTINGS: f64 = 0.05;
/// How many times more rows than expected are ranked ahead, so that a second try is rare.
const AHEAD: f64 = 2.0;
const AHEAD_ROWS: f64 = 20.0;
/// How likely a second try is taken to be where the estimate of the filter is uncertain.
const RISK: f64 = 0.2;
/// What a key costs in a set that is made straight from an index, which lists most keys ascending, against one that
/// rows gave: 50,000 of them took 5 ms where the price of the others was 26.
const ASCENDING: f64 = 0.25;
/// Conditions that are considered as drivers; the most selective ones win anyway.
pub(crate) const DRIVERS_MAX: usize = 3;
/// Rows of the main table that share a page.
const ROWS_OF_PAGE: f64 = 10.0;
/// Rows whose lengths, which ranking takes, share a page.
const LENGTHS_OF_PAGE: f64 = 230.0;
/// The newest rows are looked for one workspace after the other, and each bounds the next ones: together they
/// read about as much as twice the first.
const WORKSPACES_READ: f64 = 2.0;

/// What the ways need to know of a question.
pub(crate) struct Seen {
    pub(crate) total: f64,
    pub(crate) rows: Interval,
    pub(crate) timed: bool,
    parts: Vec<Part>,
    /// Share of the rows in the workspaces that are asked for, and how many these are.
    here: f64,
    workspaces: f64,
    /// Rows in the index of times between the bounds, in these workspaces and states.
    between: f64,
    /// Share of all rows that are not older than what is asked for: keys grow with time.
    span: f64,
    /// Words that occur at all, and in how many rows: counted once for each word, and once.
    terms: f64,
    postings: f64,
    reading: Reading,
    matching: f64,
    limit: f64,
}

/// How the rows were found that are tested: the conditions that this makes sure of let every row pass.
#[derive(Clone, Copy)]
enum Found<'a> {
    ByWords,
    ByTime,
    By(&'a Part),
}

impl Found<'_> {
    fn by(self, part: &Part) -> bool {
        match self {
            Self::ByWords => false,
            Self::ByTime => part.about != About::Content,
            Self::By(driver) => part.about == About::Place || std::ptr::eq(driver, part),
        }
    }

    /// Whether the condition is left out of the statement.
    fn unasked(self, part: &Part) -> bool {
        match self {
            Self::ByWords => false,
            Self::ByTime => part.about != About::Content,
            Self::By(driver) => driver.leaf && std::ptr::eq(driver, part),
        }
    }
}

impl Seen {
    pub(crate) fn new(statistics: &Statistics, question: &Question) -> Self {
        let total = statistics.total();
        let filters: &[Filter] = match &question.filter {
            Filter::And(parts) => parts,
            Filter::All => &[],
            one => std::slice::from_ref(one),
        };
        let parts = Part::of(statistics, filters);
        let share = |rows: f64| if total > 0.0 { rows / total } else { 1.0 };
        let (mut here, mut between, mut span, mut timed) = (1.0, 1.0, 1.0, false);
        let mut workspaces = statistics.distinct("workspace").unwrap_or(1.0);
        for (filter, part) in filters.iter().zip(&parts) {
            match filter {
                Filter::In { field, values } if field == "workspace" => {
                    here *= share(part.rows.expected);
                    workspaces = workspaces.min(values.len() as f64);
                }
                Filter::In { field, .. } if field == "status" => between *= share(part.rows.expected),
                Filter::Range { field, low, .. } => {
                    between *= share(part.rows.expected);
                    timed = true;
                    let newer = |low| share(statistics.rows(&since(field, low)).expected);
                    span = low.map_or(span, |low| newer(low).min(span));
                }
                _ => {}
            }
        }
        let mut postings = question.postings.clone().unwrap_or_else(|| {
            let assumed = ASSUMED_POSTINGS * total;
            vec![assumed; question.words]
        });
        postings.retain(|&rows| rows > 0.0);
        let reading = question.reading.unwrap_or_else(|| Reading {
            stems: postings.len() as f64,
            walked: postings.iter().sum(),
            skipped: 0.0,
        });
        let missed: f64 = postings.iter().map(|&rows| 1.0 - share(rows).min(1.0)).product();
        Self {
            total,
            rows: together(&parts, total),
            parts,
            here,
            workspaces,
            between: between * here * total,
            timed,
            span,
            terms: postings.len() as f64,
            postings: postings.iter().sum(),
            reading,
            matching: total * (1.0 - missed),
            limit: question.limit,
        }
    }

    /// The conditions whose own index walks the fewest entries.
    pub(crate) fn drivers(&self) -> Vec<(usize, &Part)> {
        let parts = self.parts.iter().enumerate();
        let mut drivers: Vec<_> = parts
            .filter_map(|(index, part)| part.index.map(|walk| (walk.entries(), index, part)))
            .collect();
        drivers.sort_by(|one, other| one.0.total_cmp(&other.0));
        drivers.truncate(DRIVERS_MAX);
        drivers
            .into_iter()
            .map(|(_, index, part)| (index, part))
            .collect()
    }

    /// Share of the rows that fit.
    fn fitting(&self) -> f64 {
        if self.total > 0.0 {
            self.rows.expected / self.total
        } else {
            1.0
        }
    }

    pub(crate) fn ahead(&self) -> f64 {
        let fitting = self.fitting().max(1e-9);
        (AHEAD * self.limit / fitting + AHEAD_ROWS).min(self.total.max(1.0))
    }

    fn most(&self) -> f64 {
        self.postings.min(self.total)
    }

    /// Reads `rows` rows of the main table and tests the conditions on them.
    fn fetch_and_test(&self, rows: f64, most: f64, found: Found<'_>, steps: &mut Vec<Step>) {
        self.fetch(rows, most, steps);
        self.test(rows, most, found, steps);
    }

    fn fetch(&self, rows: f64, most: f64, steps: &mut Vec<Step>) {
        steps.push(at_most(Operator::RowFetch, rows, most));
        steps.push(at_most(
            Operator::PageRead,
            pages(rows, self.total / ROWS_OF_PAGE),
            most,
        ));
    }

    /// Tests the conditions on so many rows: those on the row's own columns first, the others on what is left.
    fn test(&self, rows: f64, most: f64, found: Found<'_>, steps: &mut Vec<Step>) {
        let (mut left, mut done) = (rows, Test::default());
        for late in [false, true] {
            let tested = self.parts.iter().filter(|part| part.test.is_late() == late);
            for part in tested.filter(|part| !found.unasked(part)) {
                done.probes += left * part.test.probes;
                done.globs += left * part.test.globs;
                done.calls += left * part.test.calls;
                if self.total > 0.0 && !found.by(part) {
                    left *= part.rows.expected / self.total;
                }
            }
        }
        for (operator, expected) in [
            (Operator::SideProbe, done.probes),
            (Operator::GlobTest, done.globs),
            (Operator::GlobCall, done.calls),
        ] {
            if expected > 0.0 {
                steps.push(at_most(operator, expected, most * expected / rows.max(1e-9)));
            }
        }
    }

    /// Hands over what was found.
    fn answer(&self, rows: f64, steps: &mut Vec<Step>) {
        steps.push(at_most(Operator::RowReturn, rows.min(self.limit), self.limit));
    }

    /// Walks the words, of the given share of all rows.
    fn words(&self, share: f64, steps: &mut Vec<Step>) {
        let most = self.most();
        let Reading {
            stems,
            walked,
            skipped,
        } = self.reading;
        let merged = self.matching * share * (self.terms - 1.0).max(0.0);
        steps.push(exactly(Operator::Statement, 1.0));
        steps.push(exactly(Operator::FtsTerm, stems));
        steps.push(at_most(Operator::FtsMatch, walked * share, walked));
        if skipped > 0.0 {
            steps.push(at_most(Operator::FtsSkip, skipped * share, skipped));
        }
        if merged > 0.0 {
            steps.push(at_most(Operator::FtsMerge, merged, most * self.terms));
        }
    }

    /// Ranks rows of the words: the first takes how often each word occurs at all.
    fn rank(&self, rows: f64, kept: f64, steps: &mut Vec<Step>) {
        let most = self.most();
        let any = 1.0 - (-rows).exp();
        let hits = rows * self.postings / self.matching.max(1e-9);
        let Reading { walked, skipped, .. } = self.reading;
        steps.push(at_most(Operator::FtsCount, walked * any, walked));
        if skipped > 0.0 {
            steps.push(at_most(Operator::FtsSkip, skipped * any, skipped));
        }
        let pages = pages(rows, self.total / LENGTHS_OF_PAGE);
        steps.push(at_most(Operator::PageRead, pages, most));
        steps.push(at_most(Operator::FtsRank, rows, most));
        steps.push(at_most(Operator::FtsHit, hits, self.postings));
        steps.push(at_most(Operator::Sort, rows.min(kept), most));
    }

    pub(crate) fn lexical_first(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(16);
        let fit = self.matching * self.fitting();
        self.words(1.0, &mut steps);
        self.fetch_and_test(self.matching, self.most(), Found::ByWords, &mut steps);
        self.rank(fit, self.limit, &mut steps);
        self.answer(fit, &mut steps);
        steps
    }

    pub(crate) fn rank_first(&self) -> Vec<Step> {
        let most = self.most();
        let tested = (self.limit / self.fitting().max(1e-9)).min(self.matching);
        let mut steps = Vec::with_capacity(16);
        self.words(1.0, &mut steps);
        self.rank(self.matching, self.ahead(), &mut steps);
        self.fetch_and_test(tested, most, Found::ByWords, &mut steps);
        if self.rows.min < self.rows.expected / 2.0 && self.ahead() < self.matching {
            // Fewer may fit than expected; then the filter is tested on all of them after all.
            self.fetch_and_test(self.matching * RISK, most, Found::ByWords, &mut steps);
        }
        self.answer(self.matching * self.fitting(), &mut steps);
        steps
    }

    pub(crate) fn filter_first(&self, driver: Option<&Part>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(20);
        let alone = driver.filter(|part| self.is_alone(part));
        let timed = driver.is_none() && self.parts.iter().all(|part| part.covered);
        match alone.and_then(|part| part.index) {
            Some(walk) => self.listed(walk, &mut steps),
            None => self.keys(driver, &mut steps),
        }
        let fit = (self.matching * self.fitting()).min(self.rows.max);
        // Between the least and the greatest of n places lies this share of all (order statistics).
        let keys = self.rows.expected;
        let span = self.span * keys / (keys + 2.0);
        steps.push(Step {
            operator: Operator::KeySet,
            rows: if timed || alone.is_some_and(|part| part.ascending) {
                self.rows.times(ASCENDING)
            } else {
                self.rows
            },
        });
        self.words(span, &mut steps);
        steps.push(at_most(Operator::RowidProbe, self.matching * span, self.most()));
        self.rank(fit, self.limit, &mut steps);
        let answered = fit.min(self.limit);
        match alone {
            Some(part) => self.fetch_and_test(answered, self.most(), Found::By(part), &mut steps),
            None => self.fetch(answered, self.most(), &mut steps),
        }
        self.answer(fit, &mut steps);
        steps
    }

    /// Whether the store ranks among the keys of its index and tests the rest of the filter on the best of them:
    /// where nothing else is asked but place and state.
    fn is_alone(&self, part: &Part) -> bool {
        let held = |it: &Part| matches!(it.about, About::Place | About::State);
        part.leaf && self.parts.iter().all(|it| held(it) || std::ptr::eq(it, part))
    }

    /// The keys of an index, whatever their rows hold.
    fn listed(&self, walk: Walk, steps: &mut Vec<Step>) {
        let most = self.total.max(walk.entries());
        steps.push(exactly(Operator::Statement, 1.0));
        steps.push(at_most(Operator::IndexScan, walk.keys * self.here, most));
        if walk.tried > 0.0 {
            steps.push(at_most(Operator::GlobWalk, walk.tried * self.here, most));
            steps.push(at_most(Operator::GlobCall, walk.matched * self.here, most));
        }
    }

    /// The keys of all rows that fit.
    fn keys(&self, driver: Option<&Part>, steps: &mut Vec<Step>) {
        steps.push(exactly(Operator::Statement, 1.0));
        let Some((part, walk)) = driver.and_then(|part| part.index.map(|walk| (part, walk))) else {
            self.by_time(self.between, 0.0, steps);
            return;
        };
        let keys = walk.keys * self.here;
        let most = self.total.max(walk.entries());
        steps.push(at_most(Operator::IndexScan, keys, most));
        if walk.tried > 0.0 {
            steps.push(at_most(Operator::GlobWalk, walk.tried * self.here, most));
            steps.push(at_most(Operator::GlobCall, walk.matched * self.here, most));
        }
        steps.push(at_most(Operator::KeySet, keys, most));
        self.fetch_and_test(keys.min(self.total), self.total, Found::By(part), steps);
    }

    /// Entries of the index of times; rows are read where the conditions or the answer need them.
    fn by_time(&self, scanned: f64, wanted: f64, steps: &mut Vec<Step>) {
        let covered = self.parts.iter().all(|part| part.covered);
        steps.push(at_most(Operator::IndexScan, scanned, self.total.max(scanned)));
        let fetched = if covered { wanted } else { scanned };
        if fetched > 0.0 {
            self.fetch(fetched, self.total, steps);
        }
        self.test(scanned, self.total, Found::ByTime, steps);
    }

    /// The index of times from its new end, until enough rows fit.
    pub(crate) fn newest(&self) -> Vec<Step> {
        let fitting = self.rows.expected / self.between.max(1e-9);
        let read = self.workspaces.min(WORKSPACES_READ);
        let scanned = (self.limit / fitting.max(1e-9) * read).min(self.between);
        let found = (self.limit * read).min(self.rows.expected);
        let mut steps = vec![exactly(Operator::Statement, self.workspaces)];
        self.by_time(scanned, found, &mut steps);
        self.answer(found, &mut steps);
        steps
    }

    pub(crate) fn scan_by(&self, part: &Part) -> Vec<Step> {
        let mut steps = Vec::with_capacity(12);
        self.keys(Some(part), &mut steps);
        steps.push(at_most(Operator::Sort, self.rows.expected, self.total));
        self.answer(self.rows.expected, &mut steps);
        steps
    }
}

/// Rows that meet all parts. Where and in which state a row is says nothing of what it holds, so these
/// conditions count in full; the others are damped as conditions that people combine.
fn together(parts: &[Part], total: f64) -> Interval {
    let all: Vec<Interval> = parts.iter().map(|part| part.rows).collect();
    let bounds = Interval::all_of(&all, total);
    let (mut scope, mut others) = (1.0, Vec::with_capacity(parts.len()));
    for part in parts {
        match part.about {
            About::Place | About::State if total > 0.0 => scope *= part.rows.expected / total,
            _ => others.push(part.rows),
        }
    }
    let expected = scope * Interval::all_of(&others, total).expected;
    Interval::within(bounds.min, expected, bounds.max, total)
}

/// How many of the pages hold so many rows, wherever they lie (Cardenas, CACM 1975).
fn pages(rows: f64, pages: f64) -> f64 {
    let pages = pages.max(1.0);
    pages * (1.0 - (-rows / pages).exp())
}

fn since(field: &str, low: i64) -> Filter {
    Filter::Range {
        field: field.to_owned(),
        low: Some(low),
        high: None,
    }
}

fn exactly(operator: Operator, rows: f64) -> Step {
    Step {
        operator,
        rows: Interval::exactly(rows),
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
