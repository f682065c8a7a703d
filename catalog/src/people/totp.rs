//! One-time codes of authenticator apps (RFC 6238 over RFC 4226): SHA-1, steps of 30 seconds, six
//! digits, as all of these apps have them.

use kit::digest::hmac_sha1;

/// Bytes of a secret: as long as the hash (RFC 4226, 4).
pub(super) const SECRET_BYTES: usize = 20;

const STEP_S: u64 = 30;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The code of a step.
fn code(secret: &[u8], step: u64) -> u32 {
    let digest = hmac_sha1(secret, &step.to_be_bytes());
    let offset = usize::from(digest[19] & 0xf);
    let word = [0, 1, 2, 3].map(|at| digest[offset + at]);
    (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000
}

/// The step whose code this is: the one of now, the one before or the one after, later than `used`.
pub(super) fn step_of(secret: &[u8], shown: &str, now_ms: u64, used: u64) -> Option<u64> {
    let now = now_ms / 1_000 / STEP_S;
    let mut near = now.saturating_sub(1)..=now + 1;
    near.find(|step| *step > used && format!("{:06}", code(secret, *step)) == shown)
}

/// Bytes as people type them (RFC 4648, 6), without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(group);
        let digits = (chunk.len() * 8).div_ceil(5);
        text.extend((0..digits).map(|digit| char::from(ALPHABET[((bits >> (35 - 5 * digit)) & 31) as usize])));
    }
    text
}

/// The bytes of such a text.
pub(super) fn of_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for (at, digit) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            bits |= u64::try_from(value).ok()? << (35 - 5 * at);
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[3..3 + chunk.len() * 5 / 8]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238, appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let published = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ];
        for (second, shown) in published {
            assert_eq!(step_of(SECRET, shown, second * 1_000, 0), Some(second / STEP_S), "{second}");
        }
    }

    #[test]
    fn a_code_holds_for_a_step_before_and_after_and_once() {
        let step = 1_111_111_111 / STEP_S;
        let at = |step: u64| step * STEP_S * 1_000;
        for now in [step - 1, step, step + 1] {
            assert_eq!(step_of(SECRET, "050471", at(now), 0), Some(step));
        }
        for now in [step - 2, step + 2] {
            assert_eq!(step_of(SECRET, "050471", at(now), 0), None);
        }
        assert_eq!(step_of(SECRET, "050471", at(step), step), None, "used");
        assert_eq!(step_of(SECRET, "50471", at(step), 0), None, "all six digits");
    }

    #[test]
    fn base32_reads_back_and_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("fooba", "MZXW6YTB")] {
            assert_eq!(base32(bytes.as_bytes()), text);
            assert_eq!(of_base32(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(of_base32(&base32(SECRET)).unwrap(), SECRET);
        assert_eq!(of_base32("MZXW61"), None);
    }
}
