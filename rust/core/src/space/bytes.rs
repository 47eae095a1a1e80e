//! A space as bytes: a head, the terms, their frequencies, their rows, and a checksum of all of it.

use super::Space;
use crate::CoreError;

const MAGIC: &[u8; 4] = b"RTSP";

/// The format; what another one wrote is refused, and fitted anew.
const FORMAT: u32 = 1;

/// Magic, format, dim, terms, texts.
const HEAD: usize = 4 + 4 + 4 + 4 + 8;
const CHECKSUM: usize = 8;

impl Space {
    /// The space as bytes; [`Space::from_bytes`] gives it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut names: Vec<(&str, u32)> = self.terms.iter().map(|(name, &at)| (&**name, at)).collect();
        names.sort_unstable_by_key(|&(_, at)| at);
        let mut bytes = Vec::with_capacity(HEAD + self.rows.len() + names.len() * 16);
        bytes.extend_from_slice(MAGIC);
        for number in [FORMAT, small(self.dim), small(names.len())] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.documents.to_le_bytes());
        for (name, _) in &names {
            bytes.extend_from_slice(&small(name.len()).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        for frequency in &self.frequencies {
            bytes.extend_from_slice(&frequency.to_le_bytes());
        }
        bytes.extend(self.rows.iter().flat_map(|value| value.to_le_bytes()));
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The space that [`Space::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are of another format, cut short or changed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CoreError> {
        let damaged = || CoreError::invalid("space", "is damaged or of another format");
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
        if checksum(content) != u64::from_le_bytes(*sum) {
            return Err(damaged());
        }
        read(content).ok_or_else(damaged)
    }
}

fn read(content: &[u8]) -> Option<Space> {
    let mut rest = content.strip_prefix(MAGIC)?;
    if word(&mut rest)? != FORMAT {
        return None;
    }
    let (dim, count) = (word(&mut rest)? as usize, word(&mut rest)? as usize);
    let (documents, after) = rest.split_first_chunk::<8>()?;
    rest = after;
    // Each term takes at least four bytes, so a count that lies costs no memory.
    if dim == 0 || count > rest.len() / 4 {
        return None;
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let length = word(&mut rest)? as usize;
        let (name, after) = rest.split_at_checked(length)?;
        names.push(std::str::from_utf8(name).ok()?.into());
        rest = after;
    }
    let mut frequencies = Vec::with_capacity(count);
    for _ in 0..count {
        frequencies.push(word(&mut rest)?);
    }
    if rest.len() != count.checked_mul(dim)? {
        return None;
    }
    let rows = rest.iter().map(|&value| i8::from_le_bytes([value])).collect();
    Some(Space::new(
        dim,
        u64::from_le_bytes(*documents),
        names,
        frequencies,
        rows,
    ))
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*number))
}

/// Terms, their lengths and `dim` are far below 2^32.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// FNV-1a over words of eight bytes: against damage, not against an enemy.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum: u64 = 0xCBF2_9CE4_8422_2325;
    for chunk in bytes.chunks(8) {
        let mut word = [0_u8; 8];
        for (slot, &byte) in word.iter_mut().zip(chunk) {
            *slot = byte;
        }
        sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    sum ^ bytes.len() as u64
}
