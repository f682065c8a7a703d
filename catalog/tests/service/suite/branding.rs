//! Branding: a tenant's own, shown to everybody by domain or code, and cached by its tag.

use serde_json::{Value, json};

use super::{
    products::acting,
    rig::{OPERATOR, Rig},
};

fn look(domain: &str) -> Value {
    json!({
        "name": "Kettles & Co", "logo_url": "https://cdn.example/logo.svg", "domain": domain,
        "colours": [{ "name": "primary", "value": "#C8102E" }], "texts": [{ "name": "footer", "value": "敬请期待" }]
    })
}

#[tokio::test]
async fn a_shop_is_found_by_its_domain_and_by_its_code() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_settings", "write_settings"]).await;
    let plain = rig.get("/v1/branding").token(&key).send().await.expect(200);
    assert_eq!((&plain["name"], &plain["version"], &plain["colours"]), (&json!("kettles"), &json!(1), &json!([])));
    let put = rig.put("/v1/branding").token(&key).json(&look("kettles.example")).send().await.expect(200);
    assert_eq!((&put["name"], &put["version"]), (&json!("Kettles & Co"), &json!(2)));
    let again = rig.put("/v1/branding").token(&key).json(&look("kettles.example")).send().await.expect(200);
    assert_eq!(again, put, "the same again changes nothing");
    let mut shown = put.clone();
    shown.as_object_mut().unwrap().remove("version");
    for shop in ["kettles.example", "kettles"] {
        let public = rig.get(&format!("/v1/branding/{shop}")).send().await;
        assert_eq!(public.expect(200), shown);
        assert_eq!(public.headers["cache-control"], "public, max-age=60");
    }
    for nobody in ["pots.example", "pots", "Kettles", "1", "example"] {
        rig.get(&format!("/v1/branding/{nobody}")).send().await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_cache_is_told_when_the_branding_is_the_same() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["write_settings"]).await;
    let tag = rig.get("/v1/branding/kettles").send().await.headers["etag"].to_str().unwrap().to_owned();
    let again = |tag: &str| rig.get("/v1/branding/kettles").header("if-none-match", tag);
    let known = again(&format!("\"x\", W/{tag}")).send().await;
    known.expect(304);
    assert!(known.body.is_empty() && known.headers["etag"] == tag.as_str());
    rig.put("/v1/branding").token(&key).json(&look("kettles.example")).send().await.expect(200);
    again(&tag).send().await.expect(200);
}

#[tokio::test]
async fn a_domain_is_of_one_tenant() {
    let rig = Rig::start().await;
    let (one, other) = (rig.tenant("kettles").await, rig.tenant("pots").await);
    let theirs = rig.key_of(&one, &["write_settings"]).await;
    let ours = rig.key_of(&other, &["read_settings", "write_settings"]).await;
    let put = |key: &str, body: Value| rig.put("/v1/branding").token(key).json(&body);
    put(&theirs, look("shop.example")).send().await.expect(200);
    put(&ours, look("shop.example")).send().await.refused(409, "conflict");
    let kept = rig.get("/v1/branding").token(&ours).send().await.expect(200);
    assert_eq!((&kept["name"], &kept["version"], &kept["domain"]), (&json!("pots"), &json!(1), &Value::Null));
    let tag = rig.get("/v1/branding/shop.example").send().await.headers["etag"].clone();
    put(&theirs, json!({})).send().await.expect(200);
    put(&ours, look("shop.example")).send().await.expect(200);
    // Ours has the version now that theirs had then.
    let moved = rig.get("/v1/branding/shop.example").header("if-none-match", tag.to_str().unwrap()).send().await;
    assert_eq!(moved.expect(200)["tenant"], "pots");
}

#[tokio::test]
async fn a_stale_branding_is_refused_with_what_is_there() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["read_settings", "write_settings"]).await;
    let put =
        |name: &str| rig.put("/v1/branding").token(&key).header("if-match", "\"1\"").json(&json!({ "name": name }));
    let (one, other) = tokio::join!(put("One").send(), put("Other").send());
    let (first, second) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!(second.refused(412, "precondition_failed")["current"], first.expect(200));
    let shown = rig.get("/v1/branding").token(&key).send().await;
    assert_eq!((shown.expect(200), &shown.headers["etag"]), (first.json(), &first.headers["etag"]));
}

#[tokio::test]
async fn every_wrong_member_of_a_branding_is_named_at_once() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let key = rig.key_of(&tenant, &["write_settings"]).await;
    let put = |body: Value| rig.put("/v1/branding").token(&key).json(&body);
    let bad = json!({
        "logo_url": "javascript:alert(1)", "domain": "Shop_1.example", "tenant": "2",
        "colours": [{ "name": "primary", "value": "red" }], "texts": [{ "name": "Footer", "value": "x" }]
    });
    let refused = put(bad).send().await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["colours[0].value", "domain", "logo_url", "tenant", "texts[0].name"]);
    let twice = json!([{ "name": "primary", "value": "#000000" }, { "name": "primary", "value": "#ffffff" }]);
    let hash = "0".repeat(64);
    let both = json!({ "logo_url": "https://cdn.example/a.svg", "logo_image": hash, "colours": twice });
    assert_eq!(put(both).send().await.wrong_fields(), ["colours", "logo_image"]);
    for host in ["localhost", "a..example", "-a.example", "a.example.", "127.0.0.1", "a.example:80"] {
        assert_eq!(put(json!({ "domain": host })).send().await.wrong_fields(), ["domain"], "{host}");
    }
    rig.put("/v1/branding").token(OPERATOR).json(&json!({})).send().await.refused(403, "forbidden");
}

/// A logo is an image that this tenant uploaded; another tenant's is like none.
#[tokio::test]
async fn a_logo_is_an_image_of_the_tenants_own() {
    let rig = Rig::with_tenants(&[1, 2]).await;
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR-a-logo".as_slice();
    let made = acting(rig.post("/v1/images"), 1).key("a").body("image/png", picture).send().await.expect(201);
    let look = json!({ "logo_image": made["hash"] });
    let put = |tenant| acting(rig.put("/v1/branding"), tenant).json(&look).send();
    let refused = put(2).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["logo_image"]);
    assert_eq!(put(1).await.expect(200)["logo_image"], made["hash"]);
    assert_eq!(rig.get("/v1/branding/shop-1").send().await.expect(200)["logo_image"], made["hash"]);
}
