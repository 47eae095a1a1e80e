//! Records of an encrypted data directory: sealed to its public key, for a hook holds no secret.
//!
//! `retain/keys.py` writes the public key; the drain opens what is sealed (`retain/capture/spool.py`).

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use retain_seal::{ID_BYTES, KEY_BYTES, KeyBytes, id_of, seal_to};
use rustix::fs::OFlags;

use crate::record::framed;

/// The flag of a record whose payload is another record, sealed.
const SEALED: u16 = 2;
const FILE: &str = "key.pub";
const FIRST_WORDS: &[u8] = b"retain-key 1 ";
const FILE_BYTES: usize = FIRST_WORDS.len() + 2 * ID_BYTES + 1 + 2 * KEY_BYTES + 1;

/// The record sealed; None where the directory is not encrypted, or what says so cannot be understood: an event is
/// rather kept plain than lost.
pub(crate) fn sealed(home: &Path, record: &[u8], received_at_us: u64) -> Option<Vec<u8>> {
    let (id, public) = public_key(&read(&home.join(FILE))?)?;
    let hidden = seal_to(&public, &ephemeral()?, record)?;
    Some(framed(
        &[],
        &[id.as_slice(), &hidden].concat(),
        SEALED,
        received_at_us,
    ))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).ok()?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let mut data = Vec::with_capacity(FILE_BYTES + 1);
    file.take(FILE_BYTES as u64 + 1).read_to_end(&mut data).ok()?;
    Some(data)
}

/// Name and public key, if they belong together: to a key that was changed nobody has the secret.
fn public_key(data: &[u8]) -> Option<([u8; ID_BYTES], KeyBytes)> {
    let words = data.strip_prefix(FIRST_WORDS)?.strip_suffix(b"\n")?;
    let (id, public) = words.split_at_checked(2 * ID_BYTES)?;
    let public = bytes_of::<KEY_BYTES>(public.strip_prefix(b" ")?)?;
    let id = bytes_of::<ID_BYTES>(id)?;
    (id_of(&public) == id).then_some((id, public))
}

fn bytes_of<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let text = std::str::from_utf8(hex).ok().filter(|text| text.len() == 2 * N)?;
    let mut found = [0; N];
    for (at, byte) in found.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(found)
}

/// A secret for this one record, from the system.
fn ephemeral() -> Option<KeyBytes> {
    let mut secret = [0; KEY_BYTES];
    File::open("/dev/urandom").ok()?.read_exact(&mut secret).ok()?;
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::public_key;

    const LINE: &[u8] = b"retain-key 1 616ffeeab34bc522 \
        50a61409b1ddd0325e9b16b700e719e9772c07000b1bd7786e907c653d20495d\n";

    #[test]
    fn a_public_key_is_read_with_its_name() {
        let (id, public) = public_key(LINE).unwrap();
        assert_eq!(id, [0x61, 0x6f, 0xfe, 0xea, 0xb3, 0x4b, 0xc5, 0x22]);
        assert_eq!(public, retain_seal::public_of(&[5; 32]));
    }

    #[test]
    fn a_key_that_was_changed_in_any_byte_is_none() {
        for at in 0..LINE.len() {
            let mut changed = LINE.to_vec();
            changed[at] ^= 2;
            assert_eq!(public_key(&changed), None, "{at}");
        }
        assert_eq!(public_key(&LINE[..40]), None);
        assert_eq!(public_key(b""), None);
    }
}
