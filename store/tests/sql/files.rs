//! Goal: what was committed is found by whoever opens the folder next, and everything it needs for
//! that is in force.

use std::sync::atomic::Ordering::Relaxed;

use domain::shard::ShardId;
use store::{
    orders::Written,
    sql::{Row, Server, Sql, SqlError, Tx, sqlite::Sqlite},
};

use super::folder::Folder;
use crate::suite::support::{Adapter, PARTITION, Space, deployment, progress, row, write};

fn int(rows: Vec<Row>) -> i64 {
    rows.into_iter().next().unwrap().int().unwrap()
}

/// Closed in order, or dropped as when the program ends at once.
#[tokio::test]
async fn reopening_finds_everything() {
    let d = deployment(&Folder::new(), 2, 2).await;
    let rows: Vec<_> = (1..=50).map(row).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.order).collect();
    assert_eq!(write(&d.orders, 1, &rows, &[]).await, [Written::Done, Written::Done]);
    for closed in [false, true] {
        let again = d.space.open(2, 2).await.unwrap();
        let found = again.orders.find(&ids).await.unwrap();
        assert!(rows.iter().all(|row| found[&row.order] == *row));
        assert_eq!(again.orders.progress(PARTITION).await.unwrap(), [Some(progress(1, 1)); 2]);
        if closed {
            again.close().await;
        }
    }
}

#[tokio::test]
async fn closing_leaves_one_file() {
    let folder = Folder::new();
    let d = deployment(&folder, 1, 1).await;
    assert_eq!(write(&d.orders, 1, &[row(1)], &[]).await, [Written::Done]);
    assert!(folder.path().join(format!("{}.db-wal", d.space.orders(0))).exists());
    d.store.close().await;
    let mut files: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files, [folder.file(&d.space.ledger()), folder.file(&d.space.orders(0))]);
}

/// What keeps a commit from being lost, asked of the connection that commits; and that the others
/// cannot write.
#[tokio::test]
async fn pragmas_are_in_force() {
    let d = deployment(&Folder::new(), 1, 1).await;
    let db = d.space.hand(&d.space.orders(0));
    let mut tx = db.begin().await.unwrap();
    for (pragma, wanted) in [("synchronous", 2), ("fullfsync", 1), ("checkpoint_fullfsync", 1), ("query_only", 0)] {
        let found = int(tx.rows(&format!("PRAGMA {pragma}"), vec![]).await.unwrap());
        assert_eq!(found, wanted, "{pragma}");
    }
    let mode = tx.rows("PRAGMA journal_mode", vec![]).await.unwrap().into_iter().next().unwrap().text().unwrap();
    assert_eq!(mode, "wal");
    tx.rollback().await;
    assert_eq!(int(db.rows("PRAGMA query_only", vec![]).await.unwrap()), 1);
    let refused = db.rows("DELETE FROM progress", vec![]).await;
    assert!(matches!(refused, Err(SqlError::Broken(_))), "{refused:?}");
}

#[tokio::test]
async fn the_clock_is_the_one_given() {
    let folder = Folder::new();
    let d = deployment(&folder, 1, 1).await;
    for now in [7, 1_767_225_600_000] {
        folder.now_ms.store(now, Relaxed);
        assert_eq!(d.orders.now_ms(ShardId(0)).await.unwrap(), now);
        assert_eq!(d.ledger.now_ms().await.unwrap(), now);
    }
}

/// Two handles, as two processes would have: each transaction sees what the one before has written.
#[tokio::test]
async fn two_writers_of_one_file_take_turns() {
    let d = deployment(&Folder::new(), 1, 1).await;
    let name = d.space.orders(0);
    d.space.hand(&name).exec("INSERT INTO progress VALUES (1, 1, 0, 0)", vec![]).await.unwrap();
    let count = async |db: Sqlite| {
        for _ in 0..25 {
            let mut tx = db.begin().await.unwrap();
            let before = int(tx.rows("SELECT log_offset FROM progress", vec![]).await.unwrap());
            tx.exec("UPDATE progress SET log_offset = ?", vec![(before + 1).into()]).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    tokio::join!(count(d.space.hand(&name)), count(d.space.hand(&name)));
    assert_eq!(d.space.count(&name, "progress WHERE log_offset = 50").await, 1);
}

#[tokio::test]
async fn a_name_is_no_path() {
    let folder = Folder::new();
    let space = Space::new(&folder);
    let server = folder.server();
    for name in ["", "../x", "a.b", "a/b"] {
        assert!(matches!(server.create(name).await, Err(SqlError::Broken(_))), "{name}");
        assert!(matches!(server.open(name).rows("SELECT 1", vec![]).await, Err(SqlError::Broken(_))), "{name}");
    }
    assert!(!folder.path().exists());
    assert_eq!(server.databases(&space.ledger()).await.unwrap(), [""; 0]);
}
