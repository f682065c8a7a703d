//! Each test takes a token that is good but for one thing, and sees that this thing alone refuses
//! it.

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
    key_for(Tenants::All, kid, secret)
}

fn key_for(tenants: Tenants, kid: &str, secret: &str) -> TokenKey {
    TokenKey::new(kid, secret, tenants).unwrap()
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
    let claims = BuyerClaims::new(7, BUYER_MAX, NOW_MS + 60_000);
    for (kid, secret) in [("a", SECRET), ("b", OTHER_SECRET)] {
        let token = TokenSigner::new(key(kid, secret)).sign(&claims, NOW_MS).unwrap();
        assert_eq!(verdict(&token), Ok(claims));
    }
}

#[test]
fn a_token_says_what_its_buyer_is_and_whether_a_member() {
    for by in SubjectKind::ALL {
        for member in [false, true] {
            let claims = BuyerClaims { by, member, ..BuyerClaims::new(7, 42, NOW_MS + 60_000) };
            let token = TokenSigner::new(key("a", SECRET)).sign(&claims, NOW_MS).unwrap();
            assert_eq!(verdict(&token), Ok(claims));
        }
    }
    let account = BuyerClaims::new(7, 42, (NOW_S + 60) * 1_000);
    assert_eq!(verdict(&signed(&good_claims())), Ok(account), "an older issuer's");
    assert_eq!(verdict_with("by", json!("account")), Ok(account));
    assert_eq!(verdict_with("by", json!("face")), Err(TokenError::Subject), "a newer issuer's");
    for (claim, value) in [("by", json!(null)), ("by", json!(1)), ("member", json!("true")), ("member", json!(1))] {
        assert_eq!(verdict_with(claim, value), Err(TokenError::Malformed), "{claim}");
    }
}

#[test]
fn other_libraries_can_read_our_tokens() {
    let claims = BuyerClaims::new(7, 42, NOW_MS + 60_000);
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
        r#"{"alg":"HS256","kid":"a","crit":null}"#,
        r#"{"alg":"HS256","kid":"a","zip":"DEF"}"#,
        r#"{"alg":"HS256","kid":"a","jku":"https://elsewhere.example/keys"}"#,
        r#"{"alg":"HS256","kid":"a","cty":"JWT"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"a"}"#,
        r#"{"alg":["HS256"],"kid":"a"}"#,
        r#"{"kid":"a"}"#,
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
    assert_eq!(verdict_with("exp", json!(0)), Err(TokenError::Expired));
}

#[test]
fn a_token_lives_at_most_so_long() {
    let lasting = |seconds: u64| verdict_with("exp", json!(NOW_S + seconds));
    assert!(lasting(LIFETIME_MAX_S - 60).is_ok(), "31 days since it was issued");
    assert_eq!(lasting(LIFETIME_MAX_S - 59), Err(TokenError::Lifetime), "by its own `iat`");
    let unissued = |exp: u64| {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove("iat");
        claims["exp"] = json!(exp);
        verdict(&signed(&claims))
    };
    assert!(unissued(NOW_S + LIFETIME_MAX_S + LEEWAY_S).is_ok(), "by our clock, which may be behind");
    for exp in [NOW_S + LIFETIME_MAX_S + LEEWAY_S + 1, NOW_MS + 60_000, u64::MAX] {
        assert_eq!(unissued(exp), Err(TokenError::Lifetime), "{exp}");
        assert_eq!(verdict_with("exp", json!(exp)), Err(TokenError::Lifetime), "{exp}");
    }
    let year = verifier().with_lifetime_max_s(366 * 24 * 3_600);
    let mut claims = good_claims();
    claims["exp"] = json!(NOW_S + 365 * 24 * 3_600);
    assert!(year.verify(&signed(&claims), NOW_MS).is_ok());
    claims["exp"] = json!(u64::MAX);
    assert_eq!(year.verify(&signed(&claims), NOW_MS), Err(TokenError::Lifetime));
}

#[test]
fn a_key_signs_for_its_tenants_only() {
    let theirs = key_for(Tenants::Only([8, 9].into()), "theirs", OTHER_SECRET);
    let verifier = TokenVerifier::new(vec![key("a", SECRET), theirs.clone()]).unwrap();
    let signer = TokenSigner::new(theirs);
    let claims = |tenant: u32| BuyerClaims::new(tenant, 42, NOW_MS + 60_000);
    for tenant in [8, 9] {
        let token = signer.sign(&claims(tenant), NOW_MS).unwrap();
        assert_eq!(verifier.verify(&token, NOW_MS), Ok(claims(tenant)));
    }
    assert!(matches!(signer.sign(&claims(7), NOW_MS), Err(SignError::Tenant { tenant: 7, .. })));
    // Whoever has the secret needs no signer of ours.
    let forged = signer.sign_json(good_claims().to_string().as_bytes()).unwrap();
    assert_eq!(verifier.verify(&forged, NOW_MS), Err(TokenError::Tenant));
    assert!(!TokenError::Tenant.is_forbidden(), "401: it says nothing of who asks");
    assert!(verifier.verify(&signed(&good_claims()), NOW_MS).is_ok());
}

#[test]
fn an_array_is_no_header_and_no_claims() {
    assert_eq!(verdict(&signed_under(r#"["HS256","a"]"#)), Err(TokenError::Malformed));
    assert_eq!(verdict(&signed_under(r#"["HS256","a",null]"#)), Err(TokenError::Malformed));
    let claims = json!([ISSUER, AUDIENCE, "42", 7, ROLE, NOW_S + 60, null, null]);
    for claims in [claims.to_string(), format!(" \n{claims}")] {
        let token = TokenSigner::new(key("a", SECRET)).sign_json(claims.as_bytes()).unwrap();
        assert_eq!(verdict(&token), Err(TokenError::Malformed));
    }
    let spaced = TokenSigner::new(key("a", SECRET)).sign_json(format!(" \n{}", good_claims()).as_bytes()).unwrap();
    assert!(verdict(&spaced).is_ok());
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
    assert_eq!(TokenKey::new("", SECRET, Tenants::All).unwrap_err(), KeyError::Kid(String::new()));
    assert_eq!(TokenKey::new("a\"b", SECRET, Tenants::All).unwrap_err(), KeyError::Kid("a\"b".to_owned()));
    assert!(matches!(TokenKey::new(&"k".repeat(65), SECRET, Tenants::All), Err(KeyError::Kid(_))));
    assert_eq!(TokenKey::new("a", "not base64!", Tenants::All).unwrap_err(), KeyError::Encoding("a".to_owned()));
    let short = URL_SAFE_NO_PAD.encode([1; 31]);
    assert_eq!(
        TokenKey::new("a", &short, Tenants::All).unwrap_err(),
        KeyError::Short { kid: "a".to_owned(), bytes: 31 }
    );
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
        assert!(signer.sign(&BuyerClaims::new(tenant, buyer, NOW_MS), NOW_MS).is_err());
    }
}
