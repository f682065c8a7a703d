//! Answers of the service as a person reads them, or as they came.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a command has to show.
pub(super) struct Shown {
    answer: Value,
    text: String,
}

impl Shown {
    /// One thing: a line for each of these members that it has.
    pub(super) fn one(answer: Value, members: &[&str]) -> Self {
        let mut text = String::new();
        for name in members {
            let value = member(&answer, name);
            if !value.is_empty() {
                // Writing into a text cannot fail.
                let _written = writeln!(text, "{:<12} {value}", name.rsplit('.').next().unwrap_or(name));
            }
        }
        Self { answer, text }
    }

    /// A table of these members.
    pub(super) fn list(items: Vec<Value>, members: &[&str]) -> Self {
        let rows = items.iter().map(|item| members.iter().map(|name| member(item, name)).collect::<Vec<_>>());
        let rows: Vec<_> =
            std::iter::once(members.iter().map(|name| (*name).to_owned()).collect()).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..members.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        Self { text: rows.iter().map(line).collect(), answer: json!({ "items": items }) }
    }

    /// The same, with another one's text below; the answer stays.
    pub(super) fn and(self, below: Self) -> Self {
        Self { text: self.text + "\n" + &below.text, answer: self.answer }
    }

    /// A sentence.
    pub(super) fn said(text: String) -> Self {
        Self { answer: json!({ "done": text }), text: text + "\n" }
    }

    /// As it is printed.
    pub(super) fn print(self, as_json: bool) -> String {
        if as_json { format!("{:#}\n", self.answer) } else { self.text }
    }
}

/// A member, or one inside it (`invitation.token`), in words; empty where there is none.
fn member(of: &Value, path: &str) -> String {
    match path.split('.').fold(of, |value, name| &value[name]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let words = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            words.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_and_one_thing_its_members() {
        let items = vec![json!({ "id": "7", "name": "Kettles", "roles": ["owner", "finance"] }), json!({ "id": "12" })];
        let table = Shown::list(items, &["id", "name", "roles"]).print(false);
        assert_eq!(table, "id  name     roles\n7   Kettles  owner,finance\n12\n");
        let one = json!({ "id": "7", "invitation": { "token": "t" } });
        assert_eq!(
            Shown::one(one, &["id", "name", "invitation.token"]).print(false),
            "id           7\ntoken        t\n"
        );
        assert_eq!(Shown::said("done".to_owned()).print(true), "{\n  \"done\": \"done\"\n}\n");
    }
}
