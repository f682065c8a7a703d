//! A full disk, as a limit on the size of files: what is promised meanwhile is answered as pending
//! or refused, and all of it is there when there is room again.

use std::{collections::BTreeMap, process::Command, time::Duration};

use loadtest::audit::{PromiseEvidence, compare};
use serde_json::Value;
use verify::{
    buyers::token,
    child::{Child, wait_until},
    embedded::Embedded,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks of 512 bytes: enough to start, and for a few dozen orders.
const BLOCKS_MAX: &str = "2048";
/// A file that is too long must be an error of the write and not the end of the process; the limit
/// can be lifted again by anybody.
const LIMITED: &str = "trap '' XFSZ; ulimit -S -f \"$0\"; exec \"$@\"";
/// Purchases that meet the full disk.
const TOO_LATE: usize = 8;
/// Buyers who may come before it is full: the limit is far below what they would need.
const BUYERS_MAX: u64 = 5_000;
/// The demo's shop.
const TENANT: u32 = 7;

/// The order and whether it was accepted; `None`: refused for now, or because the test asks too
/// often.
fn promised(status: u16, body: &str) -> Option<(String, bool)> {
    if matches!(status, 429 | 503) {
        return None;
    }
    assert_eq!(status, 202, "neither a promise nor a refusal for now: {body}");
    let bought: Value = serde_json::from_str(body).unwrap();
    Some((bought["order_id"].as_str().unwrap().to_owned(), bought["status"] == "accepted"))
}

/// Failure point 25, R7, INV-1 to INV-5: nothing that was accepted or pending is lost, and selling
/// goes on without a restart.
#[test]
fn a_full_disk_loses_nothing_and_heals_by_itself() {
    let embedded = Embedded::new().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", LIMITED, BLOCKS_MAX]).arg(embedded.program());
    let mut command = embedded.command_by(shell, "serve");
    command.args(embedded.ports());
    let mut server = Child::start("flashsale", command, embedded.scratch()).unwrap();
    embedded.wait_selling(&mut server).unwrap();

    let signer = embedded.signer().unwrap();
    let mut promises = BTreeMap::new();
    let mut refused = Vec::new();
    for buyer in 1..=BUYERS_MAX {
        let (status, body) = embedded.buy(&token(&signer, TENANT, buyer).unwrap(), "first").unwrap();
        match promised(status, &body) {
            Some(promise) => drop(promises.insert(buyer, promise)),
            None => refused.push(buyer),
        }
        let pending = promises.values().filter(|(_, accepted)| !accepted).count();
        if pending + refused.len() >= TOO_LATE {
            break;
        }
    }
    assert!(promises.values().any(|(_, accepted)| *accepted), "there was room for some");
    let pending = promises.values().filter(|(_, accepted)| !accepted).count();
    assert!(pending + refused.len() >= TOO_LATE, "the disk was never full");
    assert!(server.ended().unwrap().is_none(), "a full disk does not end the server:\n{}", server.tail());

    let lifted =
        Command::new("prlimit").args(["--fsize=unlimited", "--pid", &server.id().to_string()]).status().unwrap();
    assert!(lifted.success());
    // Who is to come back does, with the same key; so does everybody else, and gets the same
    // order.
    for buyer in promises.keys().copied().chain(refused).collect::<Vec<_>>() {
        let mut order = String::new();
        let is_accepted = || {
            let (status, body) = embedded.buy(&token(&signer, TENANT, buyer).unwrap(), "first")?;
            let promise = promised(status, &body).filter(|(_, accepted)| *accepted);
            Ok(promise.is_some_and(|(named, _)| {
                order = named;
                true
            }))
        };
        wait_until("the order is accepted", PATIENCE, is_accepted).unwrap();
        let (first, accepted) = promises.entry(buyer).or_insert_with(|| (order.clone(), true));
        assert_eq!(*first, order, "a promise stays the same order");
        *accepted = true;
    }
    let mut evidence = embedded.evidence().unwrap();
    evidence.promises = promises
        .iter()
        .map(|(buyer, (order, accepted))| PromiseEvidence {
            buyer: buyer.to_string().parse().unwrap(),
            order: order.parse().unwrap(),
            accepted: *accepted,
        })
        .collect();
    assert_eq!(evidence.rows.len(), promises.len());
    for (word, finding) in compare(&evidence).words() {
        assert_eq!(finding.count, 0, "{word}: {finding:?}");
    }
}
