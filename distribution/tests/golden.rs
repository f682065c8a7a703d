//! The bytes that are kept for ever: entries as the chain of closed days hashes them, and what an
//! order froze. A failing test means that older rows do not read, or their days do not verify.
#![allow(clippy::unwrap_used, reason = "a failing step of a test ends the test")]

use distribution::evaluate::{Frozen, Key, Note, Person, To, Why};
use distribution::ledger::{Account, Cause, Entry, Step, close_day, day_bytes};
use distribution::plan::Relation;

fn key(beneficiary: Option<u64>) -> Key {
    Key { plan: "one".into(), version: 3, line: 4_711, sequence: 2, to: To { rule: "direct".into(), beneficiary } }
}

fn bytes(cause: Cause, lines: &[(Account, i64)]) -> String {
    String::from_utf8(Entry::new(cause, lines).unwrap().bytes()).unwrap()
}

#[test]
fn each_kind_of_entry_has_its_bytes() {
    use Account as A;
    let cases = [
        (
            Cause::Payout(key(Some(7))),
            vec![(A::Expense, -10), (A::Pending(7), 6), (A::Receivable(7), 4)],
            r#"["payout","one",3,4711,2,"direct",7,[["expense",-10],["pending:7",6],["receivable:7",4]]]"#,
        ),
        (
            Cause::Payout(key(None)),
            vec![(A::Expense, -10), (A::Breakage, 10)],
            r#"["payout","one",3,4711,2,"direct",null,[["expense",-10],["breakage",10]]]"#,
        ),
        (
            Cause::Mature(key(Some(7))),
            vec![(A::Pending(7), -10), (A::Available(7), 10)],
            r#"["mature","one",3,4711,2,"direct",7,[["pending:7",-10],["available:7",10]]]"#,
        ),
        (
            Cause::Withdrawal(9, Step::Pay),
            vec![(A::Withdrawing(7), -10), (A::Paid(7), 7), (A::Fee, 1), (A::Tax, 2)],
            r#"["withdrawal",9,"pay",[["withdrawing:7",-10],["paid:7",7],["fee",1],["tax",2]]]"#,
        ),
        (Cause::Withdrawal(9, Step::Reserve), vec![], r#"["withdrawal",9,"reserve",[]]"#),
        (Cause::Withdrawal(9, Step::Return), vec![], r#"["withdrawal",9,"return",[]]"#),
        (Cause::Adjustment(5), vec![(A::Expense, -1), (A::Pool, 1)], r#"["adjustment",5,[["expense",-1],["pool",1]]]"#),
        (Cause::Closing(6), vec![], r#"["closing",6,[]]"#),
    ];
    for (cause, lines, expected) in cases {
        assert_eq!(bytes(cause, &lines), expected);
    }
}

#[test]
fn a_rule_with_a_quote_in_its_name_ends_no_array() {
    let key = Key { to: To { rule: "a\",9]".into(), beneficiary: None }, ..key(None) };
    assert_eq!(bytes(Cause::Mature(key), &[]), r#"["mature","one",3,4711,2,"a\",9]",null,[]]"#);
}

#[test]
fn a_day_hashes_the_day_before_its_number_and_each_entry_after_its_length() {
    let entry = Entry::new(Cause::Closing(6), &[]).unwrap();
    let first = close_day(None, 1, &[], |_| [7; 32]);
    let mut expected = vec![7; 32];
    expected.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 16]);
    expected.extend(br#"["closing",6,[]]"#);
    assert_eq!(day_bytes(Some(&first), 2, [&entry]), expected);
    assert_eq!(day_bytes(None, 1, []), [[0; 32].as_slice(), &[0, 0, 0, 1]].concat());
}

#[test]
fn a_frozen_line_reads_back_from_its_bytes() {
    let mut line = Frozen::line(4_711, 9_999);
    line.tags.insert("flash_sale".into());
    let mut person = Person { rank: Some("gold".into()), joined: 30, bound: 2, ..Person::new(7) };
    person.flags.insert("kyc".into());
    line.paths.insert(Relation::Referral, vec![person]);
    line.used.insert(("direct".into(), 7), 100);
    let expected = r#"{"on":"matured","sequence":1,"line":4711,"source":{"id":1},"net":9999,"refunded":0,"quantity":1,"returned":0,"tags":["flash_sale"],"paths":{"referral":[{"id":7,"rank":"gold","flags":["kyc"],"joined":30,"bound":2}]},"used":[["direct",7,100]]}"#;
    assert_eq!(serde_json::to_string(&line).unwrap(), expected);
    assert_eq!(serde_json::from_str::<Frozen>(expected).unwrap(), line);
}

#[test]
fn a_trace_has_its_bytes() {
    let notes = [
        Note { rule: "direct".into(), person: Some(7), why: Why::Paid { amount: 999, base: 9_999, rest: 900_000 } },
        Note { rule: "direct".into(), person: Some(8), why: Why::Skipped("kyc".into()) },
        Note { rule: String::new(), person: None, why: Why::Limited(3) },
        Note { rule: "more".into(), person: Some(9), why: Why::Overtaken },
    ];
    let expected = r#"[{"rule":"direct","person":7,"why":{"paid":{"amount":999,"base":9999,"rest":900000}}},{"rule":"direct","person":8,"why":{"skipped":"kyc"}},{"rule":"","why":{"limited":3}},{"rule":"more","person":9,"why":"overtaken"}]"#;
    assert_eq!(serde_json::to_string(&notes).unwrap(), expected);
    assert_eq!(serde_json::from_str::<Vec<Note>>(expected).unwrap(), notes);
}
