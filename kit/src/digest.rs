//! Digests, from one provider for the whole tree, and how they are written.

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::hmac;

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(digest(&SHA256, bytes).as_ref())
}

/// SHA-256 of what comes in pieces.
#[derive(Clone)]
pub struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Sha256 {
    /// Takes the next piece in.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        fixed(self.0.finish().as_ref())
    }
}

/// HMAC-SHA-256.
#[must_use]
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref())
}

/// HMAC-SHA-1, which authenticator apps expect of one-time codes (RFC 6238). Nothing else here
/// uses it.
#[must_use]
pub fn hmac_sha1(key: &[u8], bytes: &[u8]) -> [u8; 20] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), bytes).as_ref())
}

/// Bytes as small hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut digest = [0; N];
    digest.copy_from_slice(bytes);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's, RFC 4231's and RFC 2202's own examples.
    #[test]
    fn published_values() {
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut pieces = Sha256::default();
        [b"a", b"b", b"c"].iter().for_each(|piece| pieces.update(*piece));
        assert_eq!(pieces.finish(), sha256(b"abc"));
        let signed = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&signed), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let signed = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&signed), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}
