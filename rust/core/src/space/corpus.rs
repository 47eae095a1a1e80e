//! The texts of a fit, as numbers: each term once a text, terms in the order in which they came.

use std::collections::HashMap;

use super::{Space, association, factor};
use crate::CoreError;

/// Bounds of a fit: what it may cost, whatever it is given.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Numbers in a vector.
    pub dim: usize,
    /// Terms that get a vector: the most frequent ones.
    pub terms: usize,
    /// Different terms of one text that count, in the order of the text.
    pub terms_per_text: usize,
    /// Pairs of terms that are kept, those with the most evidence.
    pub pairs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dim: 128,
            terms: 32_768,
            terms_per_text: 192,
            pairs: 4_000_000,
        }
    }
}

/// Largest [`Limits::dim`].
const DIM_MAX: usize = 1_024;

/// Texts to fit a [`Space`] to.
#[derive(Debug)]
pub struct Corpus {
    limits: Limits,
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    frequencies: Vec<u32>,
    texts: Rows,
}

/// Rows of numbers, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Rows {
    values: Vec<u32>,
    ends: Vec<usize>,
}

impl Rows {
    pub(super) fn push(&mut self, row: impl IntoIterator<Item = u32>) {
        self.values.extend(row);
        self.ends.push(self.values.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| self.values.get(start..end).unwrap_or_default())
    }

    pub(super) fn row(&self, at: usize) -> &[u32] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let end = self.ends.get(at).copied().unwrap_or_default();
        self.values
            .get(start.copied().unwrap_or_default()..end)
            .unwrap_or_default()
    }
}

impl Corpus {
    /// An empty corpus.
    ///
    /// # Errors
    /// A limit is zero, or `dim` is above 1,024.
    pub fn new(limits: Limits) -> Result<Self, CoreError> {
        if !(1..=DIM_MAX).contains(&limits.dim) {
            return Err(CoreError::invalid("dim", format!("must be in 1..={DIM_MAX}")));
        }
        if limits.terms == 0 || limits.terms_per_text == 0 || limits.pairs == 0 {
            return Err(CoreError::invalid("limits", "must be above 0"));
        }
        Ok(Self {
            limits,
            numbers: HashMap::new(),
            names: Vec::new(),
            frequencies: Vec::new(),
            texts: Rows::default(),
        })
    }

    /// Adds a text as its terms in order; repeated ones count once.
    pub fn add<'a>(&mut self, terms: impl IntoIterator<Item = &'a str>) {
        let mut row: Vec<u32> = Vec::new();
        for term in terms {
            if row.len() >= self.limits.terms_per_text {
                row.sort_unstable();
                row.dedup();
                if row.len() >= self.limits.terms_per_text {
                    break;
                }
            }
            row.push(self.number(term));
        }
        row.sort_unstable();
        row.dedup();
        for &term in &row {
            if let Some(frequency) = self.frequencies.get_mut(term as usize) {
                *frequency += 1;
            }
        }
        self.texts.push(row);
    }

    /// Texts added.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether no text was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The space of these texts. `seed` starts the search for its axes, which it does not decide.
    pub fn fit(self, seed: u64) -> Space {
        let documents = self.texts.len() as u64;
        let kept = self.most_frequent();
        let mut renumbered = vec![u32::MAX; self.names.len()];
        for (new, &old) in (0..).zip(&kept) {
            if let Some(slot) = renumbered.get_mut(old as usize) {
                *slot = new;
            }
        }
        let mut texts = Rows::default();
        for text in self.texts.iter() {
            let new = |&old: &u32| renumbered.get(old as usize).copied();
            texts.push(text.iter().filter_map(new).filter(|&term| term != u32::MAX));
        }
        let pick = |&old: &u32| self.frequencies.get(old as usize).copied().unwrap_or_default();
        let frequencies: Vec<u32> = kept.iter().map(pick).collect();
        let matrix = association::positive_information(&texts, &frequencies, self.limits.pairs);
        let rows = factor::directions(&matrix, self.limits.dim, seed);
        let name = |&old: &u32| self.names.get(old as usize).cloned().unwrap_or_default();
        let names = kept.iter().map(name).collect();
        Space::new(self.limits.dim, documents, names, frequencies, rows)
    }

    fn number(&mut self, term: &str) -> u32 {
        if let Some(&known) = self.numbers.get(term) {
            return known;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(term.into(), number);
        self.names.push(term.into());
        self.frequencies.push(0);
        number
    }

    /// The numbers of the terms that get a vector, ascending.
    fn most_frequent(&self) -> Vec<u32> {
        let mut order: Vec<(u32, u32)> = self.frequencies.iter().copied().zip(0..).collect();
        // Of equally frequent ones those that came last: what was said lately is asked for more.
        order.sort_unstable_by(|one, other| other.cmp(one));
        order.truncate(self.limits.terms);
        let mut kept: Vec<u32> = order.into_iter().map(|(_, term)| term).collect();
        kept.sort_unstable();
        kept
    }
}
