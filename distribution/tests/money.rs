//! Exactness, the ledger, withdrawals and closings: one rule a test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

use std::collections::BTreeMap;

use distribution::evaluate::{EvaluateError, Frozen, Key, Person, To, Why, divide, evaluate, refund};
use distribution::ledger::{Account, Cause, Entry, Ledger, LedgerError, close_day, verify_days};
use distribution::plan::{Plan, Relation};
use distribution::settle::{Closing, ClosingError, Happens, Refused, Rules, State, Withdrawal};

fn plan(body: &str) -> Plan {
    format!("plan \"p\" v1 profile INTL budget 50% {{\n base net_paid where not tag(flash_sale)\n {body}\n settle cash after receipt+7d, channel transfer, clawback full\n}}").parse().unwrap()
}

fn line(net: i64, path: &[u64]) -> Frozen {
    let mut line = Frozen::line(1, net);
    line.paths.insert(Relation::Referral, path.iter().map(|id| Person::new(*id)).collect());
    line
}

fn key(line: u64, sequence: u64, person: u64) -> Key {
    let to = To { rule: "a".into(), beneficiary: Some(person) };
    Key { plan: "p".into(), version: 1, line, sequence, to }
}

#[test]
fn differences_sum_to_the_rounded_greatest_rate() {
    let plan =
        plan("ranks c < b < a\n rule a: on matured walk(referral, slots 3, difference, rate {c: 10%, b: 15%, a: 20%})");
    let mut line = line(9_999, &[2, 3, 4]);
    for (person, rank) in line.paths.get_mut(&Relation::Referral).unwrap().iter_mut().zip(["c", "b", "a"]) {
        person.rank = Some(rank.into());
    }
    let amounts: Vec<i64> = evaluate(&plan, &line).unwrap().payouts.iter().map(|p| p.amount).collect();
    assert_eq!(amounts, [999, 500, 500]);
}

#[test]
fn a_division_gives_the_rest_to_the_largest_remainders() {
    assert_eq!(divide(1_000, &[1, 1, 1]), [334, 333, 333]);
    assert_eq!(divide(3_000, &[20, 10, 5]), [1_714, 857, 429]);
    assert_eq!(
        divide(i64::MAX, &[i64::MAX, i64::MAX]).iter().map(|s| i128::from(*s)).sum::<i128>(),
        i128::from(i64::MAX)
    );
    assert_eq!(divide(5, &[]), [0; 0]);
}

#[test]
fn a_flash_sale_line_pays_nothing_and_says_so() {
    let plan = plan("rule a: on matured walk(referral, slots 1, rate 10%)");
    let mut line = line(10_000, &[2]);
    line.tags.insert("flash_sale".into());
    let outcome = evaluate(&plan, &line).unwrap();
    assert!(outcome.payouts.is_empty());
    assert_eq!(outcome.trace[0].why, Why::Without("flash_sale".into()));
}

#[test]
fn the_trace_says_who_was_skipped_and_what_was_rounded() {
    let plan = plan("rule a: on matured walk(referral, filter active, compress, slots 1, depth 3, rate 10%)");
    let mut line = line(9_999, &[2, 3]);
    line.paths.get_mut(&Relation::Referral).unwrap()[1].flags.insert("active".into());
    let trace = evaluate(&plan, &line).unwrap().trace;
    assert_eq!((trace[0].person, &trace[0].why), (Some(2), &Why::Skipped("active".into())));
    assert_eq!((trace[1].person, &trace[1].why), (Some(3), &Why::Paid { amount: 999, base: 9_999, rest: 900_000 }));
}

#[test]
fn a_line_that_contradicts_itself_is_refused() {
    let plan = plan("rule a: on matured walk(referral, slots 1, rate 10%)");
    for (net, refunded) in [(10, 11), (-1, 0), (10, -1), (1 << 53, 0)] {
        let line = Frozen { refunded, ..line(net, &[2]) };
        assert!(matches!(evaluate(&plan, &line), Err(EvaluateError::Line { .. })));
    }
}

#[test]
fn limits_per_user_break_carry_and_roll_up() {
    for (overflow, paid, carried) in
        [("breakage", [30, 40, 30], 0), ("carry", [30, 40, 0], 30), ("roll_up", [30, 70, 0], 0)]
    {
        let plan = plan(&format!(
            "rule a: on matured walk(referral, slots 2, rate [6%, 4%]) limit 1.00 per user month {overflow}"
        ));
        let mut line = line(1_000, &[2, 3]);
        line.used.insert(("a".into(), 2), 70);
        let outcome = evaluate(&plan, &line).unwrap();
        let sums = outcome.sums();
        let of = |beneficiary| sums.get(&To { rule: "a".into(), beneficiary }).copied().unwrap_or(0);
        assert_eq!([of(Some(2)), of(Some(3)), of(None)], paid, "{overflow}");
        assert_eq!(outcome.carried.values().sum::<i64>(), carried, "{overflow}");
    }
}

#[test]
fn units_that_come_back_take_their_fixed_amount_along() {
    let plan = plan("rule a: on matured walk(referral, slots 1, rate 6.00 each)");
    let mut line = Frozen { quantity: 3, ..line(30_000, &[2]) };
    let accrued = evaluate(&plan, &line).unwrap().sums();
    (line.refunded, line.returned) = (10_000, 1);
    assert_eq!(refund(&plan, &line, &accrued).unwrap().values().sum::<i64>(), -600);
}

#[test]
fn an_entry_sums_to_zero_or_does_not_come_to_be() {
    let lines = [(Account::Expense, -10), (Account::Pending(1), 9)];
    assert_eq!(Entry::new(Cause::Adjustment(1), &lines), Err(LedgerError::Sum(-1)));
    let huge =
        [(Account::Fee, i64::MAX), (Account::Fee, i64::MAX), (Account::Tax, -i64::MAX), (Account::Breakage, -i64::MAX)];
    assert_eq!(Entry::new(Cause::Adjustment(1), &huge), Err(LedgerError::Overflow(Account::Fee)));
}

#[test]
fn a_late_refund_becomes_a_debt_that_the_next_earning_pays() {
    let mut ledger = Ledger::default();
    let post =
        |ledger: &mut Ledger, entry: Result<Entry, LedgerError>| assert_eq!(ledger.post(&entry.unwrap()), Ok(true));
    let entry = ledger.payout(key(1, 1, 7), 100);
    post(&mut ledger, entry);
    let entry = ledger.mature(key(1, 1, 7), 7, 100);
    post(&mut ledger, entry);
    post(&mut ledger, Ledger::reserve(1, 7, 80));
    post(&mut ledger, Ledger::pay(1, 7, 80, 1, 2));
    let entry = ledger.payout(key(1, 2, 7), -100);
    post(&mut ledger, entry);
    assert_eq!((ledger.balance(Account::Available(7)), ledger.balance(Account::Receivable(7))), (0, -80));
    let entry = ledger.payout(key(2, 1, 7), 100);
    post(&mut ledger, entry);
    assert_eq!((ledger.balance(Account::Pending(7)), ledger.balance(Account::Receivable(7))), (20, 0));
    assert_eq!([Account::Paid(7), Account::Fee, Account::Tax].map(|a| ledger.balance(a)), [77, 1, 2]);
    assert_eq!(ledger.balances().values().sum::<i64>(), 0);
}

#[test]
fn a_cause_is_posted_once_and_a_short_balance_changes_nothing() {
    let mut ledger = Ledger::default();
    let entry = ledger.payout(key(1, 1, 7), 100).unwrap();
    assert_eq!([ledger.post(&entry), ledger.post(&entry)], [Ok(true), Ok(false)]);
    let before = ledger.clone();
    let refused = ledger.post(&Ledger::reserve(1, 7, 1).unwrap());
    assert_eq!(refused, Err(LedgerError::Short { account: Account::Available(7), has: 0, takes: 1 }));
    assert_eq!(ledger, before);
}

/// Not a hash for use: it only has to differ where its input does.
fn mix(bytes: &[u8]) -> [u8; 32] {
    let mut state = [7_u8; 32];
    for (i, byte) in bytes.iter().enumerate() {
        let at = i % 32;
        state[at] = state[at].rotate_left(3) ^ byte.wrapping_add(state[(at + 31) % 32]);
    }
    state
}

#[test]
fn a_changed_entry_of_a_closed_day_is_found() {
    let entry = |amount: i64| {
        Entry::new(Cause::Adjustment(1), &[(Account::Expense, -amount), (Account::Pending(1), amount)]).unwrap()
    };
    let first = close_day(None, 1, &[entry(5)], mix);
    let second = close_day(Some(&first), 2, &[], mix);
    let mut days = vec![(first, vec![entry(5)]), (second, vec![])];
    assert_eq!(verify_days(&days, mix), None);
    days[0].1 = vec![entry(6)];
    assert_eq!(verify_days(&days, mix), Some(1));
    days[0].0 = close_day(None, 1, &[entry(6)], mix);
    assert_eq!(verify_days(&days, mix), Some(2), "the day after does not follow any more");
}

const RULES: Rules = Rules { least: 100, day_max: 10_000, two_from: 5_000 };

#[test]
fn a_withdrawal_is_refused_by_the_rule_that_it_breaks() {
    let ask = |amount, today, kyc| Withdrawal::ask(&RULES, 7, amount, today, kyc).err();
    assert_eq!(ask(100, 0, false), Some(Refused::Kyc));
    assert_eq!(ask(99, 0, true), Some(Refused::Least(100)));
    assert_eq!(ask(101, 9_900, true), Some(Refused::Day(100)));
    assert_eq!(ask(100, 9_900, true), None);
}

#[test]
fn two_people_approve_and_no_second_bill_goes_out_before_the_first_is_final() {
    let mut one = Withdrawal::ask(&RULES, 7, 5_000, 0, true).unwrap();
    assert_eq!(one.step(Happens::Send), Err(Refused::State(State::Asked)));
    assert_eq!(one.step(Happens::Approve(7)), Err(Refused::Own));
    assert_eq!(one.step(Happens::Approve(1)), Ok(()));
    assert_eq!(one.step(Happens::Approve(1)), Err(Refused::SamePerson));
    assert_eq!((one.step(Happens::Approve(2)), one.state), (Ok(()), State::Approved));
    for happens in [Happens::Send, Happens::Send, Happens::Wait] {
        assert_eq!(one.step(happens), Ok(()));
    }
    assert_eq!(one.step(Happens::Send), Err(Refused::State(State::Waiting)));
    assert_eq!(one.step(Happens::Decline), Err(Refused::State(State::Waiting)));
    assert_eq!((one.step(Happens::Close), one.step(Happens::Paid), one.state), (Ok(()), Ok(()), State::Paid));
    assert_eq!(one.step(Happens::Failed), Err(Refused::State(State::Paid)));
}

#[test]
fn a_closing_is_confirmed_as_previewed_and_never_opened_again() {
    let mut closing = Closing::default();
    assert_eq!(closing.confirm(&[]), Err(ClosingError::Changed));
    closing.preview(vec![(1, 5)]).unwrap();
    assert_eq!(closing.confirm(&[(1, 6)]), Err(ClosingError::Changed));
    assert_eq!([closing.confirm(&[(1, 5)]), closing.confirm(&[(1, 5)])], [Ok(()), Ok(())]);
    assert_eq!(closing.confirm(&[]), Err(ClosingError::Confirmed));
    assert_eq!(closing.preview(Vec::new()), Err(ClosingError::Confirmed));
}

#[test]
fn the_version_that_an_order_freezes_is_the_highest_in_force() {
    let version =
        |version, from| Plan { version, from, ..plan("rule a: on matured walk(referral, slots 1, rate 10%)") };
    let all = [version(1, None), version(2, Some(100)), version(3, Some(200))];
    let at: BTreeMap<i64, u32> = [99, 100, 199, 200].map(|at| (at, Plan::in_force(&all, at).unwrap().version)).into();
    assert_eq!(at, [(99, 1), (100, 2), (199, 2), (200, 3)].into());
}
