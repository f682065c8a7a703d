//! The tables of a sale file as fields. It finds flaws of form; the ranges of a sale are
//! `domain`'s.

use std::{
    collections::{HashMap, hash_map::Entry},
    str::FromStr,
};

use domain::{
    id::{ID_MAX, InvalidId},
    money::Money,
};
use jiff::Timestamp;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
    value::Datetime,
};

use super::FLAWS_MAX;
use crate::flaw::{Flaw, Places};

const MOMENT: &str = "give a time with its offset, such as 2026-11-21T04:00:00Z";

/// Reads one table.
type Read<T> = fn(&mut Fields<'_, '_>) -> Option<T>;

/// What is found while a file is read.
pub(super) struct Reader {
    line_starts: Vec<usize>,
    flaws: Vec<Flaw>,
    places: Places,
    /// Ids that may stand once, by kind, with the field that they stand in.
    ids: HashMap<(&'static str, u64), String>,
    stand_ins: u64,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        Self {
            line_starts: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            flaws: Vec::new(),
            places: Places::default(),
            ids: HashMap::new(),
            stand_ins: 0,
        }
    }

    /// The line, counted from 1, of this byte.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) + 1
    }

    fn push(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        }
    }

    pub(super) fn finish(self) -> (Vec<Flaw>, Places) {
        (self.flaws, self.places)
    }
}

/// One table of the file, known by its path.
pub(super) struct Fields<'r, 't> {
    reader: &'r mut Reader,
    path: String,
    table: &'t DeTable<'t>,
}

impl<'r, 't> Fields<'r, 't> {
    /// Takes a table; what it holds beside the known keys is a flaw each.
    pub(super) fn open(reader: &'r mut Reader, path: &str, table: &'t DeTable<'t>, known: &[&str]) -> Self {
        let fields = Self { reader, path: path.to_owned(), table };
        for (key, value) in table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                let line = fields.reader.line_at(value.span().start);
                let path = fields.path_of(name);
                fields.reader.places.note(&path, line);
            } else {
                // Written as a TOML key would be: it may hold anything.
                let bare =
                    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') && !name.is_empty();
                let shown = if bare { name.to_owned() } else { format!("{name:?}") };
                let line = fields.reader.line_at(key.span().start);
                let message = format!("is no key here; there are {}", known.join(", "));
                let field = fields.path_of(&shown);
                fields.reader.push(Flaw { line: Some(line), field, message });
            }
        }
        fields
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Blames a field.
    pub(super) fn blame(&mut self, key: &str, message: impl Into<String>) {
        let flaw = self.reader.places.flaw(&self.path_of(key), message);
        self.reader.push(flaw);
    }

    /// Blames a field and gives `None`, so that a reading can end with it.
    pub(super) fn flaw<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.blame(key, message);
        None
    }

    fn optional(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    fn required(&mut self, key: &str) -> Option<&'t DeValue<'t>> {
        match self.optional(key) {
            Some(value) => Some(value.get_ref()),
            None => self.flaw(key, "is missing"),
        }
    }

    fn wrong_kind<T>(&mut self, key: &str, value: &DeValue<'_>, wanted: &str) -> Option<T> {
        self.flaw(key, format!("is of the kind {}; give {wanted}", value.type_str()))
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str) -> Option<&'t str> {
        match self.required(key)? {
            DeValue::String(text) => Some(text),
            other => self.wrong_kind(key, other, "a string"),
        }
    }

    /// A text, or nothing.
    pub(super) fn optional_text(&mut self, key: &str) -> Option<&'t str> {
        match self.optional(key)?.get_ref() {
            DeValue::String(text) => Some(text),
            other => self.wrong_kind(key, other, "a string"),
        }
    }

    /// `true` or `false`, or nothing.
    pub(super) fn optional_flag(&mut self, key: &str) -> Option<bool> {
        match self.optional(key)?.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.wrong_kind(key, other, "true or false"),
        }
    }

    /// A whole number.
    pub(super) fn whole<T: TryFrom<i128>>(&mut self, key: &str) -> Option<T> {
        let value = self.required(key)?;
        self.whole_of(key, value)
    }

    /// A whole number, or nothing.
    pub(super) fn optional_whole<T: TryFrom<i128>>(&mut self, key: &str) -> Option<T> {
        let value = self.optional(key)?.get_ref();
        self.whole_of(key, value)
    }

    fn whole_of<T: TryFrom<i128>>(&mut self, key: &str, value: &DeValue<'_>) -> Option<T> {
        let DeValue::Integer(digits) = value else { return self.wrong_kind(key, value, "a whole number") };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i128::MAX);
        match T::try_from(number) {
            Ok(number) => Some(number),
            Err(_) if number < 0 => self.flaw(key, format!("is {digits}; it must not be negative")),
            Err(_) => self.flaw(key, format!("is {digits}, which is too large")),
        }
    }

    /// An id, as a string or as an integer.
    pub(super) fn id<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr<Err = InvalidId> + TryFrom<u64, Error = InvalidId>,
    {
        let value = self.required(key)?;
        let (id, shown) = match value {
            DeValue::String(text) => (text.parse(), format!("{text:?}")),
            DeValue::Integer(digits) => {
                // What no u64 holds is as little an id as 0 is.
                let number = u64::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(0);
                (T::try_from(number), digits.to_string())
            }
            other => return self.wrong_kind(key, other, "an id, as a string or an integer"),
        };
        match id {
            Ok(id) => Some(id),
            Err(error) => self.flaw(key, format!("is {shown}; {error}")),
        }
    }

    /// An id that may stand once in the file among those of its kind.
    pub(super) fn id_once<T>(&mut self, key: &str, kind: &'static str, number: fn(T) -> u64) -> Option<T>
    where
        T: FromStr<Err = InvalidId> + TryFrom<u64, Error = InvalidId> + Copy,
    {
        let id: T = self.id(key)?;
        let field = self.path_of(key);
        match self.reader.ids.entry((kind, number(id))) {
            Entry::Vacant(free) => {
                free.insert(field);
                Some(id)
            }
            Entry::Occupied(taken) => {
                let message = format!("is {}, as {} is; each {kind} has its own", taken.key().1, taken.get());
                self.flaw(key, message)
            }
        }
    }

    /// A moment in RFC 3339, as a string or as a TOML date-time, in epoch milliseconds.
    pub(super) fn moment_ms(&mut self, key: &str) -> Option<u64> {
        let moment: Datetime = match self.required(key)? {
            DeValue::Datetime(moment) => *moment,
            // TOML's grammar of a date-time is that of RFC 3339.
            DeValue::String(text) => match text.parse() {
                Ok(moment) => moment,
                Err(_) => return self.flaw(key, format!("is {text:?}; {MOMENT}")),
            },
            other => return self.wrong_kind(key, other, "a time, such as 2026-11-21T04:00:00Z"),
        };
        if moment.date.is_none() || moment.time.is_none() || moment.offset.is_none() {
            return self.flaw(key, format!("is {moment}; {MOMENT}"));
        }
        let Ok(instant) = moment.to_string().parse::<Timestamp>() else {
            return self.flaw(key, format!("is {moment}, which no calendar has"));
        };
        if instant.subsec_nanosecond() % 1_000_000 != 0 {
            return self.flaw(key, format!("is {moment}; give at most milliseconds"));
        }
        match u64::try_from(instant.as_millisecond()) {
            Ok(ms) => Some(ms),
            Err(_) => self.flaw(key, format!("is {moment}, which is before 1970")),
        }
    }

    /// The same, or nothing.
    pub(super) fn optional_moment_ms(&mut self, key: &str) -> Option<u64> {
        self.optional(key)?;
        self.moment_ms(key)
    }

    /// A table.
    pub(super) fn table<T>(&mut self, key: &str, known: &[&str], read: Read<T>) -> Option<T> {
        let value = self.required(key)?;
        let DeValue::Table(table) = value else { return self.wrong_kind(key, value, "a table") };
        let path = self.path_of(key);
        read(&mut Fields::open(self.reader, &path, table, known))
    }

    /// An array of tables, each read in turn; none of them when one is no table, so that an index
    /// always means its own.
    pub(super) fn tables<T>(&mut self, key: &str, known: &[&str], read: Read<T>) -> Vec<T> {
        let Some(value) = self.required(key) else { return Vec::new() };
        let DeValue::Array(elements) = value else {
            let none: Option<Vec<T>> = self.wrong_kind(key, value, "an array of tables");
            return none.unwrap_or_default();
        };
        let mut found = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let path = self.path_of(&format!("{key}[{index}]"));
            let line = self.reader.line_at(element.span().start);
            self.reader.places.note(&path, line);
            match element.get_ref() {
                DeValue::Table(table) => found.extend(read(&mut Fields::open(self.reader, &path, table, known))),
                other => {
                    self.blame(key, format!("holds a value of the kind {} at [{index}]; give tables", other.type_str()))
                }
            }
        }
        if found.len() == elements.len() { found } else { Vec::new() }
    }

    /// A valid id in the place of a flawed one, so that the rest can be judged. No other stand-in
    /// is like it, but for those of tenants, whose ids are short and stand once in a file. (There
    /// always is one.)
    pub(super) fn stand_in<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.reader.stand_ins += 1;
        T::try_from(ID_MAX - self.reader.stand_ins).or_else(|_| T::try_from(1)).ok()
    }
}

/// A valid price in the place of a flawed one. (There always is one.)
pub(super) fn stand_in_price() -> Option<Money> {
    Some(Money { amount: 0, currency: "EUR".parse().ok()? })
}
