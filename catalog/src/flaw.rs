//! Flaws with their line. Which rules there are is said elsewhere.

use std::{collections::HashMap, fmt};

/// One thing that is wrong with a sale file, or with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Counted from 1; `None` where no line is to blame, such as for a key that is missing at the
    /// top.
    pub line: Option<usize>,
    /// Path of the field, such as `lanes[0].offers[2].price.amount`; empty for the file as a whole.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Flaw {}

impl Flaw {
    /// A flaw of the whole file.
    pub(crate) fn of_file(message: impl Into<String>) -> Self {
        Self { line: None, field: String::new(), message: message.into() }
    }
}

/// On which line each field of a file stands. Empty for a draft that was not read from a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places(HashMap<String, usize>);

impl Places {
    /// Remembers a field's line.
    pub(crate) fn note(&mut self, field: &str, line: usize) {
        self.0.insert(field.to_owned(), line);
    }

    /// A flaw of this field, with the line of the field, or of the nearest thing around it that
    /// stands in the file.
    pub(crate) fn flaw(&self, field: &str, message: impl Into<String>) -> Flaw {
        Flaw { line: self.line_of(field), field: field.to_owned(), message: message.into() }
    }

    fn line_of(&self, field: &str) -> Option<usize> {
        let mut path = field;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// By line, then as they were found: the order in which a person mends them.
pub(crate) fn in_reading_order(mut flaws: Vec<Flaw>) -> Vec<Flaw> {
    flaws.sort_by_key(|flaw| flaw.line);
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_names_its_line_and_field_as_far_as_they_are_known() {
        let mut places = Places::default();
        places.note("lanes[0]", 7);
        let flaw = places.flaw("lanes[0].offers[1].price", "is missing");
        assert_eq!(flaw.to_string(), "line 7: lanes[0].offers[1].price: is missing");
        assert_eq!(places.flaw("title", "is missing").to_string(), "title: is missing");
        assert_eq!(Flaw::of_file("is empty").to_string(), "is empty");
    }
}
