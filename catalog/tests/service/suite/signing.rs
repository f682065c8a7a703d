//! Signing keys: published without a secret, published before they sign, and good until the last
//! token is out.

use std::time::Duration;

use catalog::house;
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    rig::{OPERATOR, Rig},
    staff::Staff,
};

const MINUTE: Duration = Duration::from_secs(60);
const EMAIL: &str = "ann@example.com";

async fn published(rig: &Rig) -> Vec<String> {
    let jwks = rig.get("/v1/jwks").send().await.expect(200);
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn rotate(rig: &Rig, key: &str) -> super::rig::Answer {
    rig.post("/v1/signing-keys").token(OPERATOR).key(key).send().await
}

#[tokio::test]
async fn the_published_keys_hold_no_secret_and_may_be_kept_for_less_than_a_key_is_published_ahead() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/v1/jwks").send().await.expect(200), json!({ "keys": [] }));
    let token = Staff::of(&rig, "kettles").await.signed_in(EMAIL, &["viewer"]).await;
    let answer = rig.get("/v1/jwks").send().await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let keys = answer.expect(200)["keys"].clone();
    let members: Vec<_> = keys[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!((keys.as_array().unwrap().len(), &keys[0]["kid"]), (1, &Value::from(kid(&token))));
    let rows = rig.db.rows("SELECT private_key FROM signing_keys", Vec::new()).await.unwrap();
    let sealed = rows.into_iter().next().unwrap().bytes().unwrap();
    assert!(sealed.len() > 32 + 12, "sealed, with a nonce and a tag");
}

#[tokio::test]
async fn a_new_key_signs_when_all_have_it_and_the_old_one_holds_until_its_last_token_is_out() {
    let rig = Rig::start().await;
    let staff = Staff::of(&rig, "kettles").await;
    let first = staff.signed_in(EMAIL, &["viewer"]).await;
    rotate(&rig, "early").await.refused(409, "conflict");
    rig.clock.advance(10 * MINUTE);
    let made = rotate(&rig, "a").await.expect(201);
    assert_eq!(rotate(&rig, "a").await.expect(201), made, "a repeated call makes no other");
    let new = made["kid"].as_str().unwrap().to_owned();
    assert_eq!(published(&rig).await, [kid(&first), new.clone()]);
    rig.clock.advance(9 * MINUTE);
    let last = staff.token(EMAIL).await;
    assert_eq!(kid(&last), kid(&first), "the new one is not published for long enough");
    rig.clock.advance(MINUTE);
    assert_eq!(kid(&staff.token(EMAIL).await), new);
    rig.clock.advance(8 * MINUTE);
    rig.get("/v1/me").token(&last).send().await.expect(200);
    rig.clock.advance(3 * MINUTE);
    assert_eq!(published(&rig).await, [new.as_str()]);
    house::put_in_order(&rig.catalog).await;
    assert_eq!(rig.db.rows("SELECT key_number FROM signing_keys", Vec::new()).await.unwrap().len(), 1);
    assert_eq!(kid(&staff.token(EMAIL).await), new);
}

#[tokio::test]
async fn another_process_takes_tokens_of_a_key_that_it_did_not_know() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    assert!(published(&other).await.is_empty());
    rig.clock.advance(MINUTE);
    assert!(published(&other).await.is_empty());
    rig.clock.advance(Duration::from_secs(1));
    let token = Staff::of(&rig, "kettles").await.signed_in(EMAIL, &["viewer"]).await;
    other.get("/v1/me").token(&token).send().await.expect(200);
    assert_eq!(published(&other).await, [kid(&token)]);
}

#[tokio::test]
async fn two_processes_that_make_the_first_key_at_once_make_one() {
    let rig = Rig::start().await;
    let other = rig.another().await;
    Staff::of(&rig, "kettles").await.user(EMAIL, &["viewer"]).await;
    let login = json!({ "tenant": "kettles", "email": EMAIL, "password": super::staff::PASSWORD });
    let sign_in = async |rig: &Rig| rig.post("/v1/sessions").json(&login).send().await;
    let (one, two) = tokio::join!(sign_in(&rig), sign_in(&other));
    let kids = [one.expect(201), two.expect(201)].map(|signed_in| kid(signed_in["access_token"].as_str().unwrap()));
    assert_eq!(kids[0], kids[1]);
    assert_eq!(published(&rig).await, kids[..1]);
}

#[tokio::test]
async fn a_key_gets_a_successor_by_itself_after_thirty_days() {
    let rig = Rig::start().await;
    let first = Staff::of(&rig, "kettles").await.signed_in(EMAIL, &["viewer"]).await;
    rig.clock.advance(30 * 24 * 60 * MINUTE - Duration::from_millis(1));
    house::put_in_order(&rig.catalog).await;
    assert_eq!(published(&rig).await, [kid(&first)]);
    rig.clock.advance(Duration::from_millis(1));
    let other = rig.another().await;
    tokio::join!(house::put_in_order(&rig.catalog), house::put_in_order(&other.catalog));
    assert_eq!(published(&rig).await.len(), 2, "of two processes one makes it");
}
