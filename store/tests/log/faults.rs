//! What goes wrong with a file: clear words that say what to do, and no damage.

use std::{fs, io::Write, path::Path};

use store::log::{
    OrderLog, OrderLogSource, PartitionReader, ReadError,
    sqlite::{SqliteLog, SqliteSettings, SqliteSetupError, SqliteSource},
};

use super::rig::Folder;
use crate::contract::{FIRST, PARTITIONS, PATIENCE, append, append_all, read, record};

const PAGE: usize = 8192;

fn refused(folder: &Folder) -> SqliteSetupError {
    refused_as(folder, &folder.settings())
}

/// Opens in vain, and finds every file of the folder as it was.
fn refused_as(folder: &Folder, settings: &SqliteSettings) -> SqliteSetupError {
    let path = folder.path();
    let before = contents(&path);
    let Err(error) = SqliteLog::open(&path, settings) else { panic!("it was opened") };
    assert!(contents(&path) == before, "the folder has changed");
    error
}

fn contents(path: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> = files.map(|file| (file.file_name(), fs::read(file.path()).unwrap())).collect();
    files.sort_unstable();
    files
}

/// R7: on a full disk nothing is acknowledged; with room again the log goes on by itself, without a
/// gap.
#[tokio::test]
async fn a_full_disk_says_so_and_the_log_heals() {
    let folder = Folder::new();
    let settings = SqliteSettings { file_bytes_max: Some(40 * PAGE as u64), ..folder.settings() };
    let log = SqliteLog::open(&folder.path(), &settings).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match log.append(FIRST, record(acknowledged + 1, vec![7; 6_000]), log.room().unwrap()).await {
            Ok(offset) => assert_eq!(offset, acknowledged),
            Err(error) => break error.to_string(),
        }
        acknowledged += 1;
    };
    assert!(error.contains("is full") && error.contains("make room"), "{error}");
    assert_eq!(log.in_flight(), 0);
    assert_eq!(log.figures().appended.refused, 1);
    log.append(FIRST, record(999, vec![7; 6_000]), log.room().unwrap()).await.expect_err("it is full still");

    folder.pass_retention();
    log.keep_from(FIRST, acknowledged);
    assert_eq!(log.purge().await.unwrap(), acknowledged - 1);
    for number in 1..5 {
        let offset = append(&log, FIRST, &record(1_000 + number, vec![8; 6_000])).await;
        assert_eq!(offset, acknowledged + number - 1, "no offset for what was refused");
    }
    let mut reader = SqliteSource::new(&log).reader(FIRST).unwrap();
    let ids: Vec<u64> = read(&mut reader, 5).await.iter().map(|entry| entry.id.unwrap().get()).collect();
    assert_eq!(ids, [acknowledged, 1_001, 1_002, 1_003, 1_004]);
}

#[tokio::test]
async fn a_group_that_fails_is_refused_as_a_whole() {
    let folder = Folder::new();
    let settings = SqliteSettings { file_bytes_max: Some(40 * PAGE as u64), ..folder.settings() };
    let log = SqliteLog::open(&folder.path(), &settings).unwrap();
    let appends: Vec<_> =
        (1..=64).map(|number| log.append(FIRST, record(number, vec![7; 100_000]), log.room().unwrap())).collect();
    let mut acknowledged = Vec::new();
    for append in appends {
        acknowledged.extend(append.await.ok());
    }
    assert_eq!(log.flush(PATIENCE).await, 0);
    let marks = SqliteSource::new(&log).reader(FIRST).unwrap().watermarks().await.unwrap();
    assert_eq!(acknowledged, (0..marks.high).collect::<Vec<_>>());
    assert_eq!(log.figures().appended.refused, 64 - marks.high);
}

#[tokio::test]
async fn another_programs_file_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.path(), "somebody's notes").unwrap();
    assert!(matches!(refused(&folder), SqliteSetupError::Foreign(_)));
    fs::write(folder.path(), "somebody's notes, and more than a header is long: ".repeat(9)).unwrap();
    assert!(matches!(refused(&folder), SqliteSetupError::Foreign(_)));

    let folder = Folder::new();
    let raw = rusqlite::Connection::open(folder.path()).unwrap();
    raw.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE theirs (n); INSERT INTO theirs VALUES (1)").unwrap();
    let error = refused(&folder);
    assert!(matches!(error, SqliteSetupError::Foreign(_)));
    assert!(error.to_string().contains("choose another data folder"), "{error}");
}

#[tokio::test]
async fn another_format_is_left_alone() {
    let folder = Folder::new();
    append_all(&folder.open(), FIRST, 3).await;
    let mut file = fs::read(folder.path()).unwrap();
    file[63] = 9;
    fs::write(folder.path(), file).unwrap();
    let error = refused(&folder);
    assert!(matches!(error, SqliteSetupError::OtherFormat { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("run the version that wrote it"), "{error}");
}

#[tokio::test]
async fn other_partitions_are_refused() {
    let folder = Folder::new();
    append_all(&folder.open(), FIRST, 3).await;
    let settings = SqliteSettings { partitions: PARTITIONS + 1, ..folder.settings() };
    match refused_as(&folder, &settings) {
        SqliteSetupError::Partitions { found, expected, .. } => {
            assert_eq!((found, expected), (PARTITIONS, PARTITIONS + 1))
        }
        other => panic!("{other}"),
    }
    assert!(matches!(
        refused_as(&folder, &SqliteSettings { partitions: 0, ..folder.settings() }),
        SqliteSetupError::NoSuchShape(0)
    ));
    assert!(matches!(
        refused_as(&folder, &SqliteSettings { queue_bytes_max: 1, ..folder.settings() }),
        SqliteSetupError::NoRoom
    ));
}

#[tokio::test]
async fn a_damaged_file_says_so_at_the_start() {
    let folder = Folder::new();
    append_all(&folder.open(), FIRST, 300).await;
    let mut file = fs::read(folder.path()).unwrap();
    file[PAGE..].fill(0xaa);
    fs::write(folder.path(), file).unwrap();
    let error = refused(&folder).to_string();
    assert!(error.contains("is damaged") && error.contains("backup"), "{error}");
}

#[tokio::test]
async fn a_page_damaged_in_the_middle_says_so_when_it_is_read() {
    let folder = Folder::new();
    let log = folder.open();
    for number in 1..=100 {
        append(&log, FIRST, &record(number, vec![7; 3_000])).await;
    }
    drop(log);
    let pages = fs::metadata(folder.path()).unwrap().len() as usize / PAGE;
    let mut file = fs::OpenOptions::new().write(true).open(folder.path()).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start((pages / 2 * PAGE) as u64)).unwrap();
    file.write_all(&[0xaa; PAGE]).unwrap();
    drop(file);

    let log = folder.open();
    let mut reader = SqliteSource::new(&log).reader(FIRST).unwrap();
    let error = loop {
        match reader.read(1, 1, PATIENCE).await {
            Ok(entries) => assert!(!entries.is_empty()),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, ReadError::Unavailable(why) if why.to_string().contains("is damaged")), "{error}");
    assert_eq!(append(&log, FIRST, &record(101, "p")).await, 100, "what is whole goes on");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let folder = Folder::new();
    let open = |path: &Path| SqliteLog::open(path, &folder.settings()).err().expect("it was opened").to_string();
    let error = open(&folder.path().join("nowhere/log.db"));
    assert!(error.contains("check that"), "{error}");
    let error = open(folder.path().parent().unwrap());
    assert!(error.contains("check that"), "{error}");
    // Nobody can make a file there, not even who may do anything.
    let error = open(Path::new("/proc/log.db"));
    assert!(error.contains("check that its folder exists and that this program's user may write there"), "{error}");
}
