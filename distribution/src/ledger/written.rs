//! An entry as bytes, which the chain over closed days hashes: a JSON array without blanks. These
//! bytes are for ever; `tests/golden.rs` holds them.
//!
//! ```text
//! [cause..., [[account, amount], ...]]
//! ["payout","plan",version,line,sequence,"rule",person or null, ...]   "mature" alike
//! ["withdrawal",id,"reserve" | "pay" | "return", ...]
//! ["adjustment",id, ...]   ["closing",id, ...]
//! ```

use serde_json::{Value, json};

use super::{Account, Cause, Entry, Step};
use crate::evaluate::Key;

impl Entry {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut parts = of_cause(&self.cause);
        parts.push(self.lines.iter().map(|(account, amount)| json!([account.word(), amount])).collect());
        Value::Array(parts).to_string().into_bytes()
    }
}

fn of_cause(cause: &Cause) -> Vec<Value> {
    match cause {
        Cause::Payout(key) => of_key("payout", key),
        Cause::Mature(key) => of_key("mature", key),
        Cause::Withdrawal(id, step) => vec![json!("withdrawal"), json!(id), json!(step.word())],
        Cause::Adjustment(id) => vec![json!("adjustment"), json!(id)],
        Cause::Closing(id) => vec![json!("closing"), json!(id)],
    }
}

fn of_key(kind: &str, key: &Key) -> Vec<Value> {
    let Key { plan, version, line, sequence, to } = key;
    vec![json!(kind), json!(plan), json!(version), json!(line), json!(sequence), json!(to.rule), json!(to.beneficiary)]
}

impl Step {
    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Pay => "pay",
            Self::Return => "return",
        }
    }
}

impl Account {
    /// Its name; of a person's, with the person: `pending:7`.
    pub fn word(self) -> String {
        let (name, person) = match self {
            Self::Expense => ("expense", None),
            Self::Pending(person) => ("pending", Some(person)),
            Self::Available(person) => ("available", Some(person)),
            Self::Withdrawing(person) => ("withdrawing", Some(person)),
            Self::Paid(person) => ("paid", Some(person)),
            Self::Receivable(person) => ("receivable", Some(person)),
            Self::Fee => ("fee", None),
            Self::Tax => ("tax", None),
            Self::Breakage => ("breakage", None),
            Self::Pool => ("pool", None),
        };
        person.map_or_else(|| name.to_owned(), |person| format!("{name}:{person}"))
    }
}
