//! Goal: an entry that does not sum to zero cannot be stored; a changed entry of a closed day is
//! found.

use kit::clock::Clock as _;
use store::sql::{Sql as _, SqlError};

use super::rig::{DAY_MS, Rig, bought};

#[tokio::test]
async fn the_database_itself_refuses_an_entry_that_does_not_sum_to_zero() {
    let rig = Rig::empty().await;
    let insert = |pending| {
        format!(
            "INSERT INTO entries (tenant, subject, kind, sequence, rule_name, person, plan_name, plan_version, \
             day_number, at_ms, expense, pending, available, withdrawing, paid, receivable, fee, tax, breakage, pool) \
             VALUES (7, 1, 1, 2, 'a', 12, 'p', 1, 0, 0, -10, {pending}, 0, 0, 0, 0, 0, 0, 0, 0)"
        )
    };
    let refused = rig.sql.exec(&insert(9), vec![]).await.unwrap_err();
    assert!(matches!(refused, SqlError::Unfit(_) | SqlError::Broken(_)), "{refused:?}");
    assert_eq!(rig.count("entries").await, 0);
    rig.sql.exec(&insert(10), vec![]).await.unwrap();
    let again = rig.sql.exec(&insert(10), vec![]).await.unwrap_err();
    assert!(matches!(again, SqlError::KeyTaken(_)), "one event pays one beneficiary by one rule once: {again:?}");
}

#[tokio::test]
async fn a_changed_entry_of_a_closed_day_is_found() {
    let rig = Rig::start().await;
    for day in 0..3 {
        rig.feed(&bought(20, rig.clock.now_ms(), day)).await;
        rig.pass(DAY_MS);
    }
    assert_eq!(rig.service.close_days().await.unwrap(), 2, "today and its hour of grace stay open");
    rig.pass(DAY_MS);
    assert_eq!((rig.service.close_days().await.unwrap(), rig.service.close_days().await.unwrap()), (1, 0));
    let holds = async || rig.merchant("GET", "ledger/verification", None).await.expect(200).clone();
    assert_eq!(holds().await["holds"], true);
    let change = "UPDATE entries SET pending = pending + 1, expense = expense - 1 WHERE person = 11 AND day_number = \
                  (SELECT day_number FROM (SELECT MAX(day_number) AS day_number FROM entries) AS last)";
    assert_eq!(rig.sql.exec(change, vec![]).await.unwrap(), 1);
    let broken = holds().await;
    assert_eq!(
        (&broken["holds"], broken["broken_day"].as_u64()),
        (&false.into(), Some(super::rig::BEGIN_MS / DAY_MS + 2))
    );
}
