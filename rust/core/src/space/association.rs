//! What terms have to do with each other: positive pointwise mutual information, as a sparse matrix.

use super::corpus::Rows;

/// Power of the marginals on one side, which keeps rare terms from seeming to belong to each other.
const SMOOTHING: f64 = 0.75;

/// Buckets of the histogram that finds the weakest pair to keep; each is an eighth of a doubling wide.
const BUCKETS: usize = 512;
const BUCKETS_PER_DOUBLING: f32 = 8.0;

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
/// A text weighs the same in sum whatever its length. Of more than `pairs` pairs the weakest are left out.
pub(super) fn positive_information(texts: &Rows, frequencies: &[u32], pairs: usize) -> Matrix {
    let seen = Together::new(texts, frequencies);
    let weakest = weakest_ratio(&seen, pairs);
    let mut matrix = Matrix::default();
    seen.each_row(|row| {
        for &(column, ratio) in row {
            if ratio > weakest {
                matrix.columns.push(column);
                matrix.values.push(ratio.ln());
            }
        }
        matrix.ends.push(matrix.columns.len());
    });
    matrix
}

/// The ratio that a pair must exceed so that about `pairs` of them remain; at least 1.
fn weakest_ratio(seen: &Together<'_>, pairs: usize) -> f32 {
    let mut histogram = vec![0_usize; BUCKETS];
    seen.each_row(|row| {
        for &(_, ratio) in row {
            if ratio > 1.0
                && let Some(count) = histogram.get_mut(bucket(ratio))
            {
                *count += 1;
            }
        }
    });
    let mut left = pairs;
    for (at, &count) in histogram.iter().enumerate().rev() {
        match left.checked_sub(count) {
            Some(rest) => left = rest,
            None => return ((at + 1) as f32 / BUCKETS_PER_DOUBLING).exp2(),
        }
    }
    1.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a ratio above 1 has a logarithm above 0"
)]
fn bucket(ratio: f32) -> usize {
    ((ratio.log2() * BUCKETS_PER_DOUBLING) as usize).min(BUCKETS - 1)
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
    fn each_row(&self, mut take: impl FnMut(&[(u32, f32)])) {
        let mut sums = vec![0.0_f32; self.scales.len()];
        let mut touched: Vec<u32> = Vec::new();
        let mut row: Vec<(u32, f32)> = Vec::new();
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
                    row.push((other, *sum * (scale * of_other)));
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
