//! Sealing: AES-256-GCM under keys that are handed in. What it seals begins with a random nonce, so
//! that equal texts look different.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::random::{NoRandomness, Random};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;

/// It was sealed under another key, or changed since; or a key has another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open: the key is another one, or the data was changed")]
pub struct Damaged;

/// A key that seals and opens.
#[derive(Clone)]
pub struct SealKey(Arc<LessSafeKey>);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// The key of these bytes, [`KEY_LEN`] of them.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for another length.
    pub fn new(bytes: &[u8]) -> Result<Self, Damaged> {
        UnboundKey::new(&AES_256_GCM, bytes).map(|key| Self(Arc::new(LessSafeKey::new(key)))).map_err(|_| Damaged)
    }

    /// The nonce, then what it seals, then the tag.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`].
    pub fn seal(&self, random: &impl Random, clear: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let nonce = random.bytes::<NONCE_LEN>()?;
        let mut text = clear.to_vec();
        // It fails beyond 64 GiB only; nothing of ours comes near.
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .map_err(|_too_long| NoRandomness)?;
        Ok([&nonce[..], &text].concat())
    }

    /// What was sealed.
    ///
    /// # Errors
    ///
    /// [`Damaged`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Damaged> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Damaged)?;
        let mut text = text.to_vec();
        let clear = self.0.open_in_place(nonce, Aad::empty(), &mut text).map_err(|_| Damaged)?;
        Ok(clear.to_vec())
    }
}

/// A deployment's key, as a setting holds it: 32 bytes in base64url.
#[must_use]
pub fn key_of_setting(text: &str) -> Option<[u8; KEY_LEN]> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn what_is_sealed_opens_under_its_key_alone_and_unchanged() {
        let (key, other, random) =
            (SealKey::new(&[7; 32]).unwrap(), SealKey::new(&[8; 32]).unwrap(), SeededRandom::new(1));
        let sealed = key.seal(&random, b"text").unwrap();
        assert_eq!(key.open(&sealed), Ok(b"text".to_vec()));
        assert_eq!(other.open(&sealed), Err(Damaged));
        assert!((0..sealed.len()).all(|at| {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            key.open(&changed) == Err(Damaged) && key.open(&sealed[..at]) == Err(Damaged)
        }));
        assert_ne!(key.seal(&random, b"text").unwrap(), sealed);
        assert!(SealKey::new(&[7; 31]).is_err());
    }

    #[test]
    fn a_setting_is_32_bytes_in_base64url() {
        assert_eq!(
            key_of_setting("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"),
            Some(*b"0123456789abcdef0123456789abcdef")
        );
        assert_eq!((key_of_setting("MDEy"), key_of_setting("?")), (None, None));
    }
}
