//! An embedding space fitted to the texts it is to embed: no model, no weights, no training data.
//!
//! Terms that stand in the same texts get vectors that point the same way. What two terms have to do
//! with each other is their positive pointwise mutual information (Bullinaria and Levy 2007, with the
//! smoothed marginals of Levy, Goldberg and Dagan 2015); the leading eigenvectors of that matrix, found by
//! seeded subspace iteration (Halko, Martinsson and Tropp 2011), are the vectors of the terms. A text is the
//! sum of the vectors of its terms, the rare ones weighed more, so a new text needs no new fit.
//!
//! [`Corpus`] collects texts as terms, [`Corpus::fit`] makes a [`Space`] of them, [`Space::embed`] makes a
//! vector of terms, and [`Space::to_bytes`] keeps it. The same texts give the same bytes.

mod association;
mod bytes;
mod corpus;
mod dense;
mod factor;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use corpus::{Corpus, Limits};

/// How much a rare term counts for more than a common one in the vector of a text.
const RARITY_POWER: f32 = 0.7;

/// The terms of a corpus with a direction each.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    dim: usize,
    documents: u64,
    terms: HashMap<Box<str>, u32>,
    /// In how many texts each term stood.
    frequencies: Vec<u32>,
    /// One row of `dim` a term; only its direction is used.
    rows: Vec<i8>,
    /// What a row is multiplied by: the rarity of its term over the length of the row.
    weights: Vec<f32>,
}

impl Space {
    /// Assembles a space; `rows` holds `dim` bytes for each term.
    fn new(dim: usize, documents: u64, terms: Vec<Box<str>>, frequencies: Vec<u32>, rows: Vec<i8>) -> Self {
        let weights = rows
            .chunks_exact(dim)
            .zip(&frequencies)
            .map(|(row, &frequency)| rarity(frequency, documents) / length(row).max(1.0))
            .collect();
        let terms = terms.into_iter().zip(0..).collect();
        Self {
            dim,
            documents,
            terms,
            frequencies,
            rows,
            weights,
        }
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Texts that it was fitted to.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Terms that have a vector.
    pub fn terms(&self) -> usize {
        self.frequencies.len()
    }

    /// Bytes of RAM that the vectors and the terms take, about.
    pub fn footprint_bytes(&self) -> usize {
        let names: usize = self.terms.keys().map(|term| term.len()).sum();
        self.rows.len() + names + self.terms.capacity() * 28 + self.weights.len() * 8
    }

    /// The vector of a text given as its terms: `dim` signed bytes, of which only the direction counts.
    ///
    /// Terms that the space does not know are passed over; all zeros where it knows none.
    pub fn embed<'a>(&self, terms: impl IntoIterator<Item = &'a str>) -> Vec<i8> {
        let mut known: Vec<u32> = terms
            .into_iter()
            .filter_map(|term| self.terms.get(term).copied())
            .collect();
        known.sort_unstable();
        let mut sum = vec![0.0_f32; self.dim];
        for run in known.chunk_by(|one, next| one == next) {
            let Some(&term) = run.first() else { continue };
            self.add_row(&mut sum, term, 1.0 + (run.len() as f32).ln());
        }
        dense::quantised(&sum)
    }

    fn add_row(&self, sum: &mut [f32], term: u32, times: f32) {
        let at = term as usize;
        let Some(weight) = self.weights.get(at) else {
            return;
        };
        let Some(row) = self.rows.get(at * self.dim..(at + 1) * self.dim) else {
            return;
        };
        let by = weight * times;
        for (slot, &value) in sum.iter_mut().zip(row) {
            *slot += by * f32::from(value);
        }
    }
}

fn rarity(frequency: u32, documents: u64) -> f32 {
    let idf = ((documents as f32 + 1.0) / (frequency as f32 + 0.5)).ln();
    idf.max(0.0).powf(RARITY_POWER)
}

fn length(row: &[i8]) -> f32 {
    row.iter()
        .map(|&value| f32::from(value) * f32::from(value))
        .sum::<f32>()
        .sqrt()
}
