//! As much linear algebra as a fit needs: tall thin matrices in `f32`, small square ones in `f64`.

/// A matrix by rows.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    width: usize,
    values: Vec<f32>,
}

/// Rows summed in `f32` before they are added in `f64`.
const BLOCK_ROWS: usize = 64;

/// A column of which less than this share (of its squared length) is new beside the columns before it is
/// nothing but rounding: where the matrix has fewer axes than are looked for, such columns are made zero.
const NEW_SHARE_MIN: f64 = 1e-6;

/// Sweeps after which the eigenvectors are taken as they are; they converge in six to ten.
const SWEEPS_MAX: usize = 16;

impl Dense {
    pub(super) fn zeros(rows: usize, width: usize) -> Self {
        Self {
            width,
            values: vec![0.0; rows * width],
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width)
    }

    pub(super) fn row(&self, at: usize) -> &[f32] {
        self.values
            .get(at * self.width..(at + 1) * self.width)
            .unwrap_or_default()
    }

    /// The square matrix of the products of columns of `self` with columns of `other`, as wide as `self`.
    pub(super) fn transposed_times(&self, other: &Self) -> Vec<f64> {
        let mut total = vec![0.0_f64; self.width * self.width];
        let mut block = vec![0.0_f32; self.width * self.width];
        let rows = self.width * BLOCK_ROWS;
        for (ours, theirs) in self.values.chunks(rows).zip(other.values.chunks(rows)) {
            block.fill(0.0);
            for (our, their) in ours.chunks_exact(self.width).zip(theirs.chunks_exact(self.width)) {
                for (&value, sums) in our.iter().zip(block.chunks_exact_mut(self.width)) {
                    for (sum, &by) in sums.iter_mut().zip(their) {
                        *sum += value * by;
                    }
                }
            }
            for (sum, &part) in total.iter_mut().zip(&block) {
                *sum += f64::from(part);
            }
        }
        total
    }

    /// Makes the columns perpendicular and of length 1 (or 0), keeping what they span (Cholesky QR, twice,
    /// since the first pass leaves errors of the square of the condition).
    pub(super) fn orthonormalise(&mut self) {
        for _ in 0..2 {
            let products = self.transposed_times(self);
            let inverse = inverse_of_cholesky(&products, self.width);
            let mut fresh = vec![0.0_f32; self.width];
            for row in self.values.chunks_exact_mut(self.width) {
                fresh.fill(0.0);
                for (&value, of_value) in row.iter().zip(inverse.chunks_exact(self.width)) {
                    for (slot, &by) in fresh.iter_mut().zip(of_value) {
                        *slot += value * by;
                    }
                }
                row.copy_from_slice(&fresh);
            }
        }
    }
}

/// The inverse of the upper triangle `r` with `r' r = square`, by rows.
#[expect(clippy::cast_possible_truncation, reason = "it multiplies f32")]
fn inverse_of_cholesky(square: &[f64], width: usize) -> Vec<f32> {
    // Row `i` of `lower` is column `i` of the triangle; row `i` of `inverse` is that of its inverse.
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(width);
    for (i, products) in square.chunks_exact(width).enumerate() {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (above, &product) in lower.iter().zip(products) {
            let rest = product - dot(&row, above);
            row.push(over(rest, above.last()));
        }
        let own = products.get(i).copied().unwrap_or_default();
        let new = own - dot(&row, &row);
        row.push(if new > own * NEW_SHARE_MIN {
            new.sqrt()
        } else {
            0.0
        });
        lower.push(row);
    }
    let mut inverse: Vec<Vec<f64>> = Vec::with_capacity(width);
    for row in &lower {
        let Some((&pivot, before)) = row.split_last() else {
            continue;
        };
        let mut fresh = vec![0.0_f64; before.len()];
        for (&factor, done) in before.iter().zip(&inverse) {
            for (slot, &value) in fresh.iter_mut().zip(done) {
                *slot -= over(factor * value, Some(&pivot));
            }
        }
        fresh.push(over(1.0, Some(&pivot)));
        inverse.push(fresh);
    }
    let mut upper = vec![0.0_f32; width * width];
    for (column, values) in inverse.iter().enumerate() {
        for (row, &value) in upper.chunks_exact_mut(width).zip(values) {
            if let Some(slot) = row.get_mut(column) {
                *slot = value as f32;
            }
        }
    }
    upper
}

/// A quotient, 0 where there is nothing to divide by: the column has vanished.
fn over(value: f64, pivot: Option<&f64>) -> f64 {
    pivot
        .filter(|&&pivot| pivot > 0.0)
        .map_or(0.0, |pivot| value / pivot)
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Eigenvalues of a symmetric matrix, and its eigenvectors as the columns of a matrix of the same size:
/// Jacobi's rotations, until nothing off the diagonal is left.
pub(super) fn eigen(square: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rows: Vec<Vec<f64>> = square.chunks_exact(width).map(<[f64]>::to_vec).collect();
    // By rows here: row `i` is the eigenvector `i`.
    let mut vectors: Vec<Vec<f64>> = (0..width)
        .map(|i| (0..width).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    let scale: f64 = square.iter().map(|value| value * value).sum::<f64>().sqrt();
    for _ in 0..SWEEPS_MAX {
        let mut largest = 0.0_f64;
        for p in 0..width {
            for q in p + 1..width {
                largest = largest.max(rotate(&mut rows, &mut vectors, p, q));
            }
        }
        if largest <= scale * 1e-9 {
            break;
        }
    }
    let values = rows
        .iter()
        .enumerate()
        .map(|(i, row)| row.get(i).copied().unwrap_or_default());
    let columns = (0..width).flat_map(|i| {
        let vectors = &vectors;
        (0..width).map(move |j| {
            vectors
                .get(j)
                .and_then(|row| row.get(i))
                .copied()
                .unwrap_or_default()
        })
    });
    (values.collect(), columns.collect())
}

/// Makes the element at `p`, `q` zero; returns how large it was.
fn rotate(rows: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) -> f64 {
    let at = |i: usize, j: usize| {
        rows.get(i)
            .and_then(|row| row.get(j))
            .copied()
            .unwrap_or_default()
    };
    let (own_p, own_q, off) = (at(p, p), at(q, q), at(p, q));
    if off == 0.0 {
        return 0.0;
    }
    let theta = (own_q - own_p) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for row in rows.iter_mut() {
        if let Some((one, other)) = pair(row, p, q) {
            (*one, *other) = (cosine * *one - sine * *other, sine * *one + cosine * *other);
        }
    }
    for matrix in [rows, vectors] {
        if let Some((one, other)) = pair(matrix, p, q) {
            for (one, other) in one.iter_mut().zip(other) {
                (*one, *other) = (cosine * *one - sine * *other, sine * *one + cosine * *other);
            }
        }
    }
    off.abs()
}

/// Two elements, `p` before `q`, to be changed together.
fn pair<T>(items: &mut [T], p: usize, q: usize) -> Option<(&mut T, &mut T)> {
    let (before, from) = items.split_at_mut_checked(q)?;
    Some((before.get_mut(p)?, from.first_mut()?))
}

/// The direction of `values` in signed bytes: the largest becomes 127.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounded, and within -127..=127 by the scale; what is not a number becomes 0"
)]
pub(super) fn quantised(values: &[f32]) -> Vec<i8> {
    let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = if largest > 0.0 && largest.is_finite() {
        127.0 / largest
    } else {
        0.0
    };
    values
        .iter()
        .map(|&value| (value * scale).round() as i8)
        .collect()
}
