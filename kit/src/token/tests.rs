//! Each test takes a token that is good but for one thing, and sees that this thing alone refuses it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use super::*;

mod random;

const NOW_MS: u64 = 1_800_000_000_000;
const NOW_S: u64 = NOW_MS / 1_000;
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
const OTHER_SECRET: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

fn key(kid: &str, secret: &str) -> TokenKey {
    TokenKey::new(kid, secret).unwrap()
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new(vec![key("a", SECRET), key("b", OTHER_SECRET)]).unwrap()
}

fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "42", "tenant": 7, "role": ROLE,
        "exp": NOW_S + 60, "iat": NOW_S - 60,
    })
}

/// A token signed with key `a`, its payload as given.
fn signed(claims: &Value) -> String {
    TokenSigner::new(key("a", SECRET)).sign_json(claims.to_string().as_bytes()).unwrap()
}

/// A token with a header of any kind, truly signed with HS256 and the secret of key `a`.
fn signed_under(header: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(good_claims().to_string()));
    let secret = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(SECRET).unwrap());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn verdict(token: &str) -> Result<BuyerClaims, TokenError> {
    verifier().verify(token, NOW_MS)
}

fn verdict_with(claim: &str, value: Value) -> Result<BuyerClaims, TokenError> {
    let mut claims = good_claims();
    claims[claim] = value;
    verdict(&signed(&claims))
}

fn verdict_without(claim: &str) -> Result<BuyerClaims, TokenError> {
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove(claim);
    verdict(&signed(&claims))
}

#[test]
fn a_signed_token_verifies_to_what_was_signed() {
    let claims = BuyerClaims { tenant: 7, buyer: BUYER_MAX, expires_ms: NOW_MS + 60_000 };
    for (kid, secret) in [("a", SECRET), ("b", OTHER_SECRET)] {
        let token = TokenSigner::new(key(kid, secret)).sign(&claims, NOW_MS).unwrap();
        assert_eq!(verdict(&token), Ok(claims));
    }
}

#[test]
fn other_libraries_can_read_our_tokens() {
    let claims = BuyerClaims { tenant: 7, buyer: 42, expires_ms: NOW_MS + 60_000 };
    let token = TokenSigner::new(key("a", SECRET)).sign(&claims, NOW_MS).unwrap();
    let mut validation = jsonwebtoken::Validation::new(Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    let secret = DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(SECRET).unwrap());
    let data = jsonwebtoken::decode::<Value>(&token, &secret, &validation).unwrap();
    assert_eq!(data.header.kid.as_deref(), Some("a"));
    assert_eq!(data.claims, {
        let mut expected = good_claims();
        expected["iat"] = json!(NOW_S);
        expected
    });
}

#[test]
fn a_header_of_another_maker_is_read() {
    for header in [r#"{"kid":"a","alg":"HS256"}"#, r#"{ "typ": "at+jwt", "alg": "HS256", "kid": "\u0061" }"#] {
        assert!(verdict(&signed_under(header)).is_ok(), "{header}");
    }
}

#[test]
fn no_header_can_choose_its_algorithm() {
    for header in [
        r#"{"alg":"none","kid":"a"}"#,
        r#"{"alg":"None","kid":"a"}"#,
        r#"{"alg":"hs256","kid":"a"}"#,
        r#"{"alg":"HS512","kid":"a"}"#,
        r#"{"alg":"RS256","kid":"a"}"#,
        r#"{"alg":"ES256","kid":"a"}"#,
        r#"{"alg":"HS256","kid":"a","crit":["b64"],"b64":false}"#,
    ] {
        assert_eq!(verdict(&signed_under(header)), Err(TokenError::Algorithm), "{header}");
    }
    let unsigned = signed_under(r#"{"alg":"none","kid":"a"}"#);
    let (message, _signature) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(verdict(&format!("{message}.")), Err(TokenError::Algorithm));
}

#[test]
fn the_key_must_be_named_and_known() {
    assert_eq!(verdict(&signed_under(r#"{"alg":"HS256","typ":"JWT"}"#)), Err(TokenError::MissingKey));
    assert_eq!(verdict(&signed_under(r#"{"alg":"HS256","kid":null}"#)), Err(TokenError::MissingKey));
    assert_eq!(verdict(&signed_under(r#"{"alg":"HS256","kid":"z"}"#)), Err(TokenError::UnknownKey));
}

#[test]
fn a_signature_fits_one_secret_and_one_message() {
    let foreign = TokenSigner::new(key("a", OTHER_SECRET)).sign_json(good_claims().to_string().as_bytes()).unwrap();
    assert_eq!(verdict(&foreign), Err(TokenError::Signature));
    // The secret is ours, but that of another key.
    assert_eq!(verdict(&signed_under(r#"{"alg":"HS256","kid":"b"}"#)), Err(TokenError::Signature));
    let token = signed(&good_claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    for broken in ["", "AAAA", &signature[1..], "!!!!", &format!("{signature}A"), &format!("{signature}=")] {
        assert_eq!(verdict(&format!("{message}.{broken}")), Err(TokenError::Signature), "{broken}");
    }
    let (header, _payload) = message.split_once('.').unwrap();
    let altered = URL_SAFE_NO_PAD.encode(good_claims().to_string().replace("\"42\"", "\"43\""));
    assert_eq!(verdict(&format!("{header}.{altered}.{signature}")), Err(TokenError::Signature));
}

#[test]
fn time_is_checked_against_the_callers_clock_with_some_leeway() {
    let token = signed(&good_claims());
    let at = |seconds: u64| verifier().verify(&token, seconds * 1_000);
    let expires = NOW_S + 60;
    assert!(at(expires - 1).is_ok());
    assert!(at(expires + LEEWAY_S - 1).is_ok());
    assert_eq!(at(expires + LEEWAY_S), Err(TokenError::Expired));
    assert_eq!(at(u64::MAX / 1_000), Err(TokenError::Expired));
    assert!(verdict_with("nbf", json!(NOW_S + LEEWAY_S)).is_ok());
    assert_eq!(verdict_with("nbf", json!(NOW_S + LEEWAY_S + 1)), Err(TokenError::NotYetValid));
    assert!(verdict_with("exp", json!(u64::MAX)).is_ok());
    assert_eq!(verdict_with("exp", json!(0)), Err(TokenError::Expired));
}

#[test]
fn issuer_audience_and_role_must_be_ours() {
    assert_eq!(verdict_with("iss", json!("flashsale2")), Err(TokenError::Issuer));
    assert_eq!(verdict_with("aud", json!("flashsale-merchants")), Err(TokenError::Audience));
    assert_eq!(verdict_with("aud", json!([])), Err(TokenError::Audience));
    assert!(verdict_with("aud", json!(["other", AUDIENCE])).is_ok());
    for role in ["merchant", "admin", "Buyer", ""] {
        let error = verdict_with("role", json!(role)).unwrap_err();
        assert_eq!(error, TokenError::Role);
        assert!(error.is_forbidden());
    }
}

#[test]
fn a_subject_is_a_buyer_id_in_its_one_spelling() {
    for subject in ["", "0", "-1", "+1", "042", "1.0", " 1", "abc", "9223372036854775808", "99999999999999999999", "٤٢"]
    {
        assert_eq!(verdict_with("sub", json!(subject)), Err(TokenError::Subject), "{subject}");
    }
    assert_eq!(verdict_with("sub", json!("9223372036854775807")).unwrap().buyer, BUYER_MAX);
    assert_eq!(verdict_with("tenant", json!(0)), Err(TokenError::Subject));
}

#[test]
fn every_claim_must_be_there_and_of_its_type() {
    for claim in ["iss", "aud", "sub", "tenant", "role", "exp"] {
        assert_eq!(verdict_without(claim), Err(TokenError::Malformed), "{claim}");
        assert_eq!(verdict_with(claim, json!({})), Err(TokenError::Malformed), "{claim}");
        assert_eq!(verdict_with(claim, Value::Null), Err(TokenError::Malformed), "{claim}");
    }
    assert_eq!(verdict_with("sub", json!(42)), Err(TokenError::Malformed));
    assert_eq!(verdict_with("tenant", json!(4_294_967_296_u64)), Err(TokenError::Malformed));
    assert_eq!(verdict_with("exp", json!(-1)), Err(TokenError::Malformed));
    let twice = good_claims().to_string().replace("{", "{\"sub\":\"1\",");
    let token = TokenSigner::new(key("a", SECRET)).sign_json(twice.as_bytes()).unwrap();
    assert_eq!(verdict(&token), Err(TokenError::Malformed));
}

#[test]
fn garbage_is_malformed_and_never_a_panic() {
    let header = key("a", SECRET).header;
    for token in ["", ".", "..", "...", "a.b.c", "名.前.。", "eyJ.e30.x", &header, &format!("{header}.e30")] {
        assert_eq!(verdict(token), Err(TokenError::Malformed), "{token}");
    }
    let not_claims = TokenSigner::new(key("a", SECRET)).sign_json(b"[]").unwrap();
    assert_eq!(verdict(&not_claims), Err(TokenError::Malformed));
    let not_json = TokenSigner::new(key("a", SECRET)).sign_json(&[0xff, 0xfe]).unwrap();
    assert_eq!(verdict(&not_json), Err(TokenError::Malformed));
}

#[test]
fn size_is_bounded_before_anything_else() {
    let mut claims = good_claims();
    claims["padding"] = json!("x".repeat(TOKEN_BYTES_MAX));
    assert_eq!(verdict(&signed(&claims)), Err(TokenError::TooLong));
    assert_eq!(verdict(&".".repeat(TOKEN_BYTES_MAX + 1)), Err(TokenError::TooLong));
    claims["padding"] = json!("x".repeat(1_000));
    assert!(verdict(&signed(&claims)).is_ok());
    // All in one part, at the limit: the buffers must hold it.
    assert_eq!(verdict(&format!("{}.e30.e30", "e".repeat(TOKEN_BYTES_MAX - 8))), Err(TokenError::Malformed));
}

#[test]
fn keys_are_checked_when_they_are_made() {
    assert_eq!(TokenKey::new("", SECRET).unwrap_err(), KeyError::Kid(String::new()));
    assert_eq!(TokenKey::new("a\"b", SECRET).unwrap_err(), KeyError::Kid("a\"b".to_owned()));
    assert!(matches!(TokenKey::new(&"k".repeat(65), SECRET), Err(KeyError::Kid(_))));
    assert_eq!(TokenKey::new("a", "not base64!").unwrap_err(), KeyError::Encoding("a".to_owned()));
    let short = URL_SAFE_NO_PAD.encode([1; 31]);
    assert_eq!(TokenKey::new("a", &short).unwrap_err(), KeyError::Short { kid: "a".to_owned(), bytes: 31 });
    assert_eq!(TokenVerifier::new(vec![]).unwrap_err(), KeyError::None);
    let twice = TokenVerifier::new(vec![key("a", SECRET), key("a", OTHER_SECRET)]);
    assert_eq!(twice.unwrap_err(), KeyError::Repeated("a".to_owned()));
}

#[test]
fn no_debug_form_shows_a_secret() {
    let shown = format!("{:?} {:?} {:?}", key("a", SECRET), verifier(), TokenSigner::new(key("a", SECRET)));
    assert!(shown.contains("\"a\"") && !shown.contains("MDEy") && !shown.contains("48, 49, 50"), "{shown}");
}

#[test]
fn no_token_is_signed_that_would_not_verify() {
    let signer = TokenSigner::new(key("a", SECRET));
    for (tenant, buyer) in [(0, 1), (1, 0), (1, BUYER_MAX + 1)] {
        assert!(signer.sign(&BuyerClaims { tenant, buyer, expires_ms: NOW_MS }, NOW_MS).is_err());
    }
}
