//! The leading eigenvectors of a sparse symmetric matrix, by subspace iteration from a seeded start.

use super::association::Matrix;
use super::dense::{Dense, eigen, quantised};

/// Axes searched for beside those that are kept; they take up what has not converged.
const OVERSAMPLING: usize = 16;

const ITERATIONS: usize = 4;

/// A row of `dim` signed bytes for each row of the matrix: its place along the strongest axes.
pub(super) fn directions(matrix: &Matrix, dim: usize, seed: u64) -> Vec<i8> {
    let size = matrix.size();
    let width = (dim + OVERSAMPLING).min(size);
    if width == 0 {
        return Vec::new();
    }
    let mut basis = start(size, width, seed);
    basis.orthonormalise();
    for _ in 0..ITERATIONS {
        basis = times(matrix, &basis);
        basis.orthonormalise();
    }
    let image = times(matrix, &basis);
    let axes = strongest(&basis.transposed_times(&image), width, dim);
    let mut rows = Vec::with_capacity(size * dim);
    for row in basis.rows() {
        let mut place = vec![0.0_f32; dim];
        for (&value, weights) in row.iter().zip(axes.rows()) {
            for (slot, &weight) in place.iter_mut().zip(weights) {
                *slot += value * weight;
            }
        }
        rows.extend(quantised(&place));
    }
    rows
}

/// What turns a row in the basis into one along the axes: strongest first, each scaled by its strength.
#[expect(clippy::cast_possible_truncation, reason = "the rows become bytes in the end")]
fn strongest(small: &[f64], width: usize, dim: usize) -> Dense {
    let (values, vectors) = eigen(small, width);
    let mut order: Vec<(f64, usize)> = values.iter().map(|value| value.abs()).zip(0..).collect();
    order.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let mut axes = Dense::zeros(width, dim);
    for (from, to) in vectors.chunks_exact(width).zip(axes.rows_mut()) {
        for (slot, &(strength, axis)) in to.iter_mut().zip(&order) {
            let part = from.get(axis).copied().unwrap_or_default();
            *slot = (part * strength) as f32;
        }
    }
    axes
}

fn times(matrix: &Matrix, by: &Dense) -> Dense {
    let mut product = Dense::zeros(matrix.size(), by.width());
    for (row, sums) in matrix.rows().zip(product.rows_mut()) {
        for (column, value) in row {
            for (sum, &other) in sums.iter_mut().zip(by.row(column as usize)) {
                *sum += value * other;
            }
        }
    }
    product
}

/// Numbers in -1..1 that look random.
fn start(size: usize, width: usize, seed: u64) -> Dense {
    let mut state = seed;
    let mut dense = Dense::zeros(size, width);
    for slot in dense.rows_mut().flatten() {
        *slot = next(&mut state);
    }
    dense
}

/// `SplitMix64`, of which 24 bits are used.
fn next(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let bits = (mixed ^ (mixed >> 31)) >> 40;
    bits as f32 / (1_u32 << 23) as f32 - 1.0
}
