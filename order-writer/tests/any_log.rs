//! Goal: nothing that is in a log stops a partition for ever, sound lanes go on selling, and INV-1
//! to INV-5 hold afterwards. Method: a worker over the embedded deployment's stores (SQLite, lanes
//! in this process), fed with sound, damaged and contradicting records drawn from a seed; then
//! single damages, each in the log, in a lane or in the databases. `ANY_LOG_SEEDS=100` plays more
//! seeds, `ANY_LOG_SEED=n` one again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "any_log/audit.rs"]
mod audit;
#[path = "any_log/away.rs"]
mod away;
#[path = "any_log/bounds.rs"]
mod bounds;
#[path = "any_log/events.rs"]
mod events;
#[path = "any_log/forger.rs"]
mod forger;
#[path = "any_log/gate.rs"]
mod gate;
#[path = "any_log/limits.rs"]
mod limits;
#[path = "any_log/loads.rs"]
mod loads;
#[path = "any_log/lost.rs"]
mod lost;
#[path = "any_log/parked.rs"]
mod parked;
#[path = "any_log/releases.rs"]
mod releases;
#[path = "any_log/retirement.rs"]
mod retirement;
#[path = "any_log/rig.rs"]
mod rig;
#[path = "any_log/single.rs"]
mod single;
#[path = "desk/unpaid.rs"]
mod unpaid;

use domain::order::Status;

use forger::Forger;
use rig::{LANES, LATE_LANE, Rig, SOUND_LANE};

const STEPS: u32 = 120;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    number("ANY_LOG_SEED").map_or_else(|| (0..number("ANY_LOG_SEEDS").unwrap_or(4)).collect(), |seed| vec![seed])
}

/// Whatever is appended, the worker reaches the end of the log without a halt; what was promised
/// and appended has its row, in the lane that nobody names falsely an accepted one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_log_stops_a_partition() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut rig = Rig::open().await;
        let mut forger = Forger::new(seed);
        let mut promised = Vec::new();
        for step in 0..STEPS {
            if step == STEPS / 2 {
                rig.publish_contradictions();
            }
            if forger.below(3) == 0 {
                let lane = forger.pick(&LANES);
                promised.extend(rig.buy(lane, forger.below(40) + 1, forger.below(4) == 0).await);
            } else {
                let envelope = forger.record(&promised);
                rig.append(envelope).await;
            }
        }
        rig.until_decided().await;
        assert_eq!(rig.halts(), "", "seed {seed}");
        let sold = rig.until_buys(SOUND_LANE).await;
        rig.until_open(LATE_LANE).await;
        assert_eq!(
            rig.store.ledger.lane(rig::id(5003)).await.unwrap(),
            None,
            "seed {seed}: its offer is another lane's"
        );
        rig.until_decided().await;
        for promise in promised.iter().chain([&sold]) {
            let row = rig.row(promise.order).await.unwrap_or_else(|| panic!("seed {seed}: lost {promise:?}"));
            assert_eq!(row.buyer, promise.buyer, "seed {seed}");
            let accepted = row.status == Status::PendingPayment;
            assert!(accepted || promise.lane != SOUND_LANE, "seed {seed}: {promise:?} became {row:?}");
        }
        // Forged promises that fit sold units that no lane knows of: a start derives the lanes from
        // what is decided.
        rig.restart().await;
        rig.until_rest().await;
        rig.until_open(LATE_LANE).await;
        audit::all(&rig, seed).await;
        events::tell_what_the_rows_say(&rig, &[LANES[0], LANES[1], LATE_LANE], seed).await;
        rig.close().await;
    }
}
