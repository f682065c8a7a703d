//! Tokens for a shop's own users: a subject keeps its number, whoever asks, how often, in whatever
//! order and company.

use std::collections::HashSet;

use domain::sale::SubjectKind;
use kit::{
    clock::Clock as _,
    token::{BuyerClaims, TokenVerifier},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::rig::{Ask, OPERATOR, Rig, token_key};

/// A service with two shops, and their numbers.
pub(crate) async fn shops() -> (Rig, u32, u32) {
    let rig = Rig::start().await;
    let numbers = (rig.tenant("kettles").await, rig.tenant("pots").await);
    (rig, numbers.0.parse().unwrap(), numbers.1.parse().unwrap())
}

/// The operator, for this tenant.
pub(crate) fn of(tenant: u32, ask: Ask<'_>) -> Ask<'_> {
    ask.token(OPERATOR).header("flashsale-tenant", &tenant.to_string())
}

fn mint<'r>(rig: &'r Rig, tenant: u32, buyers: &Value) -> Ask<'r> {
    of(tenant, rig.post("/v1/buyer-tokens")).json(&json!({ "buyers": buyers }))
}

fn ids(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "id": id })).collect()
}

/// The numbers of an answer, in its order.
fn numbers(minted: &Value) -> Vec<String> {
    let tokens = minted["tokens"].as_array().unwrap();
    tokens.iter().map(|token| token["buyer"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn claims(rig: &Rig, token: &Value) -> BuyerClaims {
    let verifier = TokenVerifier::new(vec![token_key()]).unwrap();
    verifier.verify(token.as_str().unwrap(), rig.clock.now_ms()).unwrap()
}

/// The number of one subject of the shop.
pub(crate) async fn number_of(rig: &Rig, tenant: u32, wanted: Value) -> String {
    numbers(&mint(rig, tenant, &json!([wanted])).send().await.expect(200)).remove(0)
}

#[tokio::test]
async fn a_subject_keeps_its_number_in_whatever_order_it_is_asked_for() {
    let (rig, kettles, pots) = shops().await;
    let first = mint(&rig, kettles, &ids(&["u-17", "李雷", "u-17"])).send().await;
    assert_eq!(first.headers["cache-control"], "no-store");
    let first = first.expect(200);
    let [one, other, again] = &numbers(&first)[..] else { panic!("{first}") };
    assert!(one == again && one != other, "{first}");
    let named: Vec<_> = first["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap()).collect();
    assert_eq!(named, ["u-17", "李雷", "u-17"]);
    let second = mint(&rig, kettles, &ids(&["new", "李雷", "u-17"])).send().await.expect(200);
    assert_eq!(numbers(&second)[1..], [other.clone(), one.clone()]);
    let stranger = number_of(&rig, pots, json!({ "id": "u-17" })).await;
    assert!(!numbers(&second).contains(&stranger), "another shop's user is another buyer");
    let rig = rig.restart().await;
    let third = mint(&rig, kettles, &ids(&["u-17", "newer"])).send().await.expect(200);
    assert_eq!(numbers(&third)[0], *one, "the database knows it");
    let all: HashSet<_> = [numbers(&first), numbers(&second), numbers(&third)].concat().into_iter().collect();
    assert_eq!(all.len(), 4, "numbers are distinct");
}

#[tokio::test]
async fn a_token_says_what_its_buyer_is() {
    let (rig, kettles, _) = shops().await;
    let (phone, other) = ("+8613900001111", "+8613900002222");
    let wanted = json!([
        { "id": "u-17" },
        { "id": "u-17", "member": true, "phone": other },
        { "id": "u-17", "limit_by": "phone", "phone": phone },
        { "id": "u-18", "limit_by": "phone", "phone": phone, "member": true },
        { "id": "u-17", "limit_by": "id_hash" },
    ]);
    let body = json!({ "buyers": wanted, "hours": 2 });
    let minted = of(kettles, rig.post("/v1/buyer-tokens")).json(&body).send().await.expect(200);
    assert_eq!(minted["expires_at"], "2026-11-11T02:00:00.000Z");
    let claims: Vec<_> =
        minted["tokens"].as_array().unwrap().iter().map(|minted| claims(&rig, &minted["token"])).collect();
    let [account, member, by_phone, same_phone, hash] = claims[..] else { panic!("{minted}") };
    let expected = BuyerClaims::new(kettles, account.buyer, rig.clock.now_ms() + 7_200_000);
    assert_eq!(account, expected);
    assert_eq!(member, BuyerClaims { member: true, ..account });
    assert_eq!(by_phone, BuyerClaims { by: SubjectKind::Phone, buyer: by_phone.buyer, ..account });
    assert_eq!(same_phone, BuyerClaims { member: true, ..by_phone }, "two accounts with one phone are one buyer");
    assert_eq!(hash, BuyerClaims { by: SubjectKind::IdHash, buyer: hash.buyer, ..account });
    let distinct: HashSet<_> = [account.buyer, by_phone.buyer, hash.buyer].into();
    assert_eq!(distinct.len(), 3);
}

#[tokio::test]
async fn many_calls_at_once_give_each_new_subject_one_number() {
    let (rig, kettles, _) = shops().await;
    let shared: Vec<String> = (0..40).map(|n| format!("u-{n}")).collect();
    let mut calls = JoinSet::new();
    for call in 0..8 {
        // Each in another order, and with somebody of its own.
        let mut wanted = shared.clone();
        wanted.rotate_left(call * 5);
        wanted.push(format!("own-{call}"));
        let buyers: Value = wanted.iter().map(|id| json!({ "id": id })).collect();
        let asked = mint(&rig, kettles, &buyers).detach();
        calls.spawn(async move { (wanted, asked.await.expect(200)) });
    }
    let mut known = std::collections::HashMap::new();
    while let Some(answered) = calls.join_next().await {
        let (wanted, minted) = answered.unwrap();
        for (id, number) in wanted.into_iter().zip(numbers(&minted)) {
            assert_eq!(*known.entry(id.clone()).or_insert(number.clone()), number, "{id}");
        }
    }
    assert_eq!((known.len(), known.values().collect::<HashSet<_>>().len()), (48, 48));
}

#[tokio::test]
async fn every_wrong_entry_is_named_and_nobody_is_made() {
    let (rig, kettles, _) = shops().await;
    let wrong = json!([
        { "id": "" },
        { "id": "x".repeat(65), "member": "yes" },
        { "id": "u", "phone": "13900001111" },
        { "id": "u", "limit_by": "face", "tenant": 8 },
    ]);
    let body = json!({ "buyers": wrong, "hours": 745, "role": "buyer" });
    let refused = of(kettles, rig.post("/v1/buyer-tokens")).json(&body).send().await;
    refused.refused(400, "invalid_request");
    let expected = [
        "buyers[0].id",
        "buyers[1].id",
        "buyers[1].member",
        "buyers[2].phone",
        "buyers[3].limit_by",
        "buyers[3].tenant",
        "hours",
        "role",
    ];
    assert_eq!(refused.wrong_fields(), expected);
    let phoneless = json!([{ "id": "a", "limit_by": "phone" }, { "id": "b" }, { "id": "c", "limit_by": "phone" }]);
    let refused = mint(&rig, kettles, &phoneless).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["buyers[0].phone", "buyers[2].phone"]);
    let many: Value = (0..101).map(|n| json!({ "id": n.to_string() })).collect();
    assert_eq!(mint(&rig, kettles, &many).send().await.wrong_fields(), ["buyers"]);
    assert_eq!(mint(&rig, kettles, &json!([])).send().await.wrong_fields(), ["buyers"]);
    let rows = super::erasure::everything(&rig).await;
    assert!(!rows.contains("buyers: "), "{rows}");
}

#[tokio::test]
async fn only_who_may_mint_mints() {
    let (rig, kettles, pots) = shops().await;
    let ask = || rig.post("/v1/buyer-tokens").json(&json!({ "buyers": [{ "id": "u" }] }));
    ask().send().await.refused(401, "unauthenticated");
    let deployment = ask().token(OPERATOR).send().await.refused(403, "forbidden");
    assert!(deployment["detail"].as_str().unwrap().contains("`write_buyer_tokens`"), "{deployment}");
    let tenant = kettles.to_string();
    let key = rig.key_of(&tenant, &["write_buyer_tokens"]).await;
    let minted = ask().token(&key).send().await.expect(200);
    let other = rig.key_of(&tenant, &["read_buyers", "write_buyers"]).await;
    ask().token(&other).send().await.refused(403, "forbidden");
    let claims = claims(&rig, &minted["tokens"][0]["token"]);
    assert_eq!(claims.tenant.to_string(), tenant, "the key's own shop");
    let foreign = ask().token(&key).header("flashsale-tenant", &pots.to_string()).send().await.expect(200);
    assert_eq!(numbers(&foreign), numbers(&minted), "only the operator says for whom he acts");
    let buyer = mint(&rig, kettles, &ids(&["u"])).send().await.expect(200);
    ask().token(buyer["tokens"][0]["token"].as_str().unwrap()).send().await.refused(401, "unauthenticated");
}
