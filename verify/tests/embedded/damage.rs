//! What a folder may have come to: each gives a clear error that says what to do, and nothing in
//! the folder is changed.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use loadtest::audit::compare;
use verify::{child::Child, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that sold one unit and is at rest.
fn sold_one() -> Embedded {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    assert_eq!(embedded.buy(&embedded.token(42).unwrap(), "first").unwrap().0, 202);
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    embedded
}

/// The bytes of every file.
fn content(embedded: &Embedded) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(embedded.data()).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Serving must fail, soon, and say these words.
fn fails(server: &mut Child, words: &[&str]) {
    let status = server.wait(PATIENCE).unwrap();
    let text = server.tail();
    assert!(!status.success(), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

/// The same; then every file is as it was.
fn refuses(embedded: &Embedded, serve: impl FnOnce() -> Child, words: &[&str]) {
    let before = content(embedded);
    let mut server = serve();
    fails(&mut server, words);
    let text = server.tail();
    let after = content(embedded);
    let names = |content: &BTreeMap<PathBuf, Vec<u8>>| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "it said:\n{text}");
    let changed: Vec<_> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert!(changed.is_empty(), "{changed:?} changed; it said:\n{text}");
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let embedded = Embedded::new().unwrap();
    let mut first = embedded.serve().unwrap();
    embedded.wait_ready(&mut first).unwrap();
    let output = embedded.command("serve").args(["--port", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("in use") && text.contains(&first.id().to_string()) && text.contains("--data"), "{text}");
    assert!(first.ended().unwrap().is_none());
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let (embedded, other) = (Embedded::new().unwrap(), Embedded::new().unwrap());
    let mut first = embedded.serve().unwrap();
    embedded.wait_ready(&mut first).unwrap();
    let output = other.command("serve").args(embedded.ports()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains(&embedded.address().to_string()) && text.contains("--port"), "{text}");
}

#[test]
fn another_format_names_the_program_to_run() {
    let embedded = sold_one();
    for (format, word) in [("2\n", "newer"), ("0\n", "the flashsale that made it")] {
        fs::write(embedded.data().join("format"), format).unwrap();
        refuses(&embedded, || embedded.serve().unwrap(), &[word]);
    }
}

#[test]
fn other_divisions_than_the_folder_was_made_for_are_refused() {
    let embedded = sold_one();
    for (settings, words) in [
        ("[log]\npartitions = 3\n", ["partitions", "lanes"]),
        ("[databases]\nshards = 3\n", ["shard map", "set it back"]),
    ] {
        let file = embedded.scratch().join("settings.toml");
        fs::write(&file, settings).unwrap();
        let output = embedded.command("serve").args(embedded.ports()).arg("--config").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.iter().all(|word| text.contains(word)), "{text}");
    }
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
}

/// The first page of a database, and the others.
const PAGE: usize = 4096;

/// Corrupt pages: of the log, of the ledger, of the rows. Every healthy file keeps what it had:
/// with the damaged one restored, all is there.
#[test]
fn a_damaged_file_is_named_and_not_repaired() {
    // The log's other pages may stand in its write-ahead log still, and those are read first.
    let first = ["log.db", "shop_ledger.db", "shop_orders_00.db"].map(|file| (file, 0..PAGE));
    let others = ["shop_ledger.db", "shop_orders_00.db"].map(|file| (file, PAGE..usize::MAX));
    for (file, pages) in first.into_iter().chain(others) {
        let embedded = sold_one();
        let path = embedded.data().join(file);
        let healthy = fs::read(&path).unwrap();
        let mut damaged = healthy.clone();
        damaged[pages.start..pages.end.min(healthy.len())].fill(0x5a);
        fs::write(&path, &damaged).unwrap();
        let mut server = embedded.serve().unwrap();
        fails(&mut server, &[file, "restore"]);
        assert_eq!(fs::read(&path).unwrap(), damaged, "{file} was changed; it said:\n{}", server.tail());
        fs::write(&path, healthy).unwrap();
        let mut server = embedded.serve().unwrap();
        embedded.wait_ready(&mut server).unwrap();
        let evidence = embedded.evidence().unwrap();
        assert_eq!(evidence.rows.len(), 1, "{file}");
        assert!(compare(&evidence).is_clean(), "{file}: {:?}", compare(&evidence));
    }
}

/// As an ordinary user: to root every folder is writable.
fn unprivileged(embedded: &Embedded, shell: &str) -> Command {
    let mut starter = Command::new("setpriv");
    starter.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "sh", "-c", shell]);
    starter.arg(embedded.program());
    starter
}

#[test]
fn a_folder_that_may_not_be_written_to_is_told() {
    let embedded = sold_one();
    let everything = Command::new("chown").args(["-R", "65534"]).args([embedded.scratch(), &embedded.data()]).status();
    assert!(everything.unwrap().success());
    fs::set_permissions(embedded.data(), fs::Permissions::from_mode(0o500)).unwrap();
    let mut command = embedded.command_by(unprivileged(&embedded, "exec \"$0\" \"$@\""), "serve");
    command.args(embedded.ports());
    let serve = || Child::start("flashsale", command, embedded.scratch()).unwrap();
    refuses(&embedded, serve, &["denied", "let this user write there"]);
}
