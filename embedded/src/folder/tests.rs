//! Each folder is what somebody may come to have; what is refused is left as it was.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_folder_is_made_once_and_its_keys_stay() {
    let temp = folder();
    let path = temp.path().join("a/b");
    let first = Folder::open(&path).unwrap();
    assert!(first.is_new());
    let (token, control) = (first.token_key().unwrap().kid().to_owned(), first.control_key().unwrap());
    drop(first);
    let again = Folder::open(&path).unwrap();
    assert!(!again.is_new());
    assert_eq!((again.token_key().unwrap().kid(), again.control_key().unwrap()), (token.as_str(), control));
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let temp = folder();
    let first = Folder::open(temp.path()).unwrap();
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let note = ServerNote { pid: 7, listen: local(1), admin: local(2) };
    first.note_server(&note).unwrap();
    let told = Folder::open(temp.path()).unwrap_err().to_string();
    assert!(told.contains("process 7") && told.contains("--data"), "{told}");
    assert_eq!(running(temp.path()).unwrap(), Some(note));
    drop(first);
    assert_eq!(running(temp.path()).unwrap(), None);
    Folder::open(temp.path()).unwrap();
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let temp = folder();
    fs::write(temp.path().join("thesis.txt"), "x").unwrap();
    assert!(matches!(Folder::open(temp.path()), Err(FolderError::Foreign { .. })));
    assert!(matches!(running(temp.path()), Err(FolderError::Missing { .. })));
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn another_format_is_not_touched_and_says_which_program_to_run() {
    let temp = folder();
    drop(Folder::open(temp.path()).unwrap());
    for (format, expected) in [("2\n", "newer"), ("0\n", "the flashsale that made it"), ("x", "damaged")] {
        fs::write(temp.path().join(FORMAT_FILE), format).unwrap();
        let told = Folder::open(temp.path()).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
        assert_eq!(fs::read_to_string(temp.path().join(FORMAT_FILE)).unwrap(), format);
    }
}

#[test]
fn a_damaged_key_is_told_and_not_replaced() {
    let temp = folder();
    let folder = Folder::open(temp.path()).unwrap();
    folder.token_key().unwrap();
    fs::write(temp.path().join(TOKEN_KEY_FILE), "kid = 'a'\nsecret = 'short'").unwrap();
    assert!(folder.token_key().unwrap_err().to_string().contains("damaged"));
    assert!(fs::read_to_string(temp.path().join(TOKEN_KEY_FILE)).unwrap().contains("short"));
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What was open before the first start, or before this version, is closed: databases hold who
/// bought what.
#[test]
fn a_folder_that_others_may_read_is_closed_with_its_files() {
    let temp = folder();
    set_mode(temp.path(), 0o755);
    drop(Folder::open(temp.path()).unwrap());
    assert_eq!(mode(temp.path()), 0o700, "a new one");
    let database = temp.path().join("log.db");
    fs::write(&database, "").unwrap();
    set_mode(&database, 0o644);
    set_mode(temp.path(), 0o755);
    drop(Folder::open(temp.path()).unwrap());
    assert_eq!((mode(temp.path()), mode(&database)), (0o700, 0o600), "an old one");
}

/// Whoever could write there may have put a key of theirs there.
#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let temp = folder();
    set_mode(temp.path(), 0o777);
    drop(Folder::open(temp.path()).unwrap());
    assert_eq!(mode(temp.path()), 0o700, "an empty one holds nothing of theirs");
    for open in [0o770, 0o702] {
        set_mode(temp.path(), open);
        for refused in [Folder::open(temp.path()).map(drop), running(temp.path()).map(drop)] {
            let error = refused.unwrap_err();
            assert!(matches!(error, FolderError::Open { mode, .. } if mode == open), "{error}");
            assert!(error.to_string().contains("chmod") && error.exit() == Exit::Permission, "{error}");
        }
        assert_eq!(mode(temp.path()), open, "left as it was");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let temp = folder();
    let folder = Folder::open(temp.path()).unwrap();
    folder.token_key().unwrap();
    folder.control_key().unwrap();
    folder.vault_key().unwrap();
    for name in KEY_FILES {
        set_mode(&temp.path().join(name), 0o640);
    }
    for refused in [folder.token_key().map(drop), folder.control_key().map(drop), folder.vault_key().map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, FolderError::OpenKey { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    drop(folder);
    // A restart does not close it silently either.
    assert!(Folder::open(temp.path()).unwrap().token_key().is_err());
}

/// A link leads to whatever its maker likes, and so does a pipe.
#[test]
fn what_is_planted_in_the_place_of_a_key_is_refused() {
    let (temp, elsewhere) = (folder(), folder());
    let theirs = elsewhere.path().join("token.key");
    fs::write(&theirs, "kid = 'x'\nsecret = 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY'\n").unwrap();
    set_mode(&theirs, 0o600);
    let folder = Folder::open(temp.path()).unwrap();
    let path = temp.path().join(TOKEN_KEY_FILE);
    std::os::unix::fs::symlink(&theirs, &path).unwrap();
    assert!(matches!(folder.token_key(), Err(FolderError::NoKeyFile { .. })));
    fs::remove_file(&theirs).unwrap();
    assert!(matches!(folder.token_key(), Err(FolderError::NoKeyFile { .. })), "a link to nothing");
    assert!(!theirs.exists(), "nothing was made where it leads");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(folder.token_key(), Err(FolderError::NoKeyFile { .. })));
    fs::remove_dir(&path).unwrap();
    folder.token_key().unwrap();
}

/// Only root may give files away: elsewhere this test has nothing to see.
#[test]
fn what_belongs_to_another_user_is_refused() {
    let temp = folder();
    let opened = Folder::open(temp.path()).unwrap();
    opened.token_key().unwrap();
    let key = temp.path().join(TOKEN_KEY_FILE);
    if std::os::unix::fs::chown(&key, Some(65_534), None).is_err() {
        return;
    }
    assert!(matches!(opened.token_key(), Err(FolderError::NotOurs { owner: 65_534, .. })));
    drop(opened);
    assert!(matches!(Folder::open(temp.path()), Err(FolderError::NotOurs { .. })), "one file is enough");
    std::os::unix::fs::chown(temp.path(), Some(65_534), None).unwrap();
    for refused in [Folder::open(temp.path()).map(drop), running(temp.path()).map(drop)] {
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("belongs to user 65534") && told.contains("--data"), "{told}");
    }
}

/// A draft that lies there when the key is made, whoever made it, does not become the key.
#[test]
fn a_leftover_draft_never_becomes_a_key() {
    let temp = folder();
    let planted = "kid = 'x'\nsecret = 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY'\n";
    let id = uuid::Uuid::new_v4().simple().to_string();
    let drafts = ["token.new".to_owned(), "format.new".to_owned(), format!(".token.key.{id}.new")];
    for draft in &drafts {
        fs::write(temp.path().join(draft), planted).unwrap();
        set_mode(&temp.path().join(draft), 0o666);
    }
    let folder = Folder::open(temp.path()).unwrap();
    assert!(folder.is_new(), "drafts alone are what a start leaves that died");
    assert_eq!(folder.token_key().unwrap().kid(), "shop");
    assert_eq!(mode(&temp.path().join(TOKEN_KEY_FILE)), 0o600);
    assert!(drafts.iter().all(|draft| !temp.path().join(draft).exists()));
    assert!(files::write_once(&temp.path().join(TOKEN_KEY_FILE), planted).is_err(), "never over another one");
    assert_eq!(folder.token_key().unwrap().kid(), "shop");
    for other in ["x.new", ".x.new", ".token.key.1.new", "token.key"] {
        assert!(!files::is_draft(other), "{other}");
    }
}

/// A key that says nothing of tenants was made by an earlier version: it signs for every shop of
/// the folder.
#[test]
fn a_key_of_an_earlier_version_keeps_signing() {
    let temp = folder();
    let folder = Folder::open(temp.path()).unwrap();
    folder.token_key().unwrap();
    let path = temp.path().join(TOKEN_KEY_FILE);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("tenants = \"*\""), "{text}");
    fs::write(&path, text.replace("tenants = \"*\"", "")).unwrap();
    folder.token_key().unwrap();
    fs::write(&path, text.replace('*', "7+8")).unwrap();
    assert!(format!("{:?}", folder.token_key().unwrap()).contains("[7, 8]"));
    fs::write(&path, text.replace('*', "all")).unwrap();
    assert!(folder.token_key().unwrap_err().to_string().contains("damaged"));
}

#[test]
fn the_systems_errors_say_their_own_cause() {
    let told = |kind: ErrorKind| FolderError::Io { path: "x".into(), source: kind.into() };
    for (kind, word, exit) in [
        (ErrorKind::PermissionDenied, "let this user write there", Exit::Permission),
        (ErrorKind::StorageFull, "make room", Exit::Disk),
        (ErrorKind::ReadOnlyFilesystem, "read-only", Exit::Disk),
        (ErrorKind::FileTooLarge, "ulimit", Exit::Disk),
    ] {
        let error = told(kind);
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(error.exit(), exit, "{error}");
    }
    assert!(!told(ErrorKind::PermissionDenied).to_string().contains("room"));
}

#[test]
fn a_file_is_no_folder() {
    let temp = folder();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    let error = running(&file).unwrap_err();
    assert!(matches!(error, FolderError::NoFolder { .. }), "{error}");
    let error = Folder::open(&file).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
}
