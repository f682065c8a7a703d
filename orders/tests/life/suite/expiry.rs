//! Goal: what is not paid in time gives its units back, on time, and nothing that is being paid
//! does.

use domain::order::Status;
use kit::metrics::Registry;
use orders::life::Expiry;

use super::rig::{Rig, WINDOW_MS};

/// Each at its own time, whatever others have; what was paid or cancelled stays.
#[tokio::test]
async fn orders_expire_at_their_time_to_pay() {
    let mut rig = Rig::start().await;
    let long = rig.buy_within(1..=3, 2 * WINDOW_MS).await;
    rig.pass(1);
    let short = rig.buy_within(11..=710, WINDOW_MS).await;
    rig.cancel(short[0], 11).await.expect(200);
    rig.pass(WINDOW_MS - 1);
    assert_eq!(rig.expire().await, 0, "a millisecond before");
    rig.pass(1);
    assert_eq!(rig.expire().await, 699);
    assert_eq!(rig.expire().await, 0, "once");
    let statuses = (rig.status(short[0]).await, rig.status(short[1]).await, rig.status(long[0]).await);
    assert_eq!(statuses, (Status::Cancelled, Status::Expired, Status::PendingPayment));
    assert_eq!(rig.outbox().await.0.len(), 700);
    rig.pass(WINDOW_MS);
    assert_eq!(rig.expire().await, 3);
}

/// One expiry that goes on for long: rows that come later, another time to pay, and rows that were
/// written late are all found.
#[tokio::test]
async fn an_expiry_that_goes_on_finds_what_comes_later() {
    let mut rig = Rig::start().await;
    let shards = rig.shards();
    let mut expiries: Vec<Expiry> = shards.iter().map(|shard| Expiry::new(&rig.life, *shard)).collect();
    let mut expired = 0;
    rig.buy_within(1..=5, 30_000).await;
    for second in 0..200 {
        match second {
            10 => drop(rig.buy_within(11..=15, 40_000).await),
            20 => drop(rig.buy_within(21..=25, 30_000).await),
            _ => {}
        }
        for expiry in &mut expiries {
            expired += expiry.run(&rig.life).await.unwrap();
        }
        match second {
            29 => assert_eq!(expired, 0),
            31 => assert_eq!(expired, 5),
            49 => assert_eq!(expired, 5),
            51 => assert_eq!(expired, 15),
            _ => {}
        }
        rig.pass(1_000);
    }
    assert_eq!(expired, 15);
}

/// A time to pay that none of the newest rows has is found by the look at all of them, before its
/// first order is due: a sale gives a minute or more.
#[tokio::test]
async fn a_rare_time_to_pay_among_many_rows_is_kept() {
    let mut rig = Rig::start().await;
    let mut expiry: Vec<Expiry> = rig.shards().iter().map(|shard| Expiry::new(&rig.life, *shard)).collect();
    let mut expired = Vec::new();
    for second in 0..=65 {
        if second == 1 {
            rig.buy_within(1..=5, 61_000).await;
            rig.buy_within(11..=4_000, 300_000).await;
        }
        let mut now = 0;
        for shard in &mut expiry {
            now += shard.run(&rig.life).await.unwrap();
        }
        expired.push(now);
        rig.pass(1_000);
    }
    assert_eq!((expired.iter().sum::<u64>(), expired[62]), (5, 5), "{expired:?}");
}

/// With an open attempt in two steps: closed at the provider after its own end, then released.
#[tokio::test]
async fn an_open_payment_is_closed_before_its_order_expires() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.pass(WINDOW_MS);
    assert_eq!(rig.expire().await, 0, "it may be paid at this moment");
    assert_eq!(rig.status(order).await, Status::PendingPayment);
    rig.work().await;
    assert_eq!(rig.status(order).await, Status::Expired);
    assert!(rig.bank.pay(rig.till.account(), &number).is_err());
    assert_eq!(rig.outbox().await.0.len(), 1);
    let told: Vec<String> = rig.timeline(order).await.into_iter().map(|(_, what)| what).collect();
    assert_eq!(told, ["attempt", "attempt_closed", "expired"]);
}

/// Paid in the last second, and the notice is late: the close is refused, and the order is paid.
#[tokio::test]
async fn a_payment_of_the_last_second_counts() {
    let mut rig = Rig::start().await;
    let order = rig.buy([1]).await[0];
    let number = rig.pay(order, 1).await.expect(200)["number"].as_str().unwrap().parse().unwrap();
    rig.pass(WINDOW_MS - 16_000);
    rig.bank.pay(rig.till.account(), &number).unwrap();
    rig.pass(16_000);
    assert_eq!(rig.expire().await, 0);
    rig.work().await;
    assert_eq!((rig.status(order).await, rig.outbox().await.0.len()), (Status::Paid, 0));
}

/// How late units of unpaid orders may come back: told by the slowest shard, from the beginning of
/// its last whole round.
#[tokio::test]
async fn how_far_the_expiry_is_behind_is_told_by_its_slowest_shard() {
    let rig = Rig::start().await;
    let registry = Registry::new().unwrap();
    rig.life.show(&registry).unwrap();
    let behind = || {
        let text = registry.render().unwrap();
        let shown = text.lines().find_map(|line| line.strip_prefix("flashsale_expiry_behind_seconds ")).unwrap();
        shown.parse::<f64>().unwrap()
    };
    rig.pass(90_000);
    assert_eq!(behind(), 90.0, "since the start nothing was looked at");
    rig.expire().await;
    assert_eq!(behind(), 0.0);
    rig.pass(5_000);
    let shards = rig.shards();
    Expiry::new(&rig.life, shards[0]).run(&rig.life).await.unwrap();
    assert_eq!(behind(), if shards.len() > 1 { 5.0 } else { 0.0 });
    rig.expire().await;
    assert_eq!(behind(), 0.0);
}
