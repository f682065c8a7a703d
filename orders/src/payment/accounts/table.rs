//! A table of the file of accounts as fields: what is missing, of another kind or unknown is told,
//! each with its line, and the reading goes on.

use std::fmt;

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

/// Before the path of a file whose content is the value.
pub(super) const FILE: &str = "file:";

/// What is wrong with the file of accounts, and what to do. It quotes no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Counted from 1.
    pub line: usize,
    /// Which field, such as `wechat[0].private_key`; empty: the file's form.
    pub field: String,
    /// What is wrong, and what to give instead.
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, field, message } = self;
        let space = if field.is_empty() { "" } else { " " };
        write!(f, "line {line}: {field}{space}{message}")
    }
}

/// What is found while a file is read.
pub(super) struct Reader<'f> {
    line_starts: Vec<usize>,
    pub(super) flaws: Vec<Flaw>,
    /// The content of a file that a value names.
    files: &'f dyn Fn(&str) -> Result<String, String>,
}

impl<'f> Reader<'f> {
    pub(super) fn new(text: &str, files: &'f dyn Fn(&str) -> Result<String, String>) -> Self {
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { line_starts, flaws: Vec::new(), files }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) + 1
    }

    pub(super) fn syntax(&mut self, error: &Error) {
        let line = self.line_at(error.span().map_or(0, |span| span.start));
        let message = format!("is no TOML: {}", error.message());
        self.flaws.push(Flaw { line, field: String::new(), message });
    }
}

/// One table.
pub(super) struct Table<'r, 'f, 't> {
    reader: &'r mut Reader<'f>,
    path: String,
    line: usize,
    table: &'t DeTable<'t>,
}

impl<'r, 'f, 't> Table<'r, 'f, 't> {
    /// Takes a table; what it holds beside the known keys is a flaw each.
    pub(super) fn open(
        reader: &'r mut Reader<'f>,
        (path, offset): (String, usize),
        table: &'t DeTable<'t>,
        known: &[&str],
    ) -> Self {
        let line = reader.line_at(offset);
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let line = reader.line_at(key.span().start);
            let name = key.get_ref();
            let field = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            reader.flaws.push(Flaw { line, field, message: format!("is no key here; there are {}", known.join(", ")) });
        }
        Self { reader, path, line, table }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Tells what is wrong with a field.
    pub(super) fn tell(&mut self, key: &str, message: impl Into<String>) {
        let line = self.table.get(key).map_or(self.line, |value| self.reader.line_at(value.span().start));
        let field = self.path_of(key);
        self.reader.flaws.push(Flaw { line, field, message: message.into() });
    }

    /// The same, and `None`, so that a reading can end with it.
    pub(super) fn flaw<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.tell(key, message);
        None
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn tell_kind(&mut self, key: &str, value: &DeValue<'_>, wanted: &str) {
        self.tell(key, format!("is of the kind {}; give {wanted}", value.type_str()));
    }

    fn wrong_kind<T>(&mut self, key: &str, value: &DeValue<'_>, wanted: &str) -> Option<T> {
        self.tell_kind(key, value, wanted);
        None
    }

    /// A text, or nothing.
    pub(super) fn optional_text(&mut self, key: &str) -> Option<&'t str> {
        match self.value(key)?.get_ref() {
            DeValue::String(text) => Some(text),
            other => self.wrong_kind(key, other, "a string"),
        }
    }

    /// A text that holds something.
    pub(super) fn text(&mut self, key: &str) -> Option<&'t str> {
        if self.value(key).is_none() {
            return self.flaw(key, "is missing");
        }
        match self.optional_text(key)? {
            "" => self.flaw(key, "is empty"),
            text => Some(text),
        }
    }

    /// A value that stands in a file of its own, read by `read`.
    pub(super) fn file<T, E: fmt::Display>(&mut self, key: &str, read: fn(&str) -> Result<T, E>) -> Option<T> {
        let named = self.text(key)?;
        self.content(key, named, read)
    }

    fn content<T, E: fmt::Display>(&mut self, key: &str, named: &str, read: fn(&str) -> Result<T, E>) -> Option<T> {
        let Some(path) = named.strip_prefix(FILE) else {
            return self
                .flaw(key, "holds the value itself: put it into a file of its own, and give \"file:PATH\" here");
        };
        let content = match (self.reader.files)(path) {
            Ok(content) => content,
            Err(error) => return self.flaw(key, format!("names {path}, which cannot be read: {error}")),
        };
        match read(content.trim_end_matches(['\r', '\n'])) {
            Ok(value) => Some(value),
            Err(error) => self.flaw(key, format!("names {path}, and that is wrong: {error}")),
        }
    }

    /// Values that stand in files of their own, each read by `read`; `None` where one of them is
    /// wrong.
    pub(super) fn files<T, E: fmt::Display>(&mut self, key: &str, read: fn(&str) -> Result<T, E>) -> Option<Vec<T>> {
        let Some(value) = self.value(key) else { return Some(Vec::new()) };
        let DeValue::Array(elements) = value.get_ref() else {
            return self.wrong_kind(key, value.get_ref(), "an array of \"file:PATH\"");
        };
        let mut found = Vec::with_capacity(elements.len());
        for element in elements {
            match element.get_ref() {
                DeValue::String(named) => found.extend(self.content(key, named, read)),
                other => self.tell_kind(key, other, "\"file:PATH\""),
            }
        }
        (found.len() == elements.len()).then_some(found)
    }

    /// A table of this key, each member with its name.
    pub(super) fn named_files<T, E: fmt::Display>(
        &mut self,
        key: &str,
        read: fn(&str) -> Result<T, E>,
    ) -> Option<Vec<(String, T)>> {
        let Some(value) = self.value(key) else { return Some(Vec::new()) };
        let DeValue::Table(members) = value.get_ref() else {
            return self.wrong_kind(key, value.get_ref(), "a table of NAME = \"file:PATH\"");
        };
        let mut found = Vec::with_capacity(members.len());
        for (name, element) in members {
            match element.get_ref() {
                DeValue::String(named) => {
                    found.extend(self.content(key, named, read).map(|value| (name.get_ref().to_string(), value)));
                }
                other => self.tell_kind(key, other, "\"file:PATH\""),
            }
        }
        (found.len() == members.len()).then_some(found)
    }

    /// Reads each table of an array of tables.
    pub(super) fn each(&mut self, key: &str, known: &[&str], mut read: impl FnMut(&mut Table<'_, 'f, 't>)) {
        let Some(value) = self.value(key) else { return };
        let DeValue::Array(elements) = value.get_ref() else {
            return self.tell_kind(key, value.get_ref(), "tables under [[…]]");
        };
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match element.get_ref() {
                DeValue::Table(table) => {
                    read(&mut Table::open(self.reader, (path, element.span().start), table, known));
                }
                other => self.tell_kind(key, other, "tables under [[…]]"),
            }
        }
    }
}
