//! Each test takes a person's token that is good but for one thing, and sees that this thing alone
//! refuses it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::*;
use crate::access::Permission;
use crate::token::{BuyerClaims, Tenants, TokenKey, TokenSigner, TokenVerifier};

const NOW_MS: u64 = 1_800_000_000_000;
const NOW_S: u64 = NOW_MS / 1_000;

fn claims() -> PersonClaims {
    let permissions = [Permission::ReadStock, Permission::WriteStock].into_iter().collect();
    PersonClaims { person: 42, tenant: 7, session: 9, permissions, expires_ms: NOW_MS + 600_000 }
}

fn good() -> Value {
    json!({
        "iss": ISSUER, "aud": PEOPLE_AUDIENCE, "sub": "42", "tenant": 7, "sid": "9",
        "scope": "read_stock write_stock", "exp": NOW_S + 600, "iat": NOW_S,
    })
}

fn verdict_with(claim: &str, value: Value) -> Result<PersonClaims, TokenError> {
    let signer = PersonSigner::generate().unwrap();
    let mut claims = good();
    claims[claim] = value;
    let token = signer.sign_json(claims.to_string().as_bytes()).unwrap();
    PersonVerifier::new(vec![signer.key().clone()]).verify(&token, NOW_MS)
}

#[test]
fn a_signed_token_verifies_by_its_published_key_here_and_elsewhere() {
    let signer = PersonSigner::generate().unwrap();
    let again = PersonSigner::open(&signer.private_key().unwrap(), signer.key()).unwrap();
    let token = again.sign(&claims(), NOW_MS).unwrap();
    let published = serde_json::to_value(Jwks::new(&[signer.key().clone()])).unwrap();
    let verifier = PersonVerifier::of_jwks(&serde_json::from_value(published.clone()).unwrap()).unwrap();
    assert_eq!(verifier.verify(&token, NOW_MS), Ok(claims()));

    let key = &published["keys"][0];
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(), key["kid"].as_str());
    let public = DecodingKey::from_ec_components(key["x"].as_str().unwrap(), key["y"].as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_audience(&[PEOPLE_AUDIENCE]);
    let read = jsonwebtoken::decode::<Value>(&token, &public, &validation).unwrap();
    assert_eq!(read.claims, good());
    assert_eq!(key.as_object().unwrap().keys().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
}

#[test]
fn one_wrong_claim_refuses_a_token() {
    let wrong = [
        ("iss", json!("somebody"), TokenError::Issuer),
        ("aud", json!("flashsale-buyers"), TokenError::Audience),
        ("exp", json!(NOW_S - LEEWAY_S), TokenError::Expired),
        ("iat", json!(NOW_S + LEEWAY_S + 1), TokenError::NotYetValid),
        ("exp", json!(NOW_S + LIFETIME_MAX_S + 1), TokenError::Lifetime),
        ("sub", json!("042"), TokenError::Malformed),
        ("sub", json!("9223372036854775808"), TokenError::Malformed),
        ("sid", json!(""), TokenError::Malformed),
        ("tenant", json!(0), TokenError::Malformed),
        ("scope", json!(["read_stock"]), TokenError::Malformed),
    ];
    for (claim, value, expected) in wrong {
        assert_eq!(verdict_with(claim, value.clone()), Err(expected), "{claim} {value}");
    }
    assert_eq!(verdict_with("exp", json!(NOW_S + 600)), Ok(claims()));
}

#[test]
fn a_scope_never_gives_what_is_the_operators() {
    let read = verdict_with("scope", json!("read_stock write_tenants write_stock")).unwrap();
    assert_eq!(read.permissions, claims().permissions);
}

#[test]
fn another_key_algorithm_or_signature_is_refused() {
    let (signer, other) = (PersonSigner::generate().unwrap(), PersonSigner::generate().unwrap());
    let verifier = PersonVerifier::new(vec![signer.key().clone()]);
    let token = signer.sign(&claims(), NOW_MS).unwrap();
    assert_eq!(verifier.verify(&other.sign(&claims(), NOW_MS).unwrap(), NOW_MS), Err(TokenError::UnknownKey));
    assert_eq!(PersonVerifier::default().verify(&token, NOW_MS), Err(TokenError::UnknownKey));
    let (header, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let forged = URL_SAFE_NO_PAD.encode(good().to_string().replace("\"42\"", "\"43\""));
    assert_eq!(verifier.verify(&format!("{header}.{forged}.{signature}"), NOW_MS), Err(TokenError::Signature));
    let kid = signer.key().kid();
    for (header, expected) in [
        (json!({ "alg": "none", "kid": kid }), TokenError::Algorithm),
        (json!({ "alg": "HS256", "kid": kid }), TokenError::Algorithm),
        (json!({ "alg": "ES256", "kid": kid, "jwk": {} }), TokenError::Algorithm),
        (json!({ "alg": "ES256" }), TokenError::MissingKey),
    ] {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        assert_eq!(verifier.verify(&format!("{header}.{payload}.{signature}"), NOW_MS), Err(expected));
    }
    for text in ["", "a", "a.b", "..", "a.b.c", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert!(verifier.verify(text, NOW_MS).is_err(), "{text}");
    }
}

#[test]
fn a_buyers_token_is_none_of_a_persons_and_the_reverse() {
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    let key = TokenKey::new("a", secret, Tenants::All).unwrap();
    let signer = PersonSigner::generate().unwrap();
    let buyer = BuyerClaims::new(7, 42, NOW_MS + 600_000);
    let buyers = TokenSigner::new(key.clone()).sign(&buyer, NOW_MS).unwrap();
    let persons = signer.sign(&claims(), NOW_MS).unwrap();
    let verifier = PersonVerifier::new(vec![signer.key().clone()]);
    assert_eq!(verifier.verify(&buyers, NOW_MS), Err(TokenError::Algorithm));
    let verifier = TokenVerifier::new(vec![key]).unwrap();
    assert_eq!(verifier.verify(&persons, NOW_MS), Err(TokenError::Algorithm));
}
