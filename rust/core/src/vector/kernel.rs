//! The two inner loops, for the machine at hand: products of int8 rows, and distances of bit rows.
//!
//! Each has a plain twin, which every machine can run and the compiler vectorises where the target allows
//! (NEON is part of every aarch64). On `x86_64` the build's baseline has neither AVX2 nor POPCNT, so these are
//! looked for when a matrix is made.

#![allow(
    unsafe_code,
    reason = "loads, prefetches and the calls behind a run-time check of the processor; in cache, products take a \
              tenth of the plain twin's time and distances half of it"
)]

/// 64 components. Rows are padded with zeros to whole lines, and lines lie on cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; LINE]);

/// Components of a line.
pub(crate) const LINE: usize = 64;

/// Which implementation runs. All give the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Checked),
}

impl Kernel {
    /// The fastest that this processor can run.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(checked) = x86::Checked::new() {
            return Self::Avx2(checked);
        }
        Self::Plain
    }

    /// Products of the query with consecutive rows. No component may be -128.
    pub(crate) fn dots(self, query: &[Line], rows: &[Line], out: &mut [i32]) {
        match self {
            Self::Plain => plain::dots(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(checked) => checked.dots(query, rows, out),
        }
    }

    /// Products of the query with scattered rows, each as long as the query.
    pub(crate) fn dots_of(self, query: &[Line], rows: &[&[Line]], out: &mut [i32]) {
        match self {
            Self::Plain => plain::dots_of(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(checked) => checked.dots_of(query, rows, out),
        }
    }

    /// In how many bits consecutive rows differ from the query.
    pub(crate) fn distances(self, query: &[u64], rows: &[u64], out: &mut [u32]) {
        match self {
            Self::Plain => plain::distances(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(checked) => checked.distances(query, rows, out),
        }
    }

    /// In how many bits scattered rows differ from the query.
    pub(crate) fn distances_of(self, query: &[u64], rows: &[&[u64]], out: &mut [u32]) {
        match self {
            Self::Plain => plain::distances_of(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(checked) => checked.distances_of(query, rows, out),
        }
    }
}

mod plain {
    use super::Line;

    #[inline]
    pub(super) fn dot(one: &[Line], other: &[Line]) -> i32 {
        let line = |a: &Line, b: &Line| -> i32 {
            let products = a.0.iter().zip(&b.0).map(|(x, y)| i32::from(*x) * i32::from(*y));
            products.sum()
        };
        one.iter().zip(other).map(|(a, b)| line(a, b)).sum()
    }

    pub(super) fn dots(query: &[Line], rows: &[Line], out: &mut [i32]) {
        for (row, sum) in rows.chunks_exact(query.len().max(1)).zip(out) {
            *sum = dot(query, row);
        }
    }

    pub(super) fn dots_of(query: &[Line], rows: &[&[Line]], out: &mut [i32]) {
        for (row, sum) in rows.iter().zip(out) {
            *sum = dot(query, row);
        }
    }

    #[inline]
    fn distance(one: &[u64], other: &[u64]) -> u32 {
        one.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Of a width known to the compiler, which then keeps the query in registers.
    #[inline]
    fn distances_wide<const WORDS: usize>(query: &[u64; WORDS], rows: &[u64], out: &mut [u32]) {
        for (row, found) in rows.as_chunks::<WORDS>().0.iter().zip(out) {
            *found = distance(query, row);
        }
    }

    #[inline]
    pub(super) fn distances(query: &[u64], rows: &[u64], out: &mut [u32]) {
        if let Ok(query) = <&[u64; 4]>::try_from(query) {
            distances_wide(query, rows, out);
        } else if let Ok(query) = <&[u64; 6]>::try_from(query) {
            distances_wide(query, rows, out);
        } else {
            for (row, found) in rows.chunks_exact(query.len().max(1)).zip(out) {
                *found = distance(query, row);
            }
        }
    }

    #[inline]
    pub(super) fn distances_of(query: &[u64], rows: &[&[u64]], out: &mut [u32]) {
        for (row, found) in rows.iter().zip(out) {
            *found = distance(query, row);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m256i, _MM_HINT_T0, _mm_add_epi32, _mm_prefetch, _mm256_abs_epi8, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_load_si256,
        _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sign_epi8,
    };

    use super::{Line, plain};

    /// How many rows ahead a scattered row is asked for: about what a read from RAM takes.
    const AHEAD: usize = 8;

    /// Shows that the processor has AVX2 and POPCNT.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Checked(());

    #[expect(clippy::unused_self, reason = "that there is a value is what the calls need")]
    impl Checked {
        pub(super) fn new() -> Option<Self> {
            let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
            found.then_some(Self(()))
        }

        pub(super) fn dots(self, query: &[Line], rows: &[Line], out: &mut [i32]) {
            // SAFETY: `self` exists only where AVX2 was found.
            unsafe { dots(query, rows, out) }
        }

        pub(super) fn dots_of(self, query: &[Line], rows: &[&[Line]], out: &mut [i32]) {
            // SAFETY: `self` exists only where AVX2 was found.
            unsafe { dots_of(query, rows, out) }
        }

        pub(super) fn distances(self, query: &[u64], rows: &[u64], out: &mut [u32]) {
            // SAFETY: `self` exists only where POPCNT was found.
            unsafe { distances(query, rows, out) }
        }

        pub(super) fn distances_of(self, query: &[u64], rows: &[&[u64]], out: &mut [u32]) {
            // SAFETY: `self` exists only where POPCNT was found.
            unsafe { distances_of(query, rows, out) }
        }
    }

    #[target_feature(enable = "popcnt")]
    fn distances(query: &[u64], rows: &[u64], out: &mut [u32]) {
        plain::distances(query, rows, out);
    }

    #[target_feature(enable = "popcnt")]
    fn distances_of(query: &[u64], rows: &[&[u64]], out: &mut [u32]) {
        for (place, found) in out.iter_mut().enumerate().take(rows.len()) {
            if let Some(ahead) = rows.get(place + AHEAD) {
                prefetch(ahead.as_ptr());
            }
            plain::distances_of(
                query,
                rows.get(place..=place).unwrap_or_default(),
                std::slice::from_mut(found),
            );
        }
    }

    #[target_feature(enable = "avx2")]
    fn dots(query: &[Line], rows: &[Line], out: &mut [i32]) {
        let width = query.len().max(1);
        let fours = rows.chunks_exact(4 * width);
        let (sums, rest) = out.split_at_mut((fours.len() * 4).min(out.len()));
        plain::dots(query, fours.remainder(), rest);
        for (four, sums) in fours.zip(sums.as_chunks_mut().0) {
            let (front, back) = four.split_at(2 * width);
            let (a, b) = front.split_at(width);
            let (c, d) = back.split_at(width);
            *sums = four_dots(query, [a, b, c, d]);
        }
    }

    #[target_feature(enable = "avx2")]
    fn dots_of(query: &[Line], rows: &[&[Line]], out: &mut [i32]) {
        let (fours, rest) = rows.as_chunks::<4>();
        let (sums, sums_of_rest) = out.split_at_mut((fours.len() * 4).min(out.len()));
        plain::dots_of(query, rest, sums_of_rest);
        for (place, (four, sums)) in fours.iter().zip(sums.as_chunks_mut().0).enumerate() {
            for ahead in rows.iter().skip(4 * place + AHEAD).take(4) {
                for line in *ahead {
                    prefetch(line);
                }
            }
            *sums = four_dots(query, *four);
        }
    }

    /// Four rows at a time: the query is read once for all, and their sums are added up together.
    ///
    /// `maddubs` multiplies unsigned by signed bytes, so the query's signs go to the row. Two products of
    /// at most 127 * 127 fit into 16 bits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn four_dots(query: &[Line], [a, b, c, d]: [&[Line]; 4]) -> [i32; 4] {
        let ones = _mm256_set1_epi16(1);
        let mut sums = [_mm256_setzero_si256(); 4];
        for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
            let query = halves(query);
            let rows = [a, b, c, d].map(|line| halves(line));
            for (sum, row) in sums.iter_mut().zip(rows) {
                for (query, row) in query.into_iter().zip(row) {
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(query), _mm256_sign_epi8(row, query));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        let [a, b, c, d] = sums;
        let mixed = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let low = _mm256_castsi256_si128(mixed);
        let sums = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(mixed));
        // SAFETY: both are 16 bytes of which every pattern is a value.
        unsafe { std::mem::transmute::<__m128i, [i32; 4]>(sums) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn halves(line: &Line) -> [__m256i; 2] {
        let first = std::ptr::from_ref(line).cast::<__m256i>();
        // SAFETY: a line is 64 bytes long and lies on a multiple of 64, so both halves are whole and aligned.
        unsafe { [_mm256_load_si256(first), _mm256_load_si256(first.add(1))] }
    }

    #[inline]
    fn prefetch<T>(what: *const T) {
        // SAFETY: a prefetch reads nothing; any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(what.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, LINE, Line};

    fn line(random: &mut fastrand::Rng) -> Line {
        Line([0; LINE].map(|_: i8| random.i8(-127..=127)))
    }

    #[test]
    fn every_kernel_gives_the_numbers_of_the_plain_one() {
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..400 {
            let (width, rows, room) = (random.usize(1..=16), random.usize(0..40), random.usize(0..9));
            let query: Vec<Line> = (0..width).map(|_| line(&mut random)).collect();
            let mut matrix: Vec<Line> = (0..width * rows).map(|_| line(&mut random)).collect();
            if round % 10 == 0 {
                matrix.fill(Line([127; LINE]));
            }
            let scattered: Vec<&[Line]> = matrix.chunks_exact(width).rev().collect();
            let run = |kernel: Kernel| {
                // As in a scan, whose last chunk may have fewer rows than there is room for.
                let (mut dots, mut dots_of) = (vec![0; rows + room], vec![0; rows + room]);
                kernel.dots(&query, &matrix, &mut dots);
                kernel.dots_of(&query, &scattered, &mut dots_of);
                dots.truncate(rows);
                dots_of.truncate(rows);
                dots_of.reverse();
                (dots, dots_of)
            };
            let plain = run(Kernel::Plain);
            assert_eq!(plain.0, plain.1);
            assert_eq!(run(Kernel::best()), plain);
        }
    }

    #[test]
    fn every_kernel_counts_the_bits_of_the_plain_one() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..400 {
            let (width, rows, room) = (random.usize(1..=16), random.usize(0..40), random.usize(0..9));
            let query: Vec<u64> = (0..width).map(|_| random.u64(..)).collect();
            let matrix: Vec<u64> = (0..width * rows).map(|_| random.u64(..)).collect();
            let scattered: Vec<&[u64]> = matrix.chunks_exact(width).rev().collect();
            let run = |kernel: Kernel| {
                let (mut far, mut far_of) = (vec![0; rows + room], vec![0; rows + room]);
                kernel.distances(&query, &matrix, &mut far);
                kernel.distances_of(&query, &scattered, &mut far_of);
                far.truncate(rows);
                far_of.truncate(rows);
                far_of.reverse();
                (far, far_of)
            };
            let plain = run(Kernel::Plain);
            assert_eq!(plain.0, plain.1);
            assert_eq!(run(Kernel::best()), plain);
        }
    }
}
