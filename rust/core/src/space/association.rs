//! What terms have to do with each other: positive pointwise mutual information, as a sparse matrix.

use super::corpus::Rows;

/// Power of the marginals on one side, which keeps rare terms from seeming to belong to each other.
const SMOOTHING: f64 = 0.75;

/// Buckets of the histogram that finds the weakest evidence to keep; each is an eighth of a doubling wide,
/// the first one ends at 2^-32.
const BUCKETS: usize = 512;
const BUCKETS_PER_DOUBLING: f32 = 8.0;
const DOUBLINGS_BELOW_ONE: f32 = 32.0;

/// A symmetric matrix by rows, without its zeros.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Matrix {
    pub(super) fn size(&self) -> usize {
        self.ends.len()
    }

    /// For each row, the columns and values of what is not zero.
    pub(super) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (u32, f32)>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| {
            let columns = self.columns.get(start..end).unwrap_or_default();
            let values = self.values.get(start..end).unwrap_or_default();
            columns.iter().copied().zip(values.iter().copied())
        })
    }
}

/// The matrix of `ln(ratio)` where a pair is seen together `ratio > 1` times as often as chance would have it.
///
/// A text weighs the same in sum whatever its length. Of more than `pairs` pairs those are left out for which
/// there is the least evidence. The lowest ratios would be the wrong ones to leave out: those are the pairs of
/// common terms, while two rare terms that met once have a high one.
pub(super) fn positive_information(texts: &Rows, frequencies: &[u32], pairs: usize) -> Matrix {
    let seen = Together::new(texts, frequencies);
    let weakest = weakest_evidence(&seen, pairs);
    let mut matrix = Matrix::default();
    seen.each_row(|row| {
        for pair in row.iter().filter(|pair| pair.evidence() > weakest) {
            matrix.columns.push(pair.other);
            matrix.values.push(pair.ratio.ln());
        }
        matrix.ends.push(matrix.columns.len());
    });
    matrix
}

/// A term that stands in the same texts as the one of the row.
struct Pair {
    other: u32,
    /// Sum over the texts of both.
    weight: f32,
    /// How much larger that is than by chance.
    ratio: f32,
}

impl Pair {
    /// How sure it is that the pair is more than chance: a part of the log-likelihood ratio (Dunning 1993).
    fn evidence(&self) -> f32 {
        self.weight * self.ratio.ln()
    }
}

/// What a pair's evidence must exceed so that at most about `pairs` of them remain; at least 0.
fn weakest_evidence(seen: &Together<'_>, pairs: usize) -> f32 {
    let mut histogram = vec![0_usize; BUCKETS];
    seen.each_row(|row| {
        for evidence in row.iter().map(Pair::evidence).filter(|&evidence| evidence > 0.0) {
            if let Some(count) = histogram.get_mut(bucket(evidence)) {
                *count += 1;
            }
        }
    });
    let mut left = pairs;
    for (at, &count) in histogram.iter().enumerate().rev() {
        match left.checked_sub(count) {
            Some(rest) => left = rest,
            None => return ((at + 1) as f32 / BUCKETS_PER_DOUBLING - DOUBLINGS_BELOW_ONE).exp2(),
        }
    }
    0.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not below 0, and a cast saturates"
)]
fn bucket(evidence: f32) -> usize {
    let doublings = (evidence.log2() + DOUBLINGS_BELOW_ONE).max(0.0);
    ((doublings * BUCKETS_PER_DOUBLING) as usize).min(BUCKETS - 1)
}

/// Texts seen from both sides, with what turns a sum of weights into a ratio.
struct Together<'a> {
    texts: &'a Rows,
    /// For each term, the texts it stands in.
    postings: Rows,
    /// A pair's weight times both scales is its frequency over that of chance.
    scales: Vec<f32>,
}

impl<'a> Together<'a> {
    fn new(texts: &'a Rows, frequencies: &[u32]) -> Self {
        let mut lists: Vec<Vec<u32>> = frequencies
            .iter()
            .map(|&n| Vec::with_capacity(n as usize))
            .collect();
        for (number, text) in (0..).zip(texts.iter()) {
            for &term in text {
                if let Some(list) = lists.get_mut(term as usize) {
                    list.push(number);
                }
            }
        }
        let mut postings = Rows::default();
        for list in lists {
            postings.push(list);
        }
        Self {
            texts,
            postings,
            scales: scales(frequencies),
        }
    }

    /// Calls `take` with the ratios of every term in turn. A pair weighs one over the length of each text
    /// that holds it, so that what a term weighs in sum is the number of its texts.
    fn each_row(&self, mut take: impl FnMut(&[Pair])) {
        let mut sums = vec![0.0_f32; self.scales.len()];
        let mut touched: Vec<u32> = Vec::new();
        let mut row: Vec<Pair> = Vec::new();
        for (texts, scale) in self.postings.iter().zip(&self.scales) {
            for &number in texts {
                let text = self.texts.row(number as usize);
                let weight = 1.0 / text.len().max(1) as f32;
                for &other in text {
                    if let Some(sum) = sums.get_mut(other as usize) {
                        if *sum == 0.0 {
                            touched.push(other);
                        }
                        *sum += weight;
                    }
                }
            }
            row.clear();
            for &other in &touched {
                let at = other as usize;
                if let (Some(sum), Some(of_other)) = (sums.get_mut(at), self.scales.get(at)) {
                    let ratio = *sum * (scale * of_other);
                    row.push(Pair {
                        other,
                        weight: *sum,
                        ratio,
                    });
                    *sum = 0.0;
                }
            }
            touched.clear();
            take(&row);
        }
    }
}

/// One over the root of what chance gives a term on both sides, the one side smoothed.
#[expect(
    clippy::cast_possible_truncation,
    reason = "about seven digits of a ratio are enough"
)]
fn scales(frequencies: &[u32]) -> Vec<f32> {
    let total: f64 = frequencies.iter().map(|&n| f64::from(n)).sum();
    let smooth = |n: u32| f64::from(n).powf(SMOOTHING);
    let smooth_total: f64 = frequencies.iter().map(|&n| smooth(n)).sum();
    frequencies
        .iter()
        .map(|&n| {
            let chance = f64::from(n) * smooth(n) * total / smooth_total;
            (total / chance.max(f64::MIN_POSITIVE)).sqrt() as f32
        })
        .collect()
}
