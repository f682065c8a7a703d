//! Goal: a client cannot tell the embedded deployment from the big one. Method: the same sale files
//! are published to both, the same requests are sent to both as bytes, for the same buyers (each
//! with a token of its deployment's key), and the answers are compared in status, headers and body.
//! The table of requests reaches every route, status and code that the OpenAPI document names; what
//! it does not reach is named with the reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "deployments/answer.rs"]
mod answer;
#[path = "deployments/document.rs"]
mod document;
#[path = "deployments/outside.rs"]
mod outside;
#[path = "deployments/reads.rs"]
mod reads;
#[path = "deployments/sales.rs"]
mod sales;
#[path = "deployments/side.rs"]
mod side;
#[path = "deployments/table.rs"]
mod table;

use answer::{Fields, differences, fields};
use document::{Documented, document};
use jiff::Timestamp;
use side::Side;
use table::{Case, UNPROVOKED, table};

/// What a case of the table misses of its own promise, and of what the document promises for it.
fn misses(case: &Case, fields: &Fields, documented: Option<&Documented>) -> Vec<String> {
    let mut missed = Vec::new();
    let mut must = |what: &str, expected: &str| {
        let found = fields.get(what).map_or("nothing", String::as_str);
        if found != expected {
            missed.push(format!("{what} must be {expected} and is {found}"));
        }
    };
    must("status", &case.status.to_string());
    must("code", case.code);
    if let Some(documented) = documented {
        must("header content-type", documented.media.as_deref().unwrap_or("nothing"));
        for name in documented.headers.iter().filter(|name| !fields.contains_key(&format!("header {name}"))) {
            missed.push(format!("the documented header {name} is missing"));
        }
    }
    missed
}

/// INV-7, and "same routes" of the embedded deployment: every answer of one is the answer of the
/// other.
#[test]
fn both_deployments_answer_alike() {
    let now = Timestamp::now();
    let (mut production, mut embedded) = (Side::production(now).unwrap(), Side::embedded(now).unwrap());
    let documented = document();
    let mut wrong = Vec::new();
    for case in table().iter().chain(&outside::cases()) {
        let answers = [&mut production, &mut embedded].map(|side| {
            let answer = side.answer(case);
            let fields = fields(&answer, side.first_order());
            let missed = misses(case, &fields, documented.get(&(case.route.to_owned(), case.status)));
            wrong.extend(missed.into_iter().map(|missed| format!("{}, {}: {missed}", side.name(), case.name)));
            fields
        });
        let differing = differences(&answers[0], &answers[1]);
        wrong.extend(differing.into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    production.is_well().unwrap();
    embedded.is_well().unwrap();
}

/// Every route, status and code of the document has its case in the table, or stands in the list of
/// those that have none and why.
#[test]
fn the_table_reaches_all_that_is_documented() {
    let (documented, cases) = (document(), table());
    let is_reached = |route: &str, status: u16, code: &str| {
        cases.iter().any(|case| (case.route, case.status, case.code) == (route, status, code))
    };
    let is_excused = |route: &str, status: u16, code: &str| {
        UNPROVOKED.iter().any(|(of, number, named, _)| (*of, *number, *named) == (route, status, code))
    };
    for ((route, status), Documented { codes, .. }) in &documented {
        for code in codes {
            let ways = (is_reached(route, *status, code), is_excused(route, *status, code));
            assert!(ways != (false, false), "no case of the table reaches {route} {status} {code}");
            assert!(
                ways != (true, true),
                "{route} {status} {code} is reached: strike it off the list of the unprovoked"
            );
        }
    }
    for Case { route, status, code, name, .. } in &cases {
        let codes = documented.get(&((*route).to_owned(), *status)).map(|documented| &documented.codes);
        assert!(codes.is_some_and(|codes| codes.iter().any(|known| known == code)), "{name} is not in the document");
    }
}
