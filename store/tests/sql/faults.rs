//! Goal: a fault is an error that says what to do, in time, and nothing is damaged by it. Method:
//! the file, its folder and its limits are spoilt from outside.

use std::{
    fs,
    future::Future,
    os::unix::{
        fs::{FileExt, MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use domain::shard::ShardMap;
use store::{
    orders::Written,
    shards::{self, Namespace, OpenError},
    sql::{
        Server, Sql, SqlError, Tx,
        sqlite::{Settings, Sqlite, SqliteServer},
    },
};

use super::folder::Folder;
use crate::suite::support::{Adapter, Deployment, PARTITION, deployment, progress, row, write};

/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Counts for ever.
const ENDLESS: &str =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n WHERE i < 0";

async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}

fn broken<T>(result: Result<T, OpenError>) -> String {
    match result.map(drop) {
        Err(OpenError::Sql(SqlError::Broken(cause))) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Method: the file may not grow, which SQLite tells as it tells a full disk; then it may again.
#[tokio::test]
async fn a_full_disk_undoes_the_transaction_and_heals() {
    let d = deployment(&Folder::new(), 1, 1).await;
    let rows: Vec<_> = (1..=600).map(row).collect();
    assert_eq!(write(&d.orders, 1, &rows[..1], &[]).await, [Written::Done]);
    let db = d.space.hand(&d.space.orders(0));
    let limited = async |pages: i64| {
        let mut tx = db.begin().await.unwrap();
        tx.rows(&format!("PRAGMA max_page_count = {pages}"), vec![]).await.unwrap();
        tx.commit().await.unwrap();
    };
    limited(1).await; // SQLite takes the pages there are for the least.
    let mut tx = db.begin().await.unwrap();
    tx.exec("UPDATE progress SET log_offset = 99", vec![]).await.unwrap();
    let grow = "INSERT INTO outbox (id, order_id, lane, partition_id, payload, created_at) VALUES (?, 1, 1, 1, zeroblob(100000), 0)";
    let full = tx.exec(grow, vec![1_i64.into()]).await.unwrap_err();
    assert!(full.is_unknown() && full.to_string().contains("is full: make room; nothing is lost"), "{full:?}");
    assert!(tx.commit().await.is_err(), "what was undone is never committed");
    assert!(db.exec(grow, vec![2_i64.into()]).await.is_err());
    assert_eq!(d.orders.progress(PARTITION).await.unwrap(), [Some(progress(1, 1))]);
    assert_eq!(d.space.count(&d.space.orders(0), "outbox").await, 0);

    limited(1_000_000).await;
    assert_eq!(db.exec(grow, vec![2_i64.into()]).await, Ok(1));
    assert_eq!(write(&d.orders, 2, &rows[1..], &[]).await, [Written::Done]);
}

/// A deployment that is closed, and its namespace.
async fn closed(folder: &Folder) -> Deployment<Folder> {
    let d = deployment(folder, 1, 1).await;
    let rows: Vec<_> = (1..=600).map(row).collect();
    assert_eq!(write(&d.orders, 1, &rows, &[]).await, [Written::Done]);
    d.store.close().await;
    d
}

/// Its header, and its last pages: whoever meets it says so, and leaves the file as it is.
#[tokio::test]
async fn a_damaged_file_is_said_and_left_alone() {
    let folder = Folder::new();
    let d = closed(&folder).await;
    let path = folder.file(&d.space.orders(0));
    let sound = fs::read(&path).unwrap();
    let spoilt = |from: usize, bytes: usize| {
        fs::write(&path, &sound).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xa5; bytes], from as u64).unwrap();
        fs::read(&path).unwrap()
    };
    let header = spoilt(0, 100);
    let text = broken(d.space.open(1, 1).await);
    assert!(text.contains(path.to_str().unwrap()) && text.contains("is damaged") && text.contains("restore"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), header);

    // Behind the pages of the schema, which the opening reads: rows came last.
    let rows = sound.len() - 4096 * 12;
    let middle = spoilt(rows, sound.len() - rows);
    let store = d.space.open(1, 1).await.unwrap();
    let ids: Vec<_> = (1..=600).map(|n| row(n).order).collect();
    let read = store.orders.find(&ids).await;
    assert!(matches!(&read, Err(SqlError::Broken(cause)) if cause.to_string().contains("is damaged")), "{read:?}");
    store.close().await;
    assert_eq!(fs::read(&path).unwrap(), middle);

    fs::write(&path, &sound).unwrap();
    let store = d.space.open(1, 1).await.unwrap();
    assert_eq!(store.orders.find(&ids).await.unwrap().len(), 600);
}

/// A connection that met a spoilt file is not used again: a sound one in its place is found without
/// a restart.
#[tokio::test]
async fn a_file_that_was_restored_is_found() {
    let folder = Folder::new();
    let d = closed(&folder).await;
    let path = folder.file(&d.space.orders(0));
    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    let db = d.space.hand(&d.space.orders(0));
    let query = "SELECT COUNT(*) FROM orders_0";
    let missing = db.rows(query, vec![]).await.unwrap_err();
    assert!(missing.is_unknown() && missing.to_string().contains("see that it is there"), "{missing:?}");
    assert!(!path.exists(), "a file that is missing is not made anew");
    fs::rename(&away, &path).unwrap();
    assert_eq!(db.rows(query, vec![]).await.unwrap().len(), 1);
}

const FOLDER: &str = "FLASHSALE_TEST_READ_ONLY";

/// Method: the superuser may write everywhere, so he runs this test again as somebody who may not.
#[tokio::test]
async fn a_read_only_folder_is_said() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return refused_to_write(PathBuf::from(folder)).await;
    }
    let folder = Folder::new();
    let d = closed(&folder).await;
    let (path, file) = (folder.path(), folder.file(&d.space.orders(0)));
    let before = fs::read(&file).unwrap();
    let files = [d.space.ledger(), d.space.orders(0)].map(|name| folder.file(&name));
    let allow = |mode_of_files: u32, mode: u32| {
        files.iter().for_each(|file| fs::set_permissions(file, PermissionsExt::from_mode(mode_of_files)).unwrap());
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    allow(0o444, 0o555);
    if fs::metadata(&file).unwrap().uid() == 0 {
        fs::set_permissions(path.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "sql::faults::a_read_only_folder_is_said", "--nocapture"]).uid(65_534).gid(65_534);
        let ran = again.env(FOLDER, &path).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && told.contains("1 passed"), "{told}");
    } else {
        refused_to_write(path.clone()).await;
    }
    allow(0o644, 0o755);
    assert_eq!(fs::read(&file).unwrap(), before);
    d.space.open(1, 1).await.unwrap().close().await;
}

async fn refused_to_write(path: PathBuf) {
    let ledger = path.read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let name = ledger.filter_map(|name| name.strip_suffix("_ledger.db").map(Namespace::new)).next().unwrap().unwrap();
    for name in [name, Namespace::new("another").unwrap()] {
        let server = Folder::new().server_in(path.clone());
        let text = match shards::open(&server, &name, ShardMap::even(1, 1).unwrap()).await.map(drop) {
            Err(OpenError::Sql(SqlError::Broken(cause) | SqlError::Unreachable(cause))) => cause.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(text.contains(path.to_str().unwrap()) && text.contains("this user"), "{text}");
    }
}

#[tokio::test]
async fn a_newer_programs_file_is_refused() {
    let folder = Folder::new();
    let d = closed(&folder).await;
    let db = d.space.hand(&d.space.orders(0));
    db.exec("INSERT INTO migrations VALUES ('999', 1)", vec![]).await.unwrap();
    db.close().await;
    let before = fs::read(folder.file(&d.space.orders(0))).unwrap();
    let text = broken(d.space.open(1, 1).await);
    assert!(text.contains("made by a newer program") && text.contains("use that program"), "{text}");
    assert_eq!(fs::read(folder.file(&d.space.orders(0))).unwrap(), before);
}

/// A database with one reader only: while it works on an endless statement nobody else is served.
async fn single_reader(folder: &Folder, statement_timeout: Duration) -> Sqlite {
    let settings =
        Settings { readers: 1, lock_wait: Duration::from_millis(100), statement_timeout, ..Settings::default() };
    let server = SqliteServer::new(folder.path(), std::sync::Arc::new(|| 0), settings).unwrap();
    server.create("a").await.unwrap();
    server.open("a")
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_interrupted() {
    let short = Duration::from_millis(100);
    let folder = Folder::new();
    let db = single_reader(&folder, short).await;
    assert_eq!(db.rows(ENDLESS, vec![]).await.unwrap_err(), SqlError::Timeout(2 * short));
    until(async || db.rows("SELECT 1", vec![]).await.is_ok()).await;
}

/// The statement's own timeout never comes: only the dropped call can end it.
#[tokio::test]
async fn a_statement_whose_call_is_dropped_is_interrupted() {
    let folder = Folder::new();
    let db = single_reader(&folder, 10 * PATIENCE).await;
    let calling = tokio::spawn({
        let db = db.clone();
        async move { db.rows(ENDLESS, vec![]).await.map(drop) }
    });
    until(async || db.figures().pool.in_use == 1).await;
    calling.abort();
    let served = tokio::time::timeout(PATIENCE, db.rows("SELECT 1", vec![])).await;
    assert!(matches!(served, Ok(Ok(_))), "{served:?}");
}

/// A call that waits for its turn and is dropped never happens.
#[tokio::test]
async fn a_call_that_is_dropped_before_its_turn_never_happens() {
    let folder = Folder::new();
    let d = deployment(&folder, 1, 1).await;
    let db = d.space.hand(&d.space.orders(0));
    let insert = |partition: i64| format!("INSERT INTO progress VALUES ({partition}, 1, 0, 0)");
    let tx = db.begin().await.unwrap();
    let waiting = tokio::spawn({
        let (db, insert) = (db.clone(), insert(1));
        async move { db.exec(&insert, vec![]).await }
    });
    until(async || db.figures().pool.waiting == 1).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    tx.rollback().await;
    assert_eq!(db.exec(&insert(2), vec![]).await, Ok(1));
    assert_eq!(d.space.count(&d.space.orders(0), "progress").await, 1);
}

#[tokio::test]
async fn unusable_settings_are_refused() {
    let settings = Settings { readers: 0, ..Settings::default() };
    let refused = SqliteServer::new(Folder::new().path(), std::sync::Arc::new(|| 0), settings);
    assert!(refused.unwrap_err().to_string().contains("at least one reader"));
    assert!(Folder::new().server().databases("").await.unwrap().is_empty());
}
