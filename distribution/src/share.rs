//! Share codes: who shared, until when, signed. 24 bytes as 32 characters of base64url, which is
//! what the `scene` of a mini-program's code may hold. They need no row, and name no tenant: it is
//! signed along, and whoever opens a code brings it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::{BuyerId, TenantId};
use kit::digest::hmac_sha256;

use crate::book::DAY_MS;

/// Length of a code in characters.
pub const CODE_LEN: usize = 32;
const BODY_BYTES: usize = 10;
const MAC_BYTES: usize = 14;
/// Days in a code count from 2025-01-01, so that two bytes last until 2204.
const DAY_ZERO: u64 = 20_089;

/// The secret under which codes are signed.
#[derive(Clone)]
pub struct ShareKey([u8; 32]);

/// Why a code is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// It is none of this shop.
    #[error("this is no share code of this shop: ask for a new link")]
    Forged,
    /// Its time is over.
    #[error("this share code has expired: ask for a new link")]
    Expired,
}

impl ShareKey {
    /// From a deployment's own secret, which serves other ends too.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        Self(hmac_sha256(secret, b"flashsale share codes v1"))
    }

    /// The code of a person, valid until the end of the day (UTC) that lies `days` ahead.
    #[must_use]
    pub fn code(&self, tenant: TenantId, person: BuyerId, now_ms: u64, days: u16) -> String {
        let last = (now_ms / DAY_MS).saturating_sub(DAY_ZERO).saturating_add(days.into());
        let last = u16::try_from(last).unwrap_or(u16::MAX);
        let mut code = [0; BODY_BYTES + MAC_BYTES];
        code[..8].copy_from_slice(&person.get().to_be_bytes());
        code[8..BODY_BYTES].copy_from_slice(&last.to_be_bytes());
        let mac = self.mac(tenant, &code[..BODY_BYTES]);
        code[BODY_BYTES..].copy_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(code)
    }

    /// Who shared a code.
    ///
    /// # Errors
    /// [`BadCode`].
    pub fn open(&self, tenant: TenantId, code: &str, now_ms: u64) -> Result<BuyerId, BadCode> {
        let bytes = URL_SAFE_NO_PAD.decode(code).map_err(|_| BadCode::Forged)?;
        let bytes: [u8; BODY_BYTES + MAC_BYTES] = bytes.try_into().map_err(|_| BadCode::Forged)?;
        let (body, mac) = bytes.split_at(BODY_BYTES);
        // Each byte is looked at, whatever the others are.
        let differs = self.mac(tenant, body).iter().zip(mac).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        let (person, last) = body.split_at(8);
        let person = person.try_into().ok().and_then(|bytes| BuyerId::new(u64::from_be_bytes(bytes)).ok());
        let last = last.try_into().map_or(0, u16::from_be_bytes);
        match person {
            Some(person) if differs == 0 => {
                let today = (now_ms / DAY_MS).saturating_sub(DAY_ZERO);
                if today <= u64::from(last) { Ok(person) } else { Err(BadCode::Expired) }
            }
            _ => Err(BadCode::Forged),
        }
    }

    fn mac(&self, tenant: TenantId, body: &[u8]) -> [u8; MAC_BYTES] {
        let mut signed = tenant.number().to_be_bytes().to_vec();
        signed.extend_from_slice(body);
        let mut mac = [0; MAC_BYTES];
        mac.copy_from_slice(&hmac_sha256(&self.0, &signed)[..MAC_BYTES]);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_300_000_000;

    fn tenant(number: u64) -> TenantId {
        TenantId::new(number).unwrap()
    }

    #[test]
    fn a_code_fits_the_scene_and_names_its_person_until_its_day_ends() {
        let key = ShareKey::derive(b"secret");
        for person in [1, 7, BuyerId::MAX] {
            let person = BuyerId::new(person).unwrap();
            let code = key.code(tenant(7), person, NOW_MS, 30);
            assert_eq!(code.len(), CODE_LEN);
            assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            assert_eq!(key.open(tenant(7), &code, NOW_MS + 30 * DAY_MS), Ok(person));
            assert_eq!(key.open(tenant(7), &code, NOW_MS + 31 * DAY_MS), Err(BadCode::Expired));
        }
    }

    #[test]
    fn a_code_that_is_changed_or_of_another_shop_or_secret_is_forged() {
        let key = ShareKey::derive(b"secret");
        let code = key.code(tenant(7), BuyerId::new(9).unwrap(), NOW_MS, 30);
        assert_eq!(key.open(tenant(8), &code, NOW_MS), Err(BadCode::Forged));
        assert_eq!(ShareKey::derive(b"other").open(tenant(7), &code, NOW_MS), Err(BadCode::Forged));
        for at in 0..CODE_LEN {
            let mut bytes = code.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(tenant(7), &String::from_utf8(bytes).unwrap(), NOW_MS), Err(BadCode::Forged), "{at}");
        }
        for bad in ["", "A", &code[..31], &(code.clone() + "A"), "ää"] {
            assert_eq!(key.open(tenant(7), bad, NOW_MS), Err(BadCode::Forged), "{bad}");
        }
    }
}
