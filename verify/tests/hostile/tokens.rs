//! Tokens that are wrong in one thing each, over HTTP. What each of them is called inside stands in
//! `kit/src/token/tests.rs`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kit::{
    clock::{Clock, SystemClock},
    token::{BuyerClaims, LIFETIME_MAX_S, Tenants, TokenKey, TokenSigner},
};
use serde_json::{Value, json};
use verify::forger::{Forger, claims_of};

use super::*;

#[test]
fn tokens() {
    let fixture = Fixture::new("tokens");
    let (kid, secret) = fixture.production.key().map(|(kid, secret)| (kid.to_owned(), secret.to_owned())).unwrap();
    let forger = Forger::new(&kid, &secret).unwrap();
    let good = fixture.production.token(&fixture.sale, 500_000).unwrap();
    let claims = claims_of(&good).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        forger.token(&forger.header(), &claims).unwrap()
    };
    let headed = |header: Value| forger.token(&header, &claims).unwrap();
    let listed = json!(["iss", "aud", "sub", "tenant", "role", "exp"].map(|name| &claims[name]));
    let signer = |kid: &str, secret: &str| TokenSigner::new(TokenKey::new(kid, secret, Tenants::All).unwrap());
    let now_ms = SystemClock::new().now_ms();
    let claims = BuyerClaims::new(7, 1, now_ms + 3_600_000);
    let too_late_s = now_ms / 1_000 + LIFETIME_MAX_S + 60;
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other_secret = URL_SAFE_NO_PAD.encode([7; 32]);
    let unsigned = headed(json!({"alg": "none", "kid": kid}));
    for (name, token) in [
        ("expired", with("exp", json!(1_500_000_000))),
        ("expired at the epoch", with("exp", json!(0))),
        ("a negative expiry", with("exp", json!(-1))),
        ("an expiry with a fraction", with("exp", json!(4e9))),
        ("an expiry beyond the longest life", with("exp", json!(too_late_s))),
        ("an expiry in milliseconds", with("exp", json!(now_ms + 3_600_000))),
        ("an expiry of 2^64 - 1", with("exp", json!(u64::MAX))),
        ("not yet valid", with("nbf", json!(4_000_000_000_u64))),
        ("another issuer", with("iss", json!("elsewhere"))),
        ("another audience", with("aud", json!("flashsale-merchants"))),
        ("no audience", with("aud", json!([]))),
        ("a subject of 2^63", with("sub", json!("9223372036854775808"))),
        ("a subject of 2^64", with("sub", json!("18446744073709551616"))),
        ("a subject of zero", with("sub", json!("0"))),
        ("a subject with a zero in front", with("sub", json!("01"))),
        ("a subject that is a number", with("sub", json!(1))),
        ("a tenant of zero", with("tenant", json!(0))),
        ("a tenant of 2^32", with("tenant", json!(4_294_967_296_u64))),
        ("alg none", unsigned.clone()),
        ("alg none without a signature", format!("{}.", unsigned.rsplit_once('.').unwrap().0)),
        ("alg HS512", headed(json!({"alg": "HS512", "kid": kid}))),
        ("alg RS256", headed(json!({"alg": "RS256", "kid": kid}))),
        ("crit", headed(json!({"alg": "HS256", "kid": kid, "crit": ["b64"], "b64": false}))),
        ("crit that is null", headed(json!({"alg": "HS256", "kid": kid, "crit": null}))),
        ("zip", headed(json!({"alg": "HS256", "kid": kid, "zip": "DEF"}))),
        ("a header that is an array", headed(json!(["HS256", kid]))),
        ("claims that are an array", forger.token(&forger.header(), &listed).unwrap()),
        ("no kid", headed(json!({"alg": "HS256"}))),
        ("another kid", signer("nobody", &secret).sign(&claims, now_ms).unwrap()),
        ("a kid that is a path", headed(json!({"alg": "HS256", "kid": "../../dev/null"}))),
        ("another secret", signer(&kid, &other_secret).sign(&claims, now_ms).unwrap()),
        ("another message", format!("{}x.{signature}", &message[..message.len() - 1])),
        ("no signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", &signature[..20])),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.{signature}")),
        ("no token", String::new()),
        ("a space in front", format!(" {good}")),
        ("3 KB of claims", with("padding", json!("x".repeat(3_000)))),
        ("6 KB of dots", ".".repeat(6_000)),
    ] {
        let request = post(&token, "idempotency-key: k\r\n", &fixture.good_body());
        expect(&fixture, name, request.as_bytes(), Expected::Problem(401, "unauthenticated"));
    }
    let request = post(&with("role", json!("merchant")), "idempotency-key: k\r\n", &fixture.good_body());
    expect(&fixture, "a merchant's", request.as_bytes(), Expected::Problem(403, "forbidden"));
    // INV-7: a good token of another shop, and an offer that does not exist, get the same answer.
    let foreign = fixture.production.signer().sign(&claims, now_ms).unwrap();
    let request = post(&foreign, "idempotency-key: k\r\n", &fixture.good_body());
    expect(&fixture, "another shop's", request.as_bytes(), Expected::Problem(404, "not_found"));
    fixture.leave_unhurt();
}
