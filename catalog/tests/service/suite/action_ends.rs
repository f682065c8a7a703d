//! Goal: whatever moment of a scheduled action a process dies or freezes in, and however many of
//! them try, it is done once. Method: another process of the service on the same database ends by
//! itself at each write of it, or stops there (SIGSTOP); then this one goes on, and what is done,
//! published and in the audit log is counted.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use catalog::{actions, failpoint, outside::Outside, sales};
use kit::clock::ManualClock;
use serde_json::{Value, json};

use super::{
    actions::{AT_MS, listed, schedule, states},
    rig::Rig,
    sales::{SALES, made, published, step, stocked},
    stock::Shop,
};
use crate::place::Place;

/// Names the place to the process that does actions, and the step at which it ends; after a dash,
/// that it freezes there.
const PLACE: &str = "FLASHSALE_TEST_ACTIONS_PLACE";
const ENDS: &str = "FLASHSALE_TEST_ACTIONS_END";

/// The writes of an action of a published sale, and what is there after each: whether it is noted
/// done, and the version that the ledger's database has.
const WRITES: [(&str, &str, u32); 4] =
    [("written", "waiting", 1), ("durable", "done", 1), ("published", "done", 2), ("confirmed", "done", 2)];

/// How long a process may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Does what is due in the place that the environment names.
#[tokio::test(flavor = "multi_thread")]
async fn does_what_is_due() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let rig = Rig::start_at(Arc::new(Place::of(&place)), ManualClock::new(AT_MS), Outside::default()).await;
    if let Ok(ends) = std::env::var(ENDS) {
        let (step, freezes) = ends.strip_prefix('-').map_or((ends.as_str(), false), |step| (step, true));
        failpoint::end_in_actions(failpoint::Step::named(step.as_bytes()).unwrap(), freezes);
    }
    // What met a lock is done in the next round.
    for _round in 0..3 {
        let _done = (actions::keep(&rig.catalog).await, sales::keep(&rig.catalog).await);
    }
}

/// A process that does what is due.
struct Doer(Child);

impl Doer {
    fn start(place: &Place, ends: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "suite::action_ends::does_what_is_due"]).env(PLACE, place.name());
        command.envs(ends.map(|ends| (ENDS, ends))).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits until it has ended; whether it ended well.
    fn ended(&mut self) -> bool {
        self.0.wait().unwrap().success()
    }

    /// Waits until it is stopped.
    fn wait_frozen(&self) {
        let (stat, begun) = (format!("/proc/{}/stat", self.0.id()), Instant::now());
        while !fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().starts_with(" T") {
            assert!(begun.elapsed() < PATIENCE, "it never came to its step");
            sleep(Duration::from_millis(10));
        }
    }

    fn thaw(&self) {
        assert!(Command::new("kill").args(["-CONT", &self.0.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Doer {
    fn drop(&mut self) {
        let _is_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// A published sale with a pause that is due.
async fn with_a_pause<'r>(rig: &'r Rig) -> (Shop<'r>, String) {
    let shop = stocked(rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    schedule(&shop, &sale, json!({ "action": "pause" })).await;
    rig.clock.set_wall(AT_MS);
    (shop, sale)
}

async fn version(rig: &Rig, sale: &str) -> u32 {
    published(rig, sale).await.map_or(0, |record| record.version)
}

/// Entries of the audit log by what was done.
async fn entries(shop: &Shop<'_>, action: &str) -> Vec<Value> {
    shop.all(&format!("/v1/audit?action={action}")).await
}

async fn go_on(rig: &Rig) {
    actions::keep(&rig.catalog).await.unwrap();
    sales::keep(&rig.catalog).await.unwrap();
}

/// It is done, once: noted, in the sale's history, published, and in the audit log.
async fn is_done_once(shop: &Shop<'_>, sale: &str, case: &str) {
    let history = shop.all(&format!("{SALES}/{sale}/history")).await;
    let pauses = history.iter().filter(|version| version["action"] == "sale.pause").count();
    let noted = (entries(shop, "sale_action.done").await.len(), entries(shop, "sale.pause").await.len());
    assert_eq!((states(shop, sale).await, pauses, noted), (vec!["done".to_owned()], 1, (1, 1)), "{case}");
    let record = published(shop.rig, sale).await.unwrap();
    assert_eq!((record.version, record.paused), (2, true), "{case}");
    let shown = shop.get(&format!("{SALES}/{sale}")).await.expect(200);
    assert_eq!((&shown["published_version"], &shown["is_publishing"]), (&json!(2), &json!(false)), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_write_of_an_action_leaves_it_to_be_done_once() {
    for (write, state, known) in WRITES {
        let rig = Rig::with_tenants(&[7]).await;
        let (shop, sale) = with_a_pause(&rig).await;
        let mut doer = Doer::start(rig.place(), Some(write));
        assert!(!doer.ended(), "{write}: it dies there");
        assert_eq!(
            (states(&shop, &sale).await, version(&rig, &sale).await),
            (vec![state.to_owned()], known),
            "{write}"
        );
        go_on(&rig).await;
        is_done_once(&shop, &sale, write).await;
        go_on(&rig).await;
        is_done_once(&shop, &sale, write).await;
    }
}

/// An attempt that fails is noted once, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_when_it_notes_a_failure_leaves_one_attempt() {
    for (write, attempts) in [("written", 0), ("durable", 1)] {
        let rig = Rig::with_tenants(&[7]).await;
        let shop = stocked(&rig).await;
        let sale = made(&shop, "winter", 101).await;
        schedule(&shop, &sale, json!({ "action": "publish" })).await;
        rig.clock.set_wall(AT_MS);
        assert!(!Doer::start(rig.place(), Some(write)).ended(), "{write}: it dies there");
        let noted = async || listed(&shop, &sale).await[0]["attempts"].clone();
        assert_eq!(noted().await, attempts, "{write}");
        for _round in 0..2 {
            go_on(&rig).await;
            assert_eq!((noted().await, version(&rig, &sale).await), (json!(1), 0), "{write}");
        }
    }
}

/// A process that freezes holds the action's row, or has done it: another one waits or goes on, and
/// the one that wakes does nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_freezes_at_any_write_of_an_action_does_it_once_or_leaves_it() {
    for (write, ..) in WRITES {
        let rig = Rig::with_tenants(&[7]).await;
        let (shop, sale) = with_a_pause(&rig).await;
        let mut doer = Doer::start(rig.place(), Some(&format!("-{write}")));
        doer.wait_frozen();
        // Where it holds a lock this one does nothing yet, or takes over when the server ends the
        // silent session.
        let _met_a_lock = (actions::keep(&rig.catalog).await, sales::keep(&rig.catalog).await);
        doer.thaw();
        assert!(doer.ended(), "{write}");
        go_on(&rig).await;
        is_done_once(&shop, &sale, write).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_processes_that_do_many_actions_at_once_each_is_done_once() {
    const ACTIONS: u64 = 10;
    let rig = Rig::with_tenants(&[7]).await;
    let shop = stocked(&rig).await;
    let sale = made(&shop, "winter", 60).await;
    step(&shop, &sale, "publish").await.expect(200);
    for rate in 9_001..=9_000 + ACTIONS {
        schedule(&shop, &sale, json!({ "action": "set_rate", "sku": "CUP", "rate_per_s": rate })).await;
    }
    let doers = [(), ()].map(|()| Doer::start(rig.place(), None));
    rig.clock.set_wall(AT_MS);
    for _round in 0..3 {
        let _may_meet_a_lock = (actions::keep(&rig.catalog).await, sales::keep(&rig.catalog).await);
    }
    for mut doer in doers {
        assert!(doer.ended());
    }
    go_on(&rig).await;
    let count = usize::try_from(ACTIONS).unwrap();
    assert_eq!(states(&shop, &sale).await, vec!["done"; count]);
    let done = entries(&shop, "sale_action.done").await;
    let mut targets: Vec<_> = done.iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!((done.len(), targets.len()), (count, count));
    let history = shop.all(&format!("{SALES}/{sale}/history")).await;
    assert_eq!(history.iter().filter(|version| version["action"] == "sale.change").count(), count);
}
