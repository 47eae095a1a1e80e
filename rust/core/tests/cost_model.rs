//! Estimates against the truth on small random tables.

use std::collections::BTreeMap;

use fastrand::Rng;
use retain_core::cost::{CostModel, Estimator, Filter, Interval, Multiplicity, Operator, Statistics, Step};

struct Row {
    kind: String,
    tags: Vec<String>,
    time: Option<i64>,
}

fn table(rng: &mut Rng) -> Vec<Row> {
    let row = |rng: &mut Rng| {
        let skewed = rng.u32(0..8).min(rng.u32(0..8));
        Row {
            kind: format!("kind {skewed}"),
            tags: (0..6)
                .filter(|n| rng.u32(0..n + 2) == 0)
                .map(|n| format!("tag/{n}"))
                .collect(),
            time: (skewed != 7).then(|| rng.i64(0..50) * rng.i64(1..3)),
        }
    };
    (0..rng.usize(1..80)).map(|_| row(rng)).collect()
}

/// The most common values of a column as a store would collect them, cut to a few.
fn common<'a>(values: impl Iterator<Item = &'a String>, keep: usize) -> (Vec<(String, u64)>, u64) {
    let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let distinct = counts.len() as u64;
    let mut counts: Vec<(String, u64)> = counts.into_iter().map(|(value, n)| (value.clone(), n)).collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts.truncate(keep);
    (counts, distinct)
}

fn statistics(rows: &[Row], rng: &mut Rng) -> Statistics {
    let mut statistics = Statistics::default();
    statistics.set_total(rows.len() as u64);
    let (kinds, distinct) = common(rows.iter().map(|row| &row.kind), rng.usize(1..9));
    let single = if rng.bool() {
        Multiplicity::Single
    } else {
        Multiplicity::Unknown
    };
    statistics
        .set_values("kind", kinds, distinct, rows.len() as u64, single)
        .unwrap();
    let (tags, distinct) = common(rows.iter().flat_map(|row| &row.tags), rng.usize(1..9));
    let tagged = rows.iter().filter(|row| !row.tags.is_empty()).count() as u64;
    let multiple = if rng.bool() {
        Multiplicity::Multiple
    } else {
        Multiplicity::Unknown
    };
    statistics
        .set_values("tags", tags, distinct, tagged, multiple)
        .unwrap();
    if rng.bool() {
        let entries: Vec<String> = rows.iter().flat_map(|row| row.tags.clone()).collect();
        let count = entries.len() as u64;
        let sample = entries.into_iter().filter(|_| rng.u32(0..3) > 0).collect();
        statistics.set_sample("tags", sample, count);
    }
    let mut times: Vec<i64> = rows.iter().filter_map(|row| row.time).collect();
    times.sort_unstable();
    let buckets = rng.usize(1..10).min(times.len().max(1));
    let bound = |n: usize| times[(n * times.len() / buckets).min(times.len() - 1)];
    let bounds = if times.is_empty() {
        Vec::new()
    } else {
        (0..=buckets).map(bound).collect()
    };
    statistics
        .set_histogram("time", bounds, times.len() as u64)
        .unwrap();
    statistics
}

fn filter(rng: &mut Rng, depth: u32) -> Filter {
    let some = |rng: &mut Rng| (0..rng.u32(0..4)).map(|_| filter(rng, depth - 1)).collect();
    match rng.u32(0..if depth == 0 { 5 } else { 8 }) {
        0 => Filter::All,
        1 => {
            let values = (0..rng.u32(0..4)).map(|_| format!("kind {}", rng.u32(0..10)));
            Filter::In {
                field: "kind".into(),
                values: values.collect(),
            }
        }
        2 => {
            let values = (0..rng.u32(0..3)).map(|_| format!("tag/{}", rng.u32(0..8)));
            Filter::In {
                field: "tags".into(),
                values: values.collect(),
            }
        }
        3 => {
            let pattern = ["tag/*", "**/2", "tag/1", "none*", "*", "3", "?"][rng.usize(0..7)];
            Filter::Glob {
                field: "tags".into(),
                pattern: pattern.into(),
            }
        }
        4 => Filter::Range {
            field: "time".into(),
            low: rng.bool().then(|| rng.i64(-5..110)),
            high: rng.bool().then(|| rng.i64(-5..110)),
        },
        5 => Filter::And(some(rng)),
        6 => Filter::Or(some(rng)),
        _ => Filter::Not(Box::new(filter(rng, depth - 1))),
    }
}

fn meets(row: &Row, filter: &Filter) -> bool {
    let matches = |pattern: &str, value: &str| match pattern {
        "tag/*" | "*" | "?" => true,
        "**/2" => value == "tag/2",
        "3" => value == "tag/3",
        literal => literal == value,
    };
    match filter {
        Filter::All => true,
        Filter::And(parts) => parts.iter().all(|part| meets(row, part)),
        Filter::Or(parts) => parts.iter().any(|part| meets(row, part)),
        Filter::Not(part) => !meets(row, part),
        Filter::In { field, values } if field == "kind" => values.contains(&row.kind),
        Filter::In { values, .. } => row.tags.iter().any(|tag| values.contains(tag)),
        Filter::Glob { pattern, .. } => row.tags.iter().any(|tag| matches(pattern, tag)),
        Filter::Range { low, high, .. } => row
            .time
            .is_some_and(|time| low.is_none_or(|low| low <= time) && high.is_none_or(|high| time <= high)),
    }
}

const TABLES: usize = 4_000;
const TREES: usize = 260;

#[test]
fn the_truth_lies_within_the_bounds() {
    let mut rng = Rng::with_seed(11);
    let mut q_errors = Vec::with_capacity(TABLES * TREES);
    for _ in 0..TABLES {
        let rows = table(&mut rng);
        let statistics = statistics(&rows, &mut rng);
        for round in 0..TREES {
            let filter = filter(&mut rng, 3);
            let truth = rows.iter().filter(|row| meets(row, &filter)).count() as f64;
            let estimate = statistics.rows(&filter);
            let Interval { min, expected, max } = estimate;
            assert!(0.0 <= min && min <= expected && expected <= max && max <= rows.len() as f64);
            let slack = 1e-9;
            assert!(
                min <= truth + slack && truth <= max + slack,
                "{truth} in {estimate:?} of {filter:?}"
            );
            q_errors.push((expected.max(1.0) / truth.max(1.0)).max(truth.max(1.0) / expected.max(1.0)));
            if round == 0 {
                assert_eq!(
                    statistics.rows(&filter),
                    estimate,
                    "the same question, the same answer"
                );
            }
        }
    }
    q_errors.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| q_errors[(q_errors.len() - 1) * percent / 100];
    println!(
        "{} random trees over {TABLES} random tables: q-error of the expected rows p50 {:.2}, p95 {:.2}, p99 {:.2}",
        q_errors.len(),
        at(50),
        at(95),
        at(99)
    );
    assert!(at(50) < 1.2 && at(95) < 4.0, "the guesses are better than that");
}

#[test]
fn more_rows_never_cost_less() {
    let mut rng = Rng::with_seed(12);
    let names: Vec<&str> = CostModel::default().iter().map(|(name, _)| name).collect();
    let estimator = Estimator::new(CostModel::default());
    for _ in 0..100_000 {
        let mut bounds = [rng.f64() * 1e6, rng.f64() * 1e3, rng.f64()];
        bounds.sort_unstable_by(f64::total_cmp);
        let rows = Interval::new("rows", bounds[0], bounds[1], bounds[2]).unwrap();
        let operator: Operator = names[rng.usize(0..names.len())].parse().unwrap();
        let price = estimator.model().price(&[Step { operator, rows }]);
        assert!(price.us.min <= price.us.expected && price.us.expected <= price.us.max);
        assert!(price.bytes.min <= price.bytes.expected && price.bytes.expected <= price.bytes.max);
    }
}
