//! One event as bytes of the spool; `retain/capture/spool.py` describes the format and reads it.

use std::fmt::Write;

/// Largest payload kept whole; a longer one is cut here and flagged.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a record before cwd, branch and commit.
pub(crate) const HEADER_BYTES: usize = 36;

const MAGIC: &[u8] = b"RTS1";
const DIGEST_BYTES: usize = 16;
const META_BYTES_MAX: usize = 65_535;

/// What was received, when and where.
pub(crate) struct Event<'a> {
    /// What the client sent.
    pub(crate) payload: &'a [u8],
    /// Whether the payload was cut at the limit.
    pub(crate) truncated: bool,
    /// When the hook ran, microseconds since the epoch.
    pub(crate) received_at_us: u64,
    /// Where it ran; empty where unknown.
    pub(crate) place: &'a Place,
}

/// The folder of a hook and what git has checked out there; empty where unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The current folder, as text.
    pub(crate) cwd: String,
    /// The branch.
    pub(crate) branch: String,
    /// The commit.
    pub(crate) commit: String,
}

/// The bytes of a record.
pub(crate) fn encode(event: &Event) -> Vec<u8> {
    let place = event.place;
    let mut meta = [
        place.cwd.as_bytes(),
        place.branch.as_bytes(),
        place.commit.as_bytes(),
    ]
    .join(&0);
    meta.truncate(META_BYTES_MAX);
    let length = u32::try_from(meta.len() + event.payload.len()).unwrap_or(u32::MAX);
    let meta_length = u16::try_from(meta.len()).unwrap_or(u16::MAX);
    let time_us = event.received_at_us.min(i64::MAX as u64);
    let mut data = Vec::with_capacity(HEADER_BYTES + meta.len() + event.payload.len());
    data.extend_from_slice(MAGIC);
    data.extend_from_slice(&[0; DIGEST_BYTES]);
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&meta_length.to_le_bytes());
    data.extend_from_slice(&u16::from(event.truncated).to_le_bytes());
    data.extend_from_slice(&time_us.to_le_bytes());
    data.extend_from_slice(&meta);
    data.extend_from_slice(event.payload);
    let body = MAGIC.len() + DIGEST_BYTES;
    let digest = blake2b_simd::Params::new()
        .hash_length(DIGEST_BYTES)
        .hash(&data[body..]);
    data[MAGIC.len()..body].copy_from_slice(digest.as_bytes());
    data
}

/// The digest of an encoded record as hexadecimal text: the record's name.
pub(crate) fn name(encoded: &[u8]) -> String {
    let digest = &encoded[MAGIC.len()..MAGIC.len() + DIGEST_BYTES];
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Event, HEADER_BYTES, Place, encode, name};

    #[test]
    fn a_record_is_laid_out_as_the_reader_expects() {
        let place = Place {
            cwd: "/p".into(),
            branch: "main".into(),
            commit: "c".into(),
        };
        let event = Event {
            payload: b"{}",
            truncated: true,
            received_at_us: 7,
            place: &place,
        };
        let data = encode(&event);
        assert_eq!(&data[..4], b"RTS1");
        assert_eq!(data[20..24], 11_u32.to_le_bytes());
        assert_eq!(data[24..26], 9_u16.to_le_bytes());
        assert_eq!(data[26..28], 1_u16.to_le_bytes());
        assert_eq!(data[28..36], 7_u64.to_le_bytes());
        assert_eq!(&data[HEADER_BYTES..], b"/p\0main\0c{}");
        // hashlib.blake2b(data[20:], digest_size=16).hexdigest() of exactly these bytes
        assert_eq!(name(&data), "cc3b65878406c52bd37c5ad8fff5c215");
    }

    #[test]
    fn a_clock_beyond_the_range_is_clamped_and_a_place_too_long_is_cut() {
        let place = Place {
            cwd: "x".repeat(70_000),
            ..Place::default()
        };
        let event = Event {
            payload: b"p",
            truncated: false,
            received_at_us: u64::MAX,
            place: &place,
        };
        let data = encode(&event);
        assert_eq!(data[28..36], (i64::MAX as u64).to_le_bytes());
        assert_eq!(data.len(), HEADER_BYTES + 65_535 + 1);
        assert_eq!(data[24..26], u16::MAX.to_le_bytes());
    }
}
