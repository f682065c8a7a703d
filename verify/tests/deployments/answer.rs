//! An answer as a list of what it tells, without what no two servers can tell alike: ids, and the
//! time.

use std::collections::BTreeMap;

use serde_json::Value;
use verify::wire::Outcome;

/// What an answer tells: `status`, `code`, `header …`, `body …`, each with its value.
pub(crate) type Fields = BTreeMap<String, String>;

/// Headers of which only the form is compared. A tag is the hash of a body, which is compared where
/// there is one: a list tells the stock of the moment.
const FORM_HEADERS: [&str; 4] = ["date", "traceparent", "location", "etag"];
/// Members of which only the form is compared.
const FORM_MEMBERS: [&str; 6] = ["order_id", "next_cursor", "server_time", "reserved_at", "pay_by", "trace_id"];

/// What an answer tells. `first`: the first order of this deployment, which both know by that name.
pub(crate) fn fields(answer: &Outcome, first: &str) -> Fields {
    let (status, code) = answer.code();
    let mut fields = Fields::from([("status".into(), status.to_string()), ("code".into(), code.into())]);
    let Outcome::Answered { head, body, .. } = answer else { return fields };
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let value = match name {
            _ if FORM_HEADERS.contains(&name) => form(value, first),
            // It is the body's length: the body was read by it, and is compared below. Ids have no
            // fixed length.
            "content-length" => "a number".into(),
            // The seconds until the sale opens.
            "retry-after" if code == "not_started" => "a number".into(),
            _ => value.into(),
        };
        fields.insert(format!("header {name}"), value);
    }
    match serde_json::from_str(body) {
        Ok(value) => members("body", &value, first, &mut fields),
        Err(_no_json) => drop(fields.insert("body".into(), format!("{body:?}"))),
    }
    fields
}

fn members(path: &str, value: &Value, first: &str, fields: &mut Fields) {
    let name = path.rsplit('.').next().unwrap_or(path);
    let value = match value {
        Value::Object(all) => {
            all.iter().for_each(|(name, value)| members(&format!("{path}.{name}"), value, first, fields));
            format!("an object of {}", all.len())
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(at, value)| members(&format!("{path}[{at}]"), value, first, fields));
            format!("a list of {}", all.len())
        }
        Value::String(text) if FORM_MEMBERS.contains(&name) => format!("text {}", form(text, first)),
        Value::Number(_) if name == "epoch_ms" => "a number".into(),
        value => value.to_string(),
    };
    fields.insert(path.into(), value);
}

/// Words and numbers without their letters: the form of a date, a header, an id.
fn form(text: &str, first: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let known = if word == first { "{first}" } else { "x" };
        out += if word.is_empty() { "" } else { known };
        out += &part[word.len()..];
    }
    out
}

/// Everything in which two answers differ.
pub(crate) fn differences(production: &Fields, embedded: &Fields) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = production.keys().chain(embedded.keys()).collect();
    let of = |fields: &Fields, name: &String| fields.get(name).cloned().unwrap_or_else(|| "nothing".into());
    let differing = names.into_iter().filter(|name| production.get(*name) != embedded.get(*name));
    differing
        .map(|name| format!("{name}: production {}, embedded {}", of(production, name), of(embedded, name)))
        .collect()
}
