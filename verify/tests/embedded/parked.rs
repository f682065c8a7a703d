//! `flashsale parked`: an operator looks at the record that stops a partition and sets it aside, on
//! a running server and at rest.

use std::time::Duration;

use verify::{child::wait_until, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(60);

/// Fault 29: what stands behind a record of unknown type is decided without a restart, and after
/// one too.
#[test]
fn a_record_that_stops_the_shop_is_set_aside_by_a_command() {
    let embedded = Embedded::new().unwrap();
    let parked = |arguments: &[&str]| {
        let output = embedded.command("parked").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    let (status, text) = parked(&["list"]);
    assert!(status == Some(0) && text.starts_with("nothing is parked"), "at rest: {status:?} {text}");
    let log = rusqlite::Connection::open(embedded.data().join("log.db")).unwrap();
    // Of the topic `orders`: those of others have higher places.
    let newer = "INSERT INTO records SELECT max(place) + 1, 4711, 0, 'flashsale.tomorrow.v9', x'01' FROM records \
                 WHERE place < 4096 << 44 RETURNING place";
    let offset: i64 = log.query_row(newer, (), |row| row.get(0)).unwrap();
    drop(log);

    let mut server = embedded.serve().unwrap();
    // Until it has the folder, a command works on the folder at rest, and tells the same.
    wait_until("the server has the folder", PATIENCE, || Ok(embedded.running().is_ok())).unwrap();
    let waits = format!("partition 0 waits at offset {offset}: type flashsale.tomorrow.v9, record 4711, 1 bytes");
    wait_until("the list tells", PATIENCE, || Ok(parked(&["list"]).1.starts_with(&waits))).unwrap();
    let (status, text) = parked(&["skip", "0", "0"]);
    assert!(status == Some(1) && text.contains("is decided: it stops nothing"), "{status:?} {text}");
    let (status, text) = parked(&["replay", "7"]);
    assert!(status == Some(1) && text.contains("there is no parked record 7"), "{status:?} {text}");
    assert_eq!(parked(&["list", "--limit", "0"]).0, Some(64));
    let (status, text) = parked(&["skip", "0", &offset.to_string()]);
    assert!(status == Some(0) && text.contains("is set aside"), "{status:?} {text}");
    embedded.wait_selling(&mut server).unwrap();
    assert_eq!(embedded.buy(&embedded.token(42).unwrap(), "first").unwrap().0, 202);
    let (status, text) = parked(&["list", "--json"]);
    assert!(status == Some(0) && text.contains(r#""cause":"set aside by an operator"#), "{status:?} {text}");
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());

    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let output = embedded.command("audit").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
