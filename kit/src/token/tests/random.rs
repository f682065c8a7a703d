//! Tokens that chance makes: nothing panics, and nothing but what was signed is accepted.

use proptest::{collection::vec, prelude::*};

use super::*;

proptest! {
    #[test]
    fn no_text_is_a_token_by_chance(text in "\\PC{0,300}", parts in vec("[A-Za-z0-9_=-]{0,90}", 0..5)) {
        prop_assert!(verdict(&text).is_err());
        prop_assert!(verdict(&parts.join(".")).is_err());
    }

    /// Any header, any claims, any signature: each part is well encoded, so that what is inside is
    /// looked at.
    #[test]
    fn no_bytes_are_a_token_by_chance(parts in vec(vec(any::<u8>(), 0..200), 3)) {
        let token = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".");
        prop_assert!(verdict(&token).is_err());
    }

    /// One character, somewhere: the token is another one, and nobody signed it.
    #[test]
    fn one_altered_character_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let good = signed(&good_claims());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to.as_bytes()[0];
        let altered = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verdict(&altered).is_ok(), altered == good);
    }

    /// Whatever the issuer signs, the claims that come out are in range.
    #[test]
    fn what_is_accepted_is_in_range(tenant in any::<u64>(), buyer in any::<u64>(), exp in any::<u64>(), nbf in any::<u64>()) {
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": buyer.to_string(), "tenant": tenant, "role": ROLE, "exp": exp, "nbf": nbf,
        });
        if let Ok(told) = verdict(&signed(&claims)) {
            prop_assert_eq!((u64::from(told.tenant), told.buyer), (tenant, buyer));
            prop_assert!(told.tenant > 0 && told.buyer > 0 && told.buyer <= BUYER_MAX);
            prop_assert!(exp.saturating_add(LEEWAY_S) > NOW_S && nbf <= NOW_S + LEEWAY_S);
            prop_assert!(exp <= NOW_S + LIFETIME_MAX_S + LEEWAY_S);
        }
    }
}
