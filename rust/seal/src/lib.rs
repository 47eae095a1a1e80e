//! Bytes at rest, sealed: with a key (XSalsa20-Poly1305, libsodium's secretbox), or to a public key by whoever
//! holds no secret (libsodium's sealed box).
//!
//! Nothing here knows Python, opens a file or makes randomness: nonces and ephemeral secrets are arguments, and
//! whoever calls takes each of them from the system, once.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

use crypto_box::{PublicKey, SalsaBox, SecretKey};
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, XSalsa20Poly1305};

/// Bytes of a key, of a public key and of a secret.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
/// Bytes of the name of a public key.
pub const ID_BYTES: usize = 8;

/// A key, a public key or a secret.
pub type KeyBytes = [u8; KEY_BYTES];
/// A number that is used once with a key.
pub type Nonce = [u8; NONCE_BYTES];

/// Data sealed with a key; None only where it is too long for the cipher.
pub fn seal(key: &KeyBytes, nonce: &Nonce, data: &[u8]) -> Option<Vec<u8>> {
    let cipher = XSalsa20Poly1305::new(Key::from_slice(key));
    cipher.encrypt(nonce.into(), data).ok()
}

/// What was sealed with this key and nonce; None where that is not so, or a byte was changed.
pub fn open(key: &KeyBytes, nonce: &Nonce, sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = XSalsa20Poly1305::new(Key::from_slice(key));
    cipher.decrypt(nonce.into(), sealed).ok()
}

/// The public key of a secret.
pub fn public_of(secret: &KeyBytes) -> KeyBytes {
    *SecretKey::from(*secret).public_key().as_bytes()
}

/// The name of a public key: that of the secret behind it, and of all that was sealed with it.
pub fn id_of(public: &KeyBytes) -> [u8; ID_BYTES] {
    digest(&[public])
}

/// Data that only the owner of the public key's secret can open.
///
/// `ephemeral` is a fresh random secret; it is forgotten with this call, so the sealer cannot open what it sealed.
pub fn seal_to(public: &KeyBytes, ephemeral: &KeyBytes, data: &[u8]) -> Option<Vec<u8>> {
    let mine = SecretKey::from(*ephemeral);
    let shown = *mine.public_key().as_bytes();
    let sealed = SalsaBox::new(&PublicKey::from(*public), &mine);
    let hidden = sealed.encrypt(&nonce_of(&shown, public).into(), data).ok()?;
    Some([shown.as_slice(), &hidden].concat())
}

/// What was sealed to the public key of this secret; None where that is not so, or a byte was changed.
pub fn open_with(secret: &KeyBytes, sealed: &[u8]) -> Option<Vec<u8>> {
    let (shown, hidden) = sealed.split_first_chunk::<KEY_BYTES>()?;
    let mine = SecretKey::from(*secret);
    let nonce = nonce_of(shown, mine.public_key().as_bytes());
    let opener = SalsaBox::new(&PublicKey::from(*shown), &mine);
    opener.decrypt(&nonce.into(), hidden).ok()
}

fn nonce_of(shown: &KeyBytes, public: &KeyBytes) -> Nonce {
    digest(&[shown, public])
}

fn digest<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut state = blake2b_simd::Params::new().hash_length(N).to_state();
    for part in parts {
        state.update(part);
    }
    let mut found = [0; N];
    for (to, from) in found.iter_mut().zip(state.finalize().as_bytes()) {
        *to = *from;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{id_of, open, open_with, public_of, seal, seal_to};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn what_is_sealed_with_a_key_opens_with_it_alone() {
        let sealed = seal(&[1; 32], &[2; 24], b"a memory").unwrap();
        assert_eq!(open(&[1; 32], &[2; 24], &sealed).unwrap(), b"a memory");
        assert_eq!(open(&[3; 32], &[2; 24], &sealed), None);
        assert_eq!(open(&[1; 32], &[3; 24], &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&[1; 32], &[2; 24], &changed), None);
        }
    }

    #[test]
    fn what_is_sealed_to_a_public_key_opens_with_its_secret_alone() {
        let sealed = seal_to(&public_of(&[5; 32]), &[6; 32], b"an event").unwrap();
        assert_eq!(open_with(&[5; 32], &sealed).unwrap(), b"an event");
        assert_eq!(open_with(&[6; 32], &sealed), None);
        assert_eq!(open_with(&[5; 32], &sealed[..20]), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open_with(&[5; 32], &changed), None);
        }
    }

    #[test]
    fn both_are_what_libsodium_makes_of_the_same() {
        let sealed = seal(&[1; 32], &[2; 24], b"a memory").unwrap();
        assert_eq!(hex(&sealed), "a9d4c3b9719e4e9a0af06c83153b2a9b9c45b3981355a034");
        let public = public_of(&[5; 32]);
        assert_eq!(
            hex(&public),
            "50a61409b1ddd0325e9b16b700e719e9772c07000b1bd7786e907c653d20495d"
        );
        assert_eq!(hex(&id_of(&public)), "616ffeeab34bc522");
        let sealed = seal_to(&public, &[6; 32], b"an event").unwrap();
        assert_eq!(
            hex(&sealed),
            "f5b2d6e60f9477e310c2982daaa6c9136c108a1777c5947e448fa37d68174557\
             ff41547da7389f72a0ceee442ea27cd508f4fac9c00b6dbd"
        );
    }
}
