//! A partition that is not decided although records wait: the probe, a gauge, the terminal and the
//! audit say which one and why, the front goes on, and all of it is over when the partition moves
//! again.

use std::time::Duration;

use verify::{child::wait_until, embedded::Embedded};

const PATIENCE: Duration = Duration::from_secs(60);

/// Fault 12, with a record that only a newer program may decide.
#[test]
fn a_partition_that_stands_still_is_told_everywhere() {
    let embedded = Embedded::new().unwrap();
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    assert_eq!(embedded.buy(&embedded.token(42).unwrap(), "first").unwrap().0, 202);
    let audit = || {
        let output = embedded.command("audit").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(audit().0, Some(0), "an audit waits for what is under way");
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());
    let log = |statement: &str| {
        rusqlite::Connection::open(embedded.data().join("log.db")).unwrap().execute(statement, ()).unwrap()
    };
    // Of the topic `orders`: those of others have higher places.
    let newer = "INSERT INTO records SELECT max(place) + 1, 4711, 0, 'flashsale.tomorrow.v9', x'01' FROM records \
                 WHERE place < 4096 << 44";
    assert_eq!(log(newer), 1);

    let mut server = embedded.serve().unwrap();
    let named = || Ok(embedded.readiness().is_ok_and(|probe| probe.contains("partition 0 has not been decided for")));
    wait_until("the probe names it", PATIENCE, named).unwrap();
    let probe = embedded.readiness().unwrap();
    assert!(probe.starts_with("HTTP/1.1 503") && probe.contains("flashsale.tomorrow.v9"), "{probe}");
    assert!(embedded.metric("flashsale_partition_stalled_seconds").unwrap() >= 5.0);
    assert!(server.said("partition 0 has not been decided for"), "{}", server.tail());
    let (status, body) = embedded.ask("GET /v1/time HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    assert_eq!(status, 200, "{body}");
    let (status, text) = audit();
    assert!(status == Some(70) && text.contains("records wait") && text.contains("flashsale.tomorrow.v9"), "{text}");
    server.terminate().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.tail());

    // As if this program knew its type after all: what nobody can decide is parked.
    assert_eq!(log("UPDATE records SET kind = 'flashsale.batch.v1' WHERE record_id = 4711"), 1);
    let mut server = embedded.serve().unwrap();
    embedded.wait_selling(&mut server).unwrap();
    embedded.wait_ready(&mut server).unwrap();
    let (status, text) = audit();
    assert_eq!(status, Some(0), "{text}");
}
