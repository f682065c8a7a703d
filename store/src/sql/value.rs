//! Values that go into statements and come back in rows.

use std::vec;

use bytes::Bytes;
use domain::id::InvalidId;

use super::SqlError;

/// A parameter, or a column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value: SQL's NULL.
    Null,
    /// Ids, counts, times, money.
    Int(i64),
    /// Text. A database may give it back as bytes.
    Text(String),
    /// Bytes as they are.
    Bytes(Bytes),
}

impl Value {
    /// A text, or NULL for `None`.
    #[must_use]
    pub fn text_or_null(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

macro_rules! ints {
    ($($int:ty),*) => {$(
        impl From<$int> for Value {
            fn from(value: $int) -> Self {
                Self::Int(value.into())
            }
        }
    )*};
}

ints!(i64, u32, u16, u8);

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// A number as databases store it.
///
/// # Errors
/// [`SqlError::Unfit`] above `i64::MAX`.
pub fn stored(number: u64) -> Result<i64, SqlError> {
    i64::try_from(number).map_err(|_| SqlError::Unfit(format!("{number} is too large to be stored").into()))
}

/// A number that databases store, as programs count: the way back from [`stored`].
///
/// # Errors
/// [`SqlError::Broken`] below zero.
pub fn loaded(number: i64) -> Result<u64, SqlError> {
    u64::try_from(number).map_err(|_| SqlError::Broken(format!("{number} is below zero").into()))
}

/// A row, read from its first column to its last: each getter takes the next column.
#[derive(Debug)]
pub struct Row {
    values: vec::IntoIter<Value>,
    column: usize,
}

impl Row {
    /// A row of these columns.
    pub fn new(values: Vec<Value>) -> Self {
        Self { values: values.into_iter(), column: 0 }
    }

    fn next(&mut self) -> Result<Value, SqlError> {
        self.column += 1;
        self.values.next().ok_or_else(|| SqlError::Broken(format!("the row has no column {}", self.column).into()))
    }

    fn wrong(&self, expected: &str, found: impl std::fmt::Debug) -> SqlError {
        SqlError::Broken(format!("column {} is no {expected}: {found:?}", self.column).into())
    }

    /// The next column, a whole number.
    ///
    /// # Errors
    /// All getters: [`SqlError::Broken`] for a missing column, another type, or a value out of
    /// range.
    pub fn int(&mut self) -> Result<i64, SqlError> {
        match self.next()? {
            Value::Int(number) => Ok(number),
            other => Err(self.wrong("integer", other)),
        }
    }

    /// The next column, a whole number or NULL.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn int_or_null(&mut self) -> Result<Option<i64>, SqlError> {
        match self.next()? {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            other => Err(self.wrong("integer or null", other)),
        }
    }

    /// The next column, a time or NULL.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn time_or_null(&mut self) -> Result<Option<u64>, SqlError> {
        self.int_or_null()?.map(|at_ms| u64::try_from(at_ms).map_err(|_| self.wrong("time", at_ms))).transpose()
    }

    /// The next column, in the range of `T`.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn number<T: TryFrom<i64>>(&mut self) -> Result<T, SqlError> {
        let number = self.int()?;
        T::try_from(number).map_err(|_| self.wrong(std::any::type_name::<T>(), number))
    }

    /// The next column, an id: `row.id(OrderId::new)`.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn id<T>(&mut self, new: impl FnOnce(u64) -> Result<T, InvalidId>) -> Result<T, SqlError> {
        let number: u64 = self.number()?;
        new(number).map_err(|_| self.wrong("id", number))
    }

    /// The next column, a blob.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn bytes(&mut self) -> Result<Bytes, SqlError> {
        match self.next()? {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(self.wrong("blob", other)),
        }
    }

    /// The next column, text.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn text(&mut self) -> Result<String, SqlError> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            Value::Bytes(bytes) => String::from_utf8(bytes.into()).map_err(|error| self.wrong("text", error)),
            other => Err(self.wrong("text", other)),
        }
    }

    /// The next column through `read`; `None` from it is an error that names the column.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn int_as<T>(&mut self, what: &str, read: impl FnOnce(i64) -> Option<T>) -> Result<T, SqlError> {
        let number = self.int()?;
        read(number).ok_or_else(|| self.wrong(what, number))
    }

    /// As [`Row::int_as`], of text.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn text_as<T>(&mut self, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, SqlError> {
        let text = self.text()?;
        read(&text).ok_or_else(|| self.wrong(what, &text))
    }

    /// The next column, text or NULL.
    ///
    /// # Errors
    /// See [`Row::int`].
    pub fn text_or_null(&mut self) -> Result<Option<String>, SqlError> {
        match self.values.as_slice().first() {
            Some(Value::Null) => self.next().map(|_null| None),
            _ => self.text().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::id::OrderId;

    use super::*;

    /// A wrong column is named, with what was expected and what stood there.
    #[test]
    fn a_wrong_column_is_named() {
        let mut times = Row::new(vec![Value::Null, Value::Int(7), Value::Int(-7)]);
        assert_eq!((times.time_or_null().unwrap(), times.time_or_null().unwrap()), (None, Some(7)));
        assert!(times.time_or_null().unwrap_err().to_string().contains("column 3 is no time: -7"));
        assert!(loaded(-7).unwrap_err().to_string().contains("-7 is below zero"));
        let mut row = Row::new(vec![Value::Int(300), Value::Int(0), Value::Null]);
        assert_eq!(row.number::<u8>().unwrap_err().to_string(), "the database refused: column 1 is no u8: 300");
        assert_eq!(row.id(OrderId::new).unwrap_err().to_string(), "the database refused: column 2 is no id: 0");
        assert!(row.text().unwrap_err().to_string().contains("column 3 is no text: Null"));
        assert!(row.int().unwrap_err().to_string().contains("no column 4"));
    }
}
