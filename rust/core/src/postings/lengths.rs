//! How many tokens each row has, as long as that is known to hold.

/// One row's length, the flush that brought it, and the first flush that was not yet there when it was read.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    tokens: u32,
    origin: u32,
    until: u32,
}

/// Rows further apart than this from the last one are not kept: keys are dense.
const GAP_MAX: usize = 1 << 20;

/// The lengths of rows by key, for several snapshots of one index.
///
/// A row's entry in a segment whose newest flush is `n` is the one whose length is kept where `origin <= n < until`: it
/// was there when the length was read, and a row that was written anew has a later origin.
#[derive(Debug, Default)]
pub struct Lengths {
    rows: Vec<Known>,
}

impl Lengths {
    /// The length of a row that was found in a segment whose newest flush is this one, where it is known.
    pub(super) fn get(&self, key: i64, newest: u32) -> Option<u32> {
        let known = self.rows.get(usize::try_from(key).ok()?)?;
        (known.origin <= newest && newest < known.until).then_some(known.tokens)
    }

    /// Takes `key origin sizes` of rows, sizes as hexadecimal digits of the numbers of tokens by column, joined by commas.
    ///
    /// Returns `None` where it is something else.
    pub fn put(&mut self, rows: &str, until: u32) -> Option<()> {
        for row in rows.split(',').filter(|row| !row.is_empty()) {
            let mut parts = row.split(' ');
            let key: usize = parts.next()?.parse().ok()?;
            let origin = parts.next()?.parse().ok()?;
            let tokens = tokens_of(parts.next()?)?;
            if key >= self.rows.len() + GAP_MAX {
                continue;
            }
            if key >= self.rows.len() {
                self.rows.resize(key + 1, Known::default());
            }
            if let Some(known) = self.rows.get_mut(key)
                && known.until <= until
            {
                *known = Known {
                    tokens,
                    origin,
                    until,
                };
            }
        }
        Some(())
    }
}

fn tokens_of(sizes: &str) -> Option<u32> {
    let digits = sizes.as_bytes().chunks_exact(2);
    let mut bytes = [0_u8; 64];
    let mut length = 0;
    for (place, pair) in bytes.iter_mut().zip(digits) {
        *place = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        length += 1;
    }
    let mut reader = super::pages::Bytes::new(bytes.get(..length)?, 0);
    let mut tokens = 0_u32;
    while reader.at < length {
        tokens = u32::try_from(reader.varint()?).ok()?.checked_add(tokens)?;
    }
    Some(tokens)
}
