//! The audit log: a row for each change, in one chain that shows what was changed in it later.

use std::time::Duration;

use serde_json::{Value, json};
use store::sql::Sql as _;

use super::rig::{OPERATOR, Rig};

/// A tenant and a key that changes and looks, after three changes of its branding.
async fn shop(rig: &Rig, code: &str) -> (String, String) {
    let tenant = rig.tenant(code).await;
    let key = rig.key_of(&tenant, &["write_settings", "read_audit", "write_keys"]).await;
    for name in ["One", "Two", "Three"] {
        rig.clock.advance(Duration::from_secs(1));
        rig.put("/v1/branding").token(&key).json(&json!({ "name": name })).send().await.expect(200);
    }
    (tenant, key)
}

fn sequences(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|entry| entry["sequence"].as_str().unwrap()).collect()
}

async fn look(rig: &Rig, key: &str, query: &str) -> Value {
    rig.get(&format!("/v1/audit{query}")).token(key).send().await.expect(200)
}

async fn verified(rig: &Rig, key: &str) -> Value {
    look(rig, key, "/verification").await
}

#[tokio::test]
async fn each_change_has_its_entry_with_who_what_before_and_after() {
    let rig = Rig::start().await;
    let (tenant, key) = shop(&rig, "kettles").await;
    let page = look(&rig, &key, "").await;
    assert_eq!(sequences(&page), ["4", "3", "2", "1"]);
    let newest = &page["items"][0];
    assert_eq!((&newest["actor"], &newest["action"]), (&json!("key:1"), &json!("branding.change")));
    assert_eq!(
        (&newest["target"], &newest["at"]),
        (&json!(format!("tenant:{tenant}")), &json!("2026-11-11T00:00:03.000Z"))
    );
    assert_eq!((&newest["before"]["name"], &newest["after"]["name"]), (&json!("Two"), &json!("Three")));
    assert_eq!(newest["trace"].as_str().unwrap().len(), 32);
    assert_eq!(newest["address"], "127.0.0.1");
    let first = &page["items"][3];
    assert_eq!(
        (&first["actor"], &first["action"], &first["before"]),
        (&json!("operator"), &json!("key.create"), &Value::Null)
    );
    // A refused change has none.
    rig.put("/v1/branding").token(&key).json(&json!({ "x": 1 })).send().await.refused(400, "invalid_request");
    assert_eq!(sequences(&look(&rig, &key, "").await).len(), 4);
    // The operator's own chain.
    let own = look(&rig, OPERATOR, "").await;
    assert_eq!((&own["items"][0]["action"], &own["items"][0]["actor"]), (&json!("tenant.create"), &json!("operator")));
}

#[tokio::test]
async fn the_log_is_searched_and_turned_page_by_page() {
    let rig = Rig::start().await;
    let (tenant, key) = shop(&rig, "kettles").await;
    let page = look(&rig, &key, "?limit=3").await;
    assert_eq!((sequences(&page), &page["next_cursor"]), (vec!["4", "3", "2"], &json!("2")));
    let rest = look(&rig, &key, "?limit=3&cursor=2").await;
    assert_eq!((sequences(&rest), &rest["next_cursor"]), (vec!["1"], &Value::Null));
    let target = format!("?target=tenant:{tenant}&action=branding.change");
    for (query, found) in [
        ("?actor=operator", vec!["1"]),
        ("?action=key.create&actor=key:1", vec![]),
        (target.as_str(), vec!["4", "3", "2"]),
        ("?from=2026-11-11T00:00:01Z&to=2026-11-11T00:00:03Z", vec!["3", "2"]),
    ] {
        assert_eq!(sequences(&look(&rig, &key, query).await), found, "{query}");
    }
    for (query, field) in [("?from=yesterday", "from"), ("?actor=", "actor"), ("?cursor=x", "cursor")] {
        let refused = rig.get(&format!("/v1/audit{query}")).token(&key).send().await;
        refused.refused(400, "invalid_request");
        assert_eq!(refused.wrong_fields(), [field]);
    }
}

#[tokio::test]
async fn nobody_sees_the_log_of_another_tenant() {
    let rig = Rig::start().await;
    let (tenant, _key) = shop(&rig, "kettles").await;
    let other = rig.tenant("pots").await;
    let ours = rig.key_of(&other, &["read_audit"]).await;
    assert_eq!(sequences(&look(&rig, &ours, "").await), ["1"]);
    assert_eq!(sequences(&look(&rig, &ours, &format!("?target=tenant:{tenant}")).await), [""; 0]);
    let export = rig.get("/v1/audit/export").token(&ours).header("flashsale-tenant", &tenant).send().await;
    assert_eq!(String::from_utf8_lossy(&export.body).lines().count(), 2);
    let blind = rig.key_of(&other, &["read_settings"]).await;
    for path in ["/v1/audit", "/v1/audit/export", "/v1/audit/verification"] {
        rig.get(path).token(&blind).send().await.refused(403, "forbidden");
        rig.get(path).send().await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_changed_row_is_found() {
    let rig = Rig::start().await;
    let (tenant, key) = shop(&rig, "kettles").await;
    assert_eq!(verified(&rig, &key).await["whole"], true);
    let tenant: u32 = tenant.parse().unwrap();
    for (column, value) in [("after_json", "'{}'"), ("actor", "'user:9'"), ("at_ms", "1"), ("address", "'::1'")] {
        let change = format!("UPDATE audit_log SET {column} = {value} WHERE tenant = ? AND sequence = 3");
        let before = format!("SELECT {column} FROM audit_log WHERE tenant = ? AND sequence = 3");
        let mut kept = rig.db.rows(&before, vec![tenant.into()]).await.unwrap().remove(0);
        rig.db.exec(&change, vec![tenant.into()]).await.unwrap();
        let found = verified(&rig, &key).await;
        assert_eq!(
            (&found["whole"], &found["first_broken"], &found["verified_to"]),
            (&json!(false), &json!("3"), &json!("2")),
            "{column}"
        );
        let undo = format!("UPDATE audit_log SET {column} = ? WHERE tenant = ? AND sequence = 3");
        let kept = if column == "at_ms" { kept.int().unwrap().into() } else { kept.text().unwrap().as_str().into() };
        rig.db.exec(&undo, vec![kept, tenant.into()]).await.unwrap();
        assert_eq!(verified(&rig, &key).await["whole"], true, "{column}");
    }
    assert_eq!(verified(&rig, OPERATOR).await["whole"], true, "other chains are their own");
}

#[tokio::test]
async fn a_removed_row_is_found_wherever_it_stood() {
    for (removed, verified_to) in [(1, "0"), (3, "2"), (4, "3")] {
        let rig = Rig::start().await;
        let (tenant, key) = shop(&rig, "kettles").await;
        let delete = "DELETE FROM audit_log WHERE tenant = ? AND sequence = ?";
        let tenant: u32 = tenant.parse().unwrap();
        rig.db.exec(delete, vec![tenant.into(), i64::from(removed).into()]).await.unwrap();
        let found = verified(&rig, &key).await;
        assert_eq!((&found["whole"], &found["first_broken"]), (&json!(false), &json!(removed.to_string())));
        assert_eq!(found["verified_to"], verified_to);
    }
    let rig = Rig::start().await;
    let (tenant, key) = shop(&rig, "kettles").await;
    let tenant: u32 = tenant.parse().unwrap();
    rig.db.exec("DELETE FROM audit_heads WHERE tenant = ?", vec![tenant.into()]).await.unwrap();
    assert_eq!(verified(&rig, &key).await["first_broken"], "1", "an end that is gone");
}

/// More entries than a page in memory has; the export's last line is the end that verification
/// shows.
#[tokio::test]
async fn an_export_has_every_entry_and_says_that_it_is_whole() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("kettles").await;
    let path = format!("/v1/tenants/{tenant}");
    for number in 0..205 {
        rig.patch(&path).token(OPERATOR).json(&json!({ "name": format!("Kettles {number}") })).send().await.expect(200);
    }
    let export = rig.get("/v1/audit/export").token(OPERATOR).send().await;
    export.expect(200);
    assert_eq!(export.headers["content-type"], "application/jsonl");
    let text = String::from_utf8(export.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1 + 205 + 1);
    for (line, sequence) in lines.iter().zip(1..=206) {
        assert_eq!(line["sequence"], sequence.to_string());
    }
    let end = lines.last().unwrap();
    let found = verified(&rig, OPERATOR).await;
    assert_eq!((&end["end"]["sequence"], &end["end"]["hash"]), (&found["verified_to"], &found["hash"]));
    assert_eq!((&found["whole"], &found["next_cursor"]), (&json!(true), &Value::Null));
    let rest = rig.get("/v1/audit/export?after=204").token(OPERATOR).send().await;
    assert_eq!(String::from_utf8_lossy(&rest.body).lines().count(), 3);
    let on = look(&rig, OPERATOR, "/verification?cursor=200").await;
    assert_eq!((&on["whole"], &on["verified_to"]), (&json!(true), &json!("206")));
}
