//! One event as bytes of the spool; `retain/capture/spool.py` describes the format and reads it.

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
    framed(
        &meta,
        event.payload,
        u16::from(event.truncated),
        event.received_at_us,
    )
}

/// A record around meta and payload, with its digest.
pub(crate) fn framed(meta: &[u8], payload: &[u8], flags: u16, received_at_us: u64) -> Vec<u8> {
    let length = u32::try_from(meta.len() + payload.len()).unwrap_or(u32::MAX);
    let meta_length = u16::try_from(meta.len()).unwrap_or(u16::MAX);
    let time_us = received_at_us.min(i64::MAX as u64);
    let mut data = Vec::with_capacity(HEADER_BYTES + meta.len() + payload.len());
    data.extend_from_slice(MAGIC);
    data.extend_from_slice(&[0; DIGEST_BYTES]);
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(&meta_length.to_le_bytes());
    data.extend_from_slice(&flags.to_le_bytes());
    data.extend_from_slice(&time_us.to_le_bytes());
    data.extend_from_slice(meta);
    data.extend_from_slice(payload);
    let body = MAGIC.len() + DIGEST_BYTES;
    let digest = blake2b_simd::Params::new()
        .hash_length(DIGEST_BYTES)
        .hash(&data[body..]);
    data[MAGIC.len()..body].copy_from_slice(digest.as_bytes());
    data
}

#[cfg(test)]
mod tests {
    use super::{Event, HEADER_BYTES, Place, encode};

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
        // hashlib.blake2b(data[20:], digest_size=16).digest() of exactly these bytes
        let digest = 0xcc3b_6587_8406_c52b_d37c_5ad8_fff5_c215_u128;
        assert_eq!(data[4..20], digest.to_be_bytes());
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
