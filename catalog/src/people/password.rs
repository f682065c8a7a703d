//! Passwords as they are stored: argon2id, its parameters in the text (PHC). It hashes at once and
//! on the calling thread: a [`Turn`] says where and when.

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash,
};

use crate::{memory::Turn, refused::Refused};

/// Memory in KiB, passes, lanes: OWASP's first recommendation for argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// What the password of nobody is compared with: the same work, and never the same hash.
pub(super) const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5cyBzYWx0IQ\
                                  $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn hasher() -> Result<Argon2<'static>, Refused> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| Refused::Broken(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Turn {
    /// Whether it is the password that was stored; the same work for none.
    pub(super) async fn is_right(&self, password: &str, stored: &str) -> Result<bool, Refused> {
        let (password, stored) = (password.to_owned(), stored.to_owned());
        self.aside(move || is_right(&password, &stored)).await
    }

    /// A password, ready to be stored.
    pub(super) async fn hash(&self, password: &str, salt: [u8; 16]) -> Result<String, Refused> {
        let password = password.to_owned();
        self.aside(move || hash(&password, &salt)).await
    }
}

/// A password, ready to be stored.
fn hash(password: &str, salt: &[u8]) -> Result<String, Refused> {
    let hashed = hasher()?.hash_password_with_salt(password.as_bytes(), salt);
    hashed.map(|hash| hash.to_string()).map_err(|error| Refused::Broken(error.to_string()))
}

/// Whether it is the password that was stored. Nothing is the password of an empty text.
fn is_right(password: &str, stored: &str) -> Result<bool, Refused> {
    let stored = if stored.is_empty() { NOBODYS } else { stored };
    Ok(hasher()?.verify_password(password.as_bytes(), stored).is_ok())
}

/// Whether it was stored with other parameters than today's.
pub(super) fn is_outdated(stored: &str) -> bool {
    let params = PasswordHash::new(stored).ok().and_then(|hash| Params::try_from(&hash).ok());
    params.is_none_or(|params| (params.m_cost(), params.t_cost(), params.p_cost()) != COST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_nobodys_is_none() {
        let stored = hash("a red kettle", &[7; 16]).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(is_right("a red kettle", &stored).unwrap() && !is_right("a red kettlf", &stored).unwrap());
        assert!(!is_outdated(&stored) && !is_outdated(NOBODYS), "the same work for nobody");
        for stored in ["", NOBODYS] {
            assert!(!is_right("a red kettle", stored).unwrap() && !is_right("", stored).unwrap());
        }
    }

    #[test]
    fn other_parameters_still_verify_and_are_outdated() {
        let weaker = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
        let stored = weaker.hash_password_with_salt(b"a red kettle", &[7; 16]).unwrap().to_string();
        assert!(is_right("a red kettle", &stored).unwrap() && is_outdated(&stored));
    }
}
