//! What a database's handle tells of its pool and statements.

use domain::shard::ShardId;
use store::{figures::DatabaseFigures, orders::Written};

use super::support::{Adapter, PARTITION, deployment, progress, row, write};

pub(crate) async fn statements_are_counted_by_what_came_of_them_and_connections_by_what_they_do<A: Adapter>(
    adapter: A,
) {
    let d = deployment(&adapter, 1, 1).await;
    let opened = d.orders.figures();
    assert!(opened.statements.answered > 0, "the migration's");
    assert_eq!((opened.statements.refused, opened.statements.broken), (0, 0));
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    let written = d.orders.figures();
    assert!(written.statements.answered >= opened.statements.answered + 4, "{written:?}");
    assert_eq!(write(&d.orders, 2, &[row(1)], &[]).await, [Written::KeyTaken]);
    d.orders.begin_progress(ShardId(0), PARTITION, progress(1, 9)).await.unwrap();
    let DatabaseFigures { pool, statements } = d.orders.figures();
    assert!(statements.refused > 0, "a taken key: {statements:?}");
    assert_eq!((statements.unknown, statements.broken), (0, 0));
    assert_eq!((pool.in_use, pool.waiting), (0, 0));
    assert!((1..=pool.max).contains(&pool.idle), "{pool:?}");
    assert!(d.ledger.figures().statements.answered > 0, "the ledger counts its own");
}
