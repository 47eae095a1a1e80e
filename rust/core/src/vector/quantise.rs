//! Floats to signed bytes, and what a query looks like to the kernels.

use super::kernel::{LINE, Line};
use super::rotate::rotate;
use crate::CoreError;

/// The largest magnitude of a component; -128 has no counterpart, and the kernels rely on its absence.
const LARGEST: f32 = 127.0;
const LOWEST: i8 = -127;

/// Vectors of `dim` components as rows of signed bytes: rotated, then scaled so that the largest is ±127.
///
/// # Errors
/// [`CoreError::Invalid`] if the values are no whole rows, or one is infinite or not a number.
pub fn quantise(values: &[f32], dim: usize) -> Result<Vec<i8>, CoreError> {
    if dim == 0 || !values.len().is_multiple_of(dim) {
        let problem = format!("must be whole rows of {dim}, not {} values", values.len());
        return Err(CoreError::invalid("values", problem));
    }
    if !values.iter().all(|value| value.is_finite()) {
        return Err(CoreError::invalid("values", "must be finite"));
    }
    let mut out = Vec::with_capacity(values.len());
    let mut row = Vec::with_capacity(dim);
    for values in values.chunks_exact(dim) {
        row.clear();
        row.extend_from_slice(values);
        stretch(&mut row, 1.0);
        rotate(&mut row);
        stretch(&mut row, LARGEST);
        #[expect(clippy::cast_possible_truncation, reason = "at most ±127 after stretching")]
        out.extend(row.iter().map(|value| value.round() as i8));
    }
    Ok(out)
}

/// Scales so that the largest magnitude is the one given; what is too small for that becomes zero.
fn stretch(row: &mut [f32], to: f32) {
    let largest = row
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = to / largest;
    let scale = if scale.is_finite() { scale } else { 0.0 };
    for value in row {
        *value *= scale;
    }
}

/// One over the length of a vector; 0 for a zero vector, which then fits nothing.
pub(super) fn inverse_norm(row: &[i8]) -> f32 {
    let squares: i32 = row
        .iter()
        .map(|value| i32::from((*value).max(LOWEST)).pow(2))
        .sum();
    if squares == 0 {
        0.0
    } else {
        1.0 / (squares as f32).sqrt()
    }
}

/// A row's components in lines, padded with zeros.
pub(super) fn lines(row: &[i8]) -> impl Iterator<Item = Line> {
    row.chunks(LINE).map(|part| {
        let mut line = Line([0; LINE]);
        for (to, from) in line.0.iter_mut().zip(part) {
            // What a damaged store might hold, and the kernels must not see.
            *to = (*from).max(LOWEST);
        }
        line
    })
}

/// The signs of a line: 1 where a component is above 0.
pub(super) fn signs(line: &Line) -> u64 {
    /// Brings the lowest bits of eight bytes side by side into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let ones = line.0.map(|value| u8::from(value > 0));
    let eights = ones.as_chunks::<8>().0.iter().enumerate();
    eights.fold(0, |word, (place, eight)| {
        word | ((u64::from_le_bytes(*eight).wrapping_mul(GATHER) >> 56) << (8 * place))
    })
}

/// A query as the kernels take it.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) lines: Vec<Line>,
    pub(super) bits: Vec<u64>,
    pub(super) inverse_norm: f32,
}

impl Query {
    /// # Errors
    /// [`CoreError::Invalid`] if it has not `dim` values, or one is infinite or not a number.
    pub(super) fn new(values: &[f32], dim: usize) -> Result<Self, CoreError> {
        if values.len() != dim {
            let problem = format!("must have {dim} values, not {}", values.len());
            return Err(CoreError::invalid("query", problem));
        }
        let row = quantise(values, dim)?;
        let lines: Vec<Line> = lines(&row).collect();
        Ok(Self {
            bits: lines.iter().map(signs).collect(),
            lines,
            inverse_norm: inverse_norm(&row),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{LINE, Line};
    use super::{Query, inverse_norm, quantise, signs};

    #[test]
    fn a_row_uses_the_whole_range_whatever_its_length() {
        let values = [0.1, -0.2, 0.05, 0.0];
        let row = quantise(&values, 4).unwrap();
        assert_eq!(row.iter().map(|value| value.unsigned_abs()).max(), Some(127));
        for scale in [1e-6, 1e30] {
            assert_eq!(quantise(&values.map(|value| value * scale), 4).unwrap(), row);
        }
        assert_eq!(quantise(&[0.0; 4], 2).unwrap(), [0; 4]);
        assert_eq!(quantise(&[1e-42, 0.0], 2).unwrap(), [0; 2]);
        let extreme = quantise(&[f32::MAX, f32::MIN], 2).unwrap();
        assert!(extreme.iter().any(|value| value.unsigned_abs() == 127));
        assert_eq!(inverse_norm(&[0, 0]), 0.0);
        assert_eq!(inverse_norm(&[3, -4]), 0.2);
    }

    #[test]
    fn signs_are_one_bit_for_each_component() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..200 {
            let line = Line([0; LINE].map(|_: i8| random.i8(-2..=2)));
            for (place, value) in line.0.iter().enumerate() {
                assert_eq!(signs(&line) >> place & 1 == 1, *value > 0);
            }
        }
    }

    #[test]
    fn what_is_no_vector_is_refused_by_name() {
        for (values, dim) in [
            (&[1.0, 2.0, 3.0][..], 2),
            (&[f32::NAN, 1.0], 2),
            (&[f32::INFINITY, 1.0], 2),
            (&[], 0),
        ] {
            assert!(
                quantise(values, dim)
                    .unwrap_err()
                    .to_string()
                    .starts_with("values")
            );
        }
        assert!(
            Query::new(&[1.0; 15], 16)
                .unwrap_err()
                .to_string()
                .starts_with("query")
        );
    }
}
