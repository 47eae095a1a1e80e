//! The matrix against a naive twin: whatever happened to it, every way finds what a plain loop finds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeMap;

use fastrand::Rng;
use retain_core::vector::{Costs, Hit, Matrix, Way, quantise};

type Twin = BTreeMap<i64, Vec<i8>>;

fn cosine(one: &[i8], other: &[i8]) -> f64 {
    let dot = |a: &[i8], b: &[i8]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(i32::from(*x) * i32::from(*y)))
            .sum()
    };
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    if norms > 0.0 { dot(one, other) / norms } else { 0.0 }
}

fn expected(twin: &Twin, query: &[i8], k: usize, keys: Option<&[i64]>) -> Vec<f64> {
    let among = twin
        .iter()
        .filter(|(key, _)| keys.is_none_or(|keys| keys.contains(key)));
    let mut scores: Vec<f64> = among.map(|(_, row)| cosine(query, row)).collect();
    scores.sort_by(|one, other| other.total_cmp(one));
    scores.truncate(k);
    scores
}

/// Hits are the twin's best: as many, with their scores, in order, each key with its own score, none twice.
fn check(twin: &Twin, query: &[f32], k: usize, keys: Option<&[i64]>, hits: &[Hit]) {
    let query = quantise(query, query.len()).unwrap();
    let scores = expected(twin, &query, k, keys);
    assert_eq!(hits.len(), scores.len());
    for (hit, score) in hits.iter().zip(&scores) {
        assert!(
            (f64::from(hit.score) - score).abs() < 1e-5,
            "{hit:?} is no {score}"
        );
        assert!((f64::from(hit.score) - cosine(&query, &twin[&hit.key])).abs() < 1e-5);
        assert!(keys.is_none_or(|keys| keys.contains(&hit.key)));
    }
    assert!(hits.is_sorted_by(|one, next| one > next));
}

fn row(random: &mut Rng, dim: usize) -> Vec<i8> {
    if random.u8(..20) == 0 {
        return vec![0; dim];
    }
    (0..dim).map(|_| random.i8(-127..=127)).collect()
}

fn query(random: &mut Rng, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| random.f32() - 0.5).collect()
}

#[test]
fn after_any_changes_every_exact_way_finds_what_a_plain_loop_finds() {
    let mut random = Rng::with_seed(11);
    for dim in [16, 48, 256, 384, 1024, 1536, 4096] {
        let mut matrix = Matrix::new(dim).unwrap();
        let mut twin = Twin::new();
        for _ in 0..60 {
            let keys: Vec<i64> = (0..random.usize(..20)).map(|_| random.i64(-20..200)).collect();
            if random.u8(..3) == 0 {
                let there = keys.iter().filter(|key| twin.remove(key).is_some()).count();
                assert_eq!(matrix.remove(&keys), there);
            } else {
                let rows: Vec<Vec<i8>> = keys.iter().map(|_| row(&mut random, dim)).collect();
                let before = twin.len();
                twin.extend(keys.iter().copied().zip(rows.iter().cloned()));
                assert_eq!(matrix.put(&keys, &rows.concat()).unwrap(), twin.len() - before);
            }
            assert_eq!(matrix.len(), twin.len());
            let (query, k) = (query(&mut random, dim), random.usize(..30));
            let among: Vec<i64> = (0..random.usize(..120)).map(|_| random.i64(-30..210)).collect();
            for (keys, way) in [
                (None, Way::Scan),
                (Some(&among[..]), Way::Scan),
                (Some(&among[..]), Way::Ids),
            ] {
                let found = matrix.search(&query, k, keys, Some(way)).unwrap();
                assert_eq!(found.way, way);
                check(&twin, &query, k, keys, &found.hits);
            }
        }
    }
}

/// More rows than are scored again, in clusters as texts have, over the border of a block.
fn clustered(random: &mut Rng, rows: i64, dim: usize) -> (Matrix, Twin, Vec<Vec<f32>>) {
    let centres: Vec<Vec<f32>> = (0..200).map(|_| query(random, dim)).collect();
    let near = |random: &mut Rng| -> Vec<f32> {
        let centre = &centres[random.usize(..centres.len())];
        centre
            .iter()
            .map(|value| value + 0.6 * (random.f32() - 0.5))
            .collect()
    };
    let mut matrix = Matrix::new(dim).unwrap();
    let mut twin = Twin::new();
    for key in 0..rows {
        let row = quantise(&near(random), dim).unwrap();
        matrix.put(&[key], &row).unwrap();
        twin.insert(key, row);
    }
    let queries = (0..20).map(|_| near(random)).collect();
    (matrix, twin, queries)
}

#[test]
fn the_ways_over_bits_find_nearly_all_and_never_too_few() {
    let mut random = Rng::with_seed(12);
    let (matrix, twin, queries) = clustered(&mut random, 9_000, 256);
    for step in [1, 2, 20, 1_000, 9_000] {
        let among: Vec<i64> = (0..9_000).filter(|key| key % step == 0).collect();
        let (mut right, mut all) = (0, 0);
        for query in &queries {
            for (keys, way) in [
                (None, Way::Bits),
                (Some(&among[..]), Way::Bits),
                (Some(&among[..]), Way::BitIds),
            ] {
                let found = matrix.search(query, 10, keys, Some(way)).unwrap();
                let exact = matrix.search(query, 10, keys, Some(Way::Scan)).unwrap();
                check(&twin, query, 10, keys, &exact.hits);
                assert_eq!((found.way, found.hits.len()), (way, exact.hits.len()));
                right += found.hits.iter().filter(|hit| exact.hits.contains(hit)).count();
                all += exact.hits.len();
            }
        }
        assert!(
            right as f64 >= 0.97 * all as f64,
            "{right} of {all} with every {step}th"
        );
    }
}

#[test]
fn whatever_the_costs_say_the_answer_is_as_good() {
    let mut random = Rng::with_seed(13);
    let (mut matrix, twin, queries) = clustered(&mut random, 5_000, 48);
    let among: Vec<i64> = (0..5_000).filter(|key| key % 3 == 0).collect();
    for dear in [Way::Scan, Way::Ids] {
        let mut costs: Costs = matrix.costs();
        let mut line = costs.of(dear);
        line.row_us = 1_000.0;
        costs.set(dear, line).unwrap();
        let before = matrix.costs();
        matrix.set_costs(costs);
        for query in &queries {
            let found = matrix.search(query, 10, Some(&among), None).unwrap();
            assert_ne!(found.way, dear);
            check(&twin, query, 10, Some(&among), &found.hits);
        }
        matrix.set_costs(before);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    for dim in [0, 8, 100, 4_112] {
        assert!(Matrix::new(dim).unwrap_err().to_string().starts_with("dim"));
    }
    let mut matrix = Matrix::new(16).unwrap();
    let error = matrix.put(&[1, 2], &[0; 17]).unwrap_err().to_string();
    assert!(error.starts_with("rows"), "{error}");
    assert!(matrix.is_empty());
    assert!(matrix.search(&[1.0; 15], 3, None, None).is_err());
    assert!(matrix.search(&[f32::NAN; 16], 3, None, None).is_err());
    assert_eq!(matrix.search(&[1.0; 16], 3, None, None).unwrap().hits, []);
}

#[test]
fn the_lowest_byte_a_damaged_store_may_hold_is_taken_as_the_lowest_component() {
    let mut matrix = Matrix::new(16).unwrap();
    matrix.put(&[1, 2], &[[-128; 16], [-127; 16]].concat()).unwrap();
    let query: Vec<f32> = (0..16_u8).map(f32::from).collect();
    let found = matrix.search(&query, 2, None, None).unwrap();
    assert!(
        (found.hits[0].score - found.hits[1].score).abs() < 1e-6,
        "{found:?}"
    );
}

/// As in a space fitted to a corpus, whose first components say most.
#[test]
fn signs_suffice_also_where_a_few_components_say_most() {
    let mut random = Rng::with_seed(14);
    let mut steep = || -> Vec<f32> {
        (1..=256_u16)
            .map(|i| (random.f32() - 0.5) / f32::from(i))
            .collect()
    };
    let mut matrix = Matrix::new(256).unwrap();
    for key in 0..9_000 {
        matrix.put(&[key], &quantise(&steep(), 256).unwrap()).unwrap();
    }
    let mut right = 0;
    for _ in 0..20 {
        let query = steep();
        let exact = matrix.search(&query, 10, None, Some(Way::Scan)).unwrap().hits;
        let found = matrix.search(&query, 10, None, Some(Way::Bits)).unwrap().hits;
        right += found.iter().filter(|hit| exact.contains(hit)).count();
    }
    assert!(right >= 194, "{right} of 200");
}

#[test]
fn clearing_gives_back_what_was_taken() {
    let mut matrix = Matrix::new(64).unwrap();
    let keys: Vec<i64> = (0..10_000).collect();
    matrix.put(&keys, &vec![1; 640_000]).unwrap();
    let bytes = matrix.bytes();
    assert!(bytes > 10_000 * 64, "{bytes}");
    assert_eq!(matrix.clear(), bytes);
    assert_eq!((matrix.bytes(), matrix.len()), (0, 0));
    matrix.put(&[5], &[1; 64]).unwrap();
    assert_eq!(matrix.search(&[1.0; 64], 9, None, None).unwrap().hits.len(), 1);
}
