//! Tokens that were verified a moment ago. A buyer polls with one token: its signature need not be
//! computed each time.

use std::{
    hash::Hasher,
    sync::{Mutex, PoisonError},
};

use kit::token::{BuyerClaims, TokenError, TokenVerifier};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::metrics::TokenChecks;

/// Tokens remembered, at most: 1.5 MiB. Two that fall on one place push each other out, and are
/// verified again.
const TOKENS_MAX: usize = 1 << 15;
const _: () = assert!(TOKENS_MAX.is_power_of_two());

/// A random key of the hash, so that nobody can make two tokens that look the same.
#[derive(Debug, Clone, Copy)]
pub struct TokenSeed(pub u64, pub u64);

#[derive(Clone, Copy)]
struct Verified {
    token: u128,
    claims: BuyerClaims,
    /// When it was verified. What holds then holds until it expires; before, after a clock was set
    /// back, it is asked anew.
    since_ms: u64,
}

/// A verifier with a memory of fixed size.
pub struct Tokens {
    verifier: TokenVerifier,
    seed: TokenSeed,
    places: Box<[Mutex<Option<Verified>>]>,
    checks: TokenChecks,
}

impl Tokens {
    /// A verifier whose memory is empty.
    pub fn new(verifier: TokenVerifier, seed: TokenSeed) -> Self {
        let places = (0..TOKENS_MAX).map(|_| Mutex::new(None)).collect();
        Self { verifier, seed, places, checks: TokenChecks::default() }
    }

    /// How often it remembered.
    pub fn checks(&self) -> &TokenChecks {
        &self.checks
    }

    /// What a valid token says.
    ///
    /// # Errors
    /// As [`TokenVerifier::verify`].
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<BuyerClaims, TokenError> {
        let print = self.print(token);
        let mut place = self.place(print).lock().unwrap_or_else(PoisonError::into_inner);
        match *place {
            Some(known) if known.token == print && (known.since_ms..known.claims.expires_ms).contains(&now_ms) => {
                self.checks.remembered.inc();
                return Ok(known.claims);
            }
            _ => {}
        }
        let claims = self.verifier.verify(token, now_ms)?;
        *place = Some(Verified { token: print, claims, since_ms: now_ms });
        self.checks.computed.inc();
        Ok(claims)
    }

    fn print(&self, token: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }

    fn place(&self, print: u128) -> &Mutex<Option<Verified>> {
        // The mask keeps the index below the length.
        &self.places[(print as usize) & (TOKENS_MAX - 1)]
    }
}

#[cfg(test)]
mod tests {
    use kit::token::{LIFETIME_MAX_S, Tenants, TokenKey, TokenSigner};

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn key() -> TokenKey {
        TokenKey::new("k", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", Tenants::All).unwrap()
    }

    /// What a token was under a clock that ran ahead, it is not under the right one.
    #[test]
    fn a_clock_that_goes_back_has_every_token_verified_again() {
        let lifetime_ms = LIFETIME_MAX_S * 1_000;
        let claims = BuyerClaims::new(1, 2, NOW_MS + lifetime_ms);
        let token = TokenSigner::new(key()).sign(&claims, NOW_MS).unwrap();
        let tokens = Tokens::new(TokenVerifier::new(vec![key()]).unwrap(), TokenSeed(1, 2));
        assert_eq!(tokens.verify(&token, NOW_MS), Ok(claims));
        assert_eq!(tokens.verify(&token, NOW_MS - lifetime_ms), Err(TokenError::Lifetime));
    }

    /// A remembered token ends when it expires, and one that differs in a byte is another.
    #[test]
    fn a_remembered_token_is_the_same_token_and_still_valid() {
        let claims = BuyerClaims::new(1, 2, NOW_MS + 60_000);
        let token = TokenSigner::new(key()).sign(&claims, NOW_MS).unwrap();
        let tokens = Tokens::new(TokenVerifier::new(vec![key()]).unwrap(), TokenSeed(1, 2));
        assert_eq!(tokens.verify(&token, NOW_MS), Ok(claims));
        assert_eq!(tokens.verify(&token, NOW_MS), Ok(claims));
        let forged = format!("{}A", &token[..token.len() - 1]);
        assert!(forged == token || tokens.verify(&forged, NOW_MS).is_err());
        assert_eq!(tokens.verify(&token, NOW_MS + 120_000), Err(TokenError::Expired));
    }
}
