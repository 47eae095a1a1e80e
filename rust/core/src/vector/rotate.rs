//! A fixed rotation, so that every component of a vector says about as much as any other.
//!
//! The components of a corpus-fitted space fall off steeply. Signed bytes then waste their range on the first
//! few, and signs alone say almost nothing. A rotation changes no angle; this one is random signs and
//! Walsh-Hadamard transforms, over blocks of a power of two that overlap where the dimension is none:
//! O(dim log dim).

/// Signs and transforms of the front and the back block, this often.
const ROUNDS: u64 = 2;

/// Rotates in place, always in the same way for the same length.
pub(super) fn rotate(values: &mut [f32]) {
    let block = 1_usize << values.len().max(1).ilog2();
    let back = values.len().saturating_sub(block);
    for round in 0..ROUNDS {
        flip(values, 2 * round);
        transform(values.get_mut(..block).unwrap_or_default());
        if back > 0 {
            flip(values, 2 * round + 1);
            transform(values.get_mut(back..).unwrap_or_default());
        }
    }
}

/// Turns about half of the signs, at places that the round decides (`SplitMix64`).
fn flip(values: &mut [f32], round: u64) {
    for (place, value) in (1_u64..).zip(values) {
        let mut mixed = ((round << 32) + place).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        if (mixed ^ (mixed >> 31)) & 1 == 1 {
            *value = -*value;
        }
    }
}

/// The Walsh-Hadamard transform of a power of two of values, which keeps their length.
fn transform(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (front, back) = pair.split_at_mut(half);
            for (one, other) in front.iter_mut().zip(back) {
                (*one, *other) = (*one + *other, *one - *other);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    for value in values {
        *value *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::rotate;

    fn dot(one: &[f32], other: &[f32]) -> f64 {
        one.iter()
            .zip(other)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }

    #[test]
    fn angles_and_lengths_stay() {
        let mut random = fastrand::Rng::with_seed(6);
        for dim in [16, 48, 144, 256, 384, 1008, 1024] {
            let mut vector = || -> Vec<f32> { (0..dim).map(|_| random.f32() - 0.5).collect() };
            let (mut one, mut other) = (vector(), vector());
            let before = [dot(&one, &one), dot(&one, &other)];
            rotate(&mut one);
            rotate(&mut other);
            for (now, before) in [dot(&one, &one), dot(&one, &other)].iter().zip(before) {
                assert!((now - before).abs() < 1e-3, "{now} was {before}");
            }
        }
    }

    #[test]
    fn one_component_is_spread_over_all() {
        for dim in [16, 144, 256, 384, 1024] {
            for place in [0, dim / 2, dim - 1] {
                let mut values = vec![0.0; dim];
                values[place] = 1.0;
                rotate(&mut values);
                let largest = values
                    .iter()
                    .fold(0.0_f32, |largest, value| largest.max(value.abs()));
                assert!(largest < 6.0 / (dim as f32).sqrt(), "{dim}, {place}: {largest}");
            }
        }
    }

    #[test]
    fn nothing_is_rotated_to_nothing() {
        rotate(&mut []);
        let mut one = [2.0];
        rotate(&mut one);
        assert_eq!(one[0].abs(), 2.0);
    }
}
