//! `flashsale backup` while a server sells: a copy is whole or not there, and a server that starts
//! on it has every order that had its row when the copy began, and is clean.

use std::{collections::HashSet, fs, path::PathBuf, time::Duration};

use verify::{
    child::{Child, wait_until},
    embedded::Embedded,
    load_test::LoadTest,
};

use super::events::{look, orders};

const SELLOUT: LoadTest = LoadTest { scenario: "sellout", units: 4_000, buyers: 8_000, rate: 800 };
/// Sold before the first copy begins.
const BEFORE: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(60);
/// Copies that may be whole before one is killed in the middle.
const TRIES: usize = 50;

/// Starts backups until one is killed in the middle; returns where it was to go.
fn killed_in_the_middle(embedded: &Embedded) -> PathBuf {
    for number in 0..TRIES {
        let to = embedded.scratch().join(format!("copy-{number}"));
        let partial = embedded.scratch().join(format!("copy-{number}.partial"));
        let mut command = embedded.command("backup");
        command.arg(&to);
        let mut backup = Child::start("backup", command, embedded.scratch()).unwrap();
        wait_until("a file is copied", PATIENCE, || {
            let is_begun = fs::read_dir(&partial).is_ok_and(|files| files.count() > 2);
            Ok(is_begun || backup.ended()?.is_some())
        })
        .unwrap();
        backup.kill().unwrap();
        if !to.exists() {
            assert!(partial.join("backup-under-way").exists(), "a part is marked as one");
            return to;
        }
    }
    panic!("{TRIES} copies were whole before they could be killed");
}

#[test]
fn a_copy_taken_while_it_sells_is_whole_or_not_there_and_a_server_starts_on_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = |embedded: &Embedded| -> HashSet<_> {
        runtime.block_on(async { orders(&look(embedded).await).await.0.into_iter().collect() })
    };
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let load = embedded.load_test(SELLOUT).unwrap();
    embedded.wait_accepted(BEFORE).unwrap();
    let to = killed_in_the_middle(&embedded);
    // What a killed one left is in nobody's way.
    let known = rows(&embedded);
    let accepted = embedded.metric("flashsale_accepted_total").unwrap();
    let told = embedded.run("backup", &[&to.to_string_lossy()]).unwrap();
    assert!(told.starts_with("copied "), "{told}");
    assert!(accepted < SELLOUT.units as f64, "the copy was taken while it sold");
    assert!(!known.is_empty() && !to.join("backup-under-way").exists());
    let again = embedded.run("backup", &[&to.to_string_lossy()]).unwrap_err().to_string();
    assert!(again.contains("backup"), "{again}");
    embedded.report_of(load).unwrap();

    let restored = Embedded::new().unwrap();
    fs::rename(&to, restored.data()).unwrap();
    let mut other = restored.serve().unwrap();
    restored.wait_selling(&mut other).unwrap();
    restored.evidence().unwrap();
    let audit = restored.run("audit", &[]).unwrap();
    assert!(audit.contains("holds") && !audit.contains("BROKEN"), "{audit}");
    let has = rows(&restored);
    let missing = known.difference(&has).count();
    assert_eq!(missing, 0, "of {} orders that had a row when the copy began", known.len());
    assert!(has.len() as f64 >= accepted, "{} rows, {accepted} were accepted before the copy began", has.len());
    // It sells on, to buyers of the old tokens.
    let (status, body) = restored.buy(&embedded.token(77).unwrap(), "after-the-restore").unwrap();
    assert_eq!(status, 202, "{body}");
}

#[test]
fn a_folder_at_rest_is_copied_and_what_is_no_part_of_it_is_refused() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    let token = embedded.token(5).unwrap();
    assert_eq!(embedded.buy(&token, "first").unwrap().0, 202);
    server.kill().unwrap();
    let to = embedded.scratch().join("copy");
    let strange = embedded.data().join("holiday-photos");
    fs::create_dir(&strange).unwrap();
    assert!(embedded.run("backup", &[&to.to_string_lossy()]).is_err());
    fs::remove_dir(&strange).unwrap();
    // Somebody else's folder of that name stays.
    let partial = embedded.scratch().join("copy.partial");
    fs::create_dir(&partial).unwrap();
    assert!(embedded.run("backup", &[&to.to_string_lossy()]).is_err() && partial.exists());
    fs::remove_dir(&partial).unwrap();
    embedded.run("backup", &[&to.to_string_lossy()]).unwrap();

    let restored = Embedded::new().unwrap();
    fs::rename(&to, restored.data()).unwrap();
    let mut other = restored.serve().unwrap();
    restored.wait_selling(&mut other).unwrap();
    restored.evidence().unwrap();
    // The same key finds the same order, as far as it was durable: it was accepted.
    let (status, body) = restored.buy(&token, "first").unwrap();
    assert_eq!(status, 202, "{body}");
    assert!(restored.run("audit", &[]).unwrap().contains("holds"));
}
