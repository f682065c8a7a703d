//! Jobs: seen and cancelled by whoever may make them, done in turns, gone on with after a kill, and
//! gone after a week.

use std::time::Duration;

use catalog::jobs::Runner;
use serde_json::{Value, json};
use store::sql::Sql as _;

use super::{
    products::acting,
    rig::{Answer, OPERATOR, Rig},
};

/// A file of this many products, each with a SKU.
pub(super) fn file(count: usize) -> String {
    let mut file = "product,title,sku,price,currency\n".to_owned();
    for number in 0..count {
        file.push_str(&format!("P{number},Product {number},S{number},{},CNY\n", number + 1));
    }
    file
}

pub(super) async fn import(rig: &Rig, tenant: u32, key: &str, csv: impl Into<String>) -> Answer {
    let ask = acting(rig.post("/v1/products/import?format=csv"), tenant).key(key);
    ask.body("text/csv", csv.into()).send().await
}

pub(super) async fn shown(rig: &Rig, tenant: u32, job: &Value) -> Value {
    acting(rig.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())), tenant).send().await.expect(200)
}

/// Does all jobs.
pub(super) async fn finish(rig: &Rig) {
    let mut runner = Runner::default();
    while runner.turn(&rig.catalog).await.unwrap() {}
}

async fn count(rig: &Rig, what: &str) -> i64 {
    rig.db.rows(&format!("SELECT COUNT(*) FROM {what}"), vec![]).await.unwrap().remove(0).int().unwrap()
}

#[tokio::test]
async fn a_repeated_call_makes_one_job_and_its_progress_is_shown() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let first = import(&rig, 1, "a", file(3)).await;
    let job = first.expect(202);
    assert_eq!(first.headers["location"].to_str().unwrap(), format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!(import(&rig, 1, "a", file(3)).await.expect(202), job);
    assert_eq!((&job["state"], &job["created_by"]), (&json!("queued"), &json!("operator")));
    finish(&rig).await;
    let done = shown(&rig, 1, &job).await;
    assert_eq!((&done["state"], &done["done"], &done["counts"]["made"]), (&json!("done"), &job["total"], &json!(3)));
    let list = acting(rig.get("/v1/jobs"), 1).send().await.expect(200);
    assert_eq!(list["items"], json!([done]));
    assert_eq!(count(&rig, "job_chunks").await, 0, "what it read is gone");
    let entries = "audit_log WHERE tenant = 1 AND action IN ('job.create', 'job.done')";
    let all = count(&rig, "audit_log WHERE tenant = 1").await;
    assert_eq!((count(&rig, entries).await, all), (2, 2), "none for a line");
}

#[tokio::test]
async fn nothing_of_another_tenants_jobs_is_seen_or_changed() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", file(1)).await.expect(202);
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    for path in [path.clone(), format!("{path}/errors"), format!("{path}/result")] {
        acting(rig.get(&path), 2).send().await.refused(404, "not_found");
        rig.get(&path).send().await.refused(401, "unauthenticated");
    }
    acting(rig.delete(&path), 2).send().await.refused(404, "not_found");
    assert_eq!(acting(rig.get("/v1/jobs"), 2).send().await.expect(200)["items"], json!([]));
    assert_eq!(rig.get("/v1/jobs").token(OPERATOR).send().await.expect(200)["items"], json!([]));
    assert_eq!(shown(&rig, 1, &job).await, job);
}

#[tokio::test]
async fn a_cancelled_job_does_no_further_piece() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", file(5_000)).await.expect(202);
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    Runner::with_turns_of(1).turn(&rig.catalog).await.unwrap();
    let stale = acting(rig.delete(&path), 1).header("if-match", "\"1\"").send().await;
    assert_eq!(stale.refused(412, "precondition_failed")["current"]["state"], "running");
    let cancelled = acting(rig.delete(&path), 1).send().await.expect(200);
    assert_eq!(acting(rig.delete(&path), 1).send().await.expect(200), cancelled);
    finish(&rig).await;
    assert_eq!(shown(&rig, 1, &job).await, cancelled);
    assert_eq!((&cancelled["state"], count(&rig, "skus").await), (&json!("cancelled"), 2_000), "one piece");
    let ended = import(&rig, 1, "b", file(1)).await.expect(202);
    finish(&rig).await;
    let ended = acting(rig.delete(&format!("/v1/jobs/{}", ended["id"].as_str().unwrap())), 1).send().await;
    ended.refused(409, "conflict");
}

#[tokio::test]
async fn tenants_take_turns_and_the_jobs_of_one_are_done_in_their_order() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let large = import(&rig, 1, "a", file(6_000)).await.expect(202);
    let second = import(&rig, 1, "b", file(1)).await.expect(202);
    let small = import(&rig, 2, "a", file(1)).await.expect(202);
    let mut runner = Runner::with_turns_of(1);
    for _ in 0..2 {
        assert!(runner.turn(&rig.catalog).await.unwrap());
    }
    assert_eq!(shown(&rig, 2, &small).await["state"], "done", "it does not wait for the large one");
    assert_eq!(shown(&rig, 1, &large).await["state"], "running");
    assert_eq!(shown(&rig, 1, &second).await["state"], "queued");
    while runner.turn(&rig.catalog).await.unwrap() {}
    assert_eq!(shown(&rig, 1, &second).await["counts"]["unchanged"], 1);
}

#[tokio::test]
async fn whoever_lost_the_permission_has_his_job_fail() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", file(1)).await.expect(202);
    rig.db.exec("UPDATE jobs SET created_by = 'user:7'", vec![]).await.unwrap();
    finish(&rig).await;
    let failed = shown(&rig, 1, &job).await;
    assert_eq!(failed["state"], "failed");
    assert!(failed["reason"].as_str().unwrap().contains("`write_products`"), "{failed}");
    assert_eq!(count(&rig, "products").await, 0);
}

#[tokio::test]
async fn a_suspended_tenants_job_fails() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", file(1)).await.expect(202);
    let suspended = json!({ "state": "suspended" });
    rig.patch("/v1/tenants/1").token(OPERATOR).json(&suspended).send().await.expect(200);
    finish(&rig).await;
    let failed = shown(&rig, 1, &job).await;
    assert!(failed["reason"].as_str().unwrap().contains("suspended"), "{failed}");
    assert_eq!(count(&rig, "products").await, 0);
}

/// A runner is dropped at any moment, as a kill would end it; the next one waits for the lease and
/// goes on. Every line is done exactly once: made, never found unchanged.
#[tokio::test]
async fn a_job_whose_runner_dies_at_any_moment_does_each_line_once() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut csv = file(7_000);
    csv.push_str("P1,Product 1,S1,x,CNY\n");
    let job = import(&rig, 1, "a", csv).await.expect(202);
    let mut kills = 0;
    while shown(&rig, 1, &job).await["state"] != "done" {
        let limit = Duration::from_millis(rand::random_range(1..200 + 50 * kills));
        let mut runner = Runner::with_turns_of(1);
        if tokio::time::timeout(limit, runner.turn(&rig.catalog)).await.is_err() {
            kills += 1;
            rig.clock.advance(Duration::from_secs(31));
        }
        assert!(kills < 1_000, "it does not get on");
    }
    let done = shown(&rig, 1, &job).await;
    let counts = json!({ "made": 7_000, "changed": 0, "unchanged": 0, "failed": 1 });
    assert_eq!((&done["counts"], &done["flaws"]), (&counts, &json!(1)), "after {kills} kills");
    assert_eq!(
        (count(&rig, "products").await, count(&rig, "skus").await, count(&rig, "job_errors").await),
        (7_000, 7_000, 1)
    );
}

#[tokio::test]
async fn two_runners_share_jobs_and_none_is_done_twice() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let mut jobs = Vec::new();
    for tenant in 1..=4 {
        jobs.push((tenant, import(&rig, tenant, "a", file(2_500)).await.expect(202)));
    }
    let work = async || {
        let mut runner = Runner::with_turns_of(1);
        // One of two that want the same job leaves it to the other: so none is idle for good.
        for _ in 0..20 {
            runner.turn(&rig.catalog).await.unwrap();
        }
    };
    tokio::join!(work(), work());
    finish(&rig).await;
    for (tenant, job) in jobs {
        let done = shown(&rig, tenant, &job).await;
        assert_eq!((&done["state"], &done["counts"]["made"]), (&json!("done"), &json!(2_500)));
    }
}

#[tokio::test]
async fn a_lease_keeps_others_away_until_it_ends() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", file(1)).await.expect(202);
    let lease = "UPDATE jobs SET state = 'running', runner = 'other', lease_until = ?";
    let until = i64::try_from(super::rig::BEGIN_MS).unwrap() + 30_000;
    rig.db.exec(lease, vec![until.into()]).await.unwrap();
    let mut runner = Runner::default();
    assert!(!runner.turn(&rig.catalog).await.unwrap());
    rig.clock.advance(Duration::from_secs(30));
    assert!(runner.turn(&rig.catalog).await.unwrap());
    assert_eq!(shown(&rig, 1, &job).await["state"], "done");
}

#[tokio::test]
async fn ended_jobs_are_gone_after_a_week() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    let job = import(&rig, 1, "a", "product,title\nA,\n").await.expect(202);
    let export = acting(rig.post("/v1/products/export?format=csv"), 1).key("b").send().await.expect(202);
    let mut runner = Runner::default();
    while runner.turn(&rig.catalog).await.unwrap() {}
    rig.clock.advance(Duration::from_secs(7 * 24 * 3_600));
    runner.turn(&rig.catalog).await.unwrap();
    assert_eq!(shown(&rig, 1, &job).await["state"], "done", "a week is not over");
    rig.clock.advance(Duration::from_secs(3_600));
    runner.turn(&rig.catalog).await.unwrap();
    for job in [&job, &export] {
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        acting(rig.get(&path), 1).send().await.refused(404, "not_found");
    }
    for table in ["jobs", "job_chunks", "job_errors"] {
        assert_eq!(count(&rig, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn more_ended_jobs_than_a_batch_has_go_in_several_turns() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    import(&rig, 1, "a", "product,title\nA,\n").await.expect(202);
    finish(&rig).await;
    let columns = "kind, state, is_open, options, position, done, total, made, changed, unchanged, failed, flaws, \
                   input_bytes, result_bytes, result_chunks, reason, created_by, trace, address, created_at, \
                   started_at, ended_at, runner, lease_until, version";
    for step in [1, 2, 4, 8, 16, 32, 64] {
        let copy =
            format!("INSERT INTO jobs (tenant, job, {columns}) SELECT tenant, job + {step}, {columns} FROM jobs");
        rig.db.exec(&copy, vec![]).await.unwrap();
    }
    assert_eq!(count(&rig, "jobs").await, 128);
    rig.clock.advance(Duration::from_secs(8 * 24 * 3_600));
    let mut runner = Runner::default();
    for left in [28, 0] {
        runner.turn(&rig.catalog).await.unwrap();
        assert_eq!(count(&rig, "jobs").await, left);
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_open_jobs_and_no_more() {
    let rig = Rig::with_tenants(&[1, 2, 3, 4]).await;
    import(&rig, 1, "a", file(1)).await.expect(202);
    rig.db.exec("UPDATE jobs SET input_bytes = ?", vec![(256_i64 * 1024 * 1024 - 10).into()]).await.unwrap();
    import(&rig, 1, "b", file(1)).await.refused(409, "conflict");
    import(&rig, 2, "b", file(1)).await.expect(202);
}
