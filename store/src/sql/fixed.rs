//! Statements of fixed sizes. Each size of a multi-row INSERT or an IN list is a prepared statement
//! of its own, so there may be few: powers of two. Their texts are made once.

use std::sync::OnceLock;

/// Rows or keys in one statement, at most.
pub(crate) const SIZE_MAX: usize = 512;
const SIZES: usize = SIZE_MAX.ilog2() as usize + 1;
const _: () = assert!(SIZE_MAX.is_power_of_two());

/// A statement with repeated parts in square brackets, which end in their separator:
/// `INSERT INTO t (a, b) VALUES [(?, ?),]`, `DELETE FROM t WHERE a IN ([?,])`.
#[derive(Debug)]
pub struct Fixed {
    template: String,
    texts: [OnceLock<String>; SIZES],
}

impl Fixed {
    /// From its template.
    pub fn new(template: impl Into<String>) -> Self {
        Self { template: template.into(), texts: [const { OnceLock::new() }; SIZES] }
    }

    /// Splits so many items over statements that take exactly as many: largest first, nothing
    /// repeated.
    #[cfg_attr(not(feature = "production"), allow(dead_code, reason = "a file spares no round trips"))]
    fn exactly(&self, mut count: usize) -> impl Iterator<Item = (&str, usize)> {
        std::iter::from_fn(move || {
            let size = count.min(SIZE_MAX).checked_ilog2()?;
            count -= 1 << size;
            Some((self.text(size as usize), 1 << size))
        })
    }

    /// Splits the items over as few statements as can be; the last of each chunk is repeated until
    /// the size fits. Only where a repeated item does no harm.
    pub fn padded<'a, T: Copy>(&'a self, items: &'a [T]) -> impl Iterator<Item = (&'a str, Vec<T>)> {
        items.chunks(SIZE_MAX).map(|chunk| {
            let size = chunk.len().next_power_of_two();
            let mut padded = Vec::with_capacity(size);
            padded.extend_from_slice(chunk);
            if let Some(&last) = chunk.last() {
                padded.resize(size, last);
            }
            (self.text(size.ilog2() as usize), padded)
        })
    }

    fn text(&self, size: usize) -> &str {
        self.texts[size].get_or_init(|| expand(&self.template, 1 << size))
    }
}

/// An INSERT of any number of rows, whose values stand one after the other.
#[derive(Debug)]
pub struct Insert {
    rows: Fixed,
    columns: usize,
}

impl Insert {
    /// From a statement with the values of one row in square brackets, as [`Fixed`] has them:
    /// `INSERT INTO t (a, b) VALUES [(?, ?),]`.
    pub fn new(template: impl Into<String>) -> Self {
        let template = template.into();
        Self { columns: template.bytes().filter(|&byte| byte == b'?').count(), rows: Fixed::new(template) }
    }

    /// Parameters of one row.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The statement for one row.
    pub(crate) fn single(&self) -> &str {
        self.rows.text(0)
    }

    /// Statements for all rows of so many values, each with the number of values that it takes.
    #[cfg_attr(not(feature = "production"), allow(dead_code, reason = "as above"))]
    pub(crate) fn statements(&self, values: usize) -> impl Iterator<Item = (&str, usize)> {
        self.rows.exactly(values / self.columns).map(|(text, rows)| (text, rows * self.columns))
    }
}

fn expand(template: &str, times: usize) -> String {
    let mut text = String::with_capacity(template.len() + template.len() * times / 2);
    for part in template.split_inclusive(']') {
        match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((before, repeated)) => {
                text.push_str(before);
                (0..times).for_each(|_| text.push_str(repeated));
                text.pop(); // the last separator
            }
            None => text.push_str(part),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_repeat_without_the_last_separator() {
        assert_eq!(expand("INSERT INTO t VALUES [(?, ?),]", 3), "INSERT INTO t VALUES (?, ?),(?, ?),(?, ?)");
        let update = "UPDATE t SET a = CASE b [WHEN ? THEN ? ] ELSE a END WHERE b IN ([?,]) AND c = 1";
        let expected = "UPDATE t SET a = CASE b WHEN ? THEN ? WHEN ? THEN ? ELSE a END WHERE b IN (?,?) AND c = 1";
        assert_eq!(expand(update, 2), expected);
        assert_eq!(expand("SELECT 1", 8), "SELECT 1");
    }

    /// Every item goes into exactly one statement, and a statement never gets another number than
    /// its text takes.
    #[test]
    fn sizes_fit_their_texts() {
        let insert = Fixed::new("[?,]");
        let marks = |text: &str| text.bytes().filter(|&b| b == b'?').count();
        for count in [0, 1, 2, 3, 511, 512, 513, 1700] {
            let items: Vec<usize> = (0..count).collect();
            let exact: Vec<_> = insert.exactly(count).collect();
            assert!(exact.iter().all(|&(text, taken)| marks(text) == taken));
            assert_eq!(exact.iter().map(|(_, taken)| taken).sum::<usize>(), count);
            let mut padded: Vec<_> = insert.padded(&items).collect();
            assert!(padded.iter().all(|(text, chunk)| marks(text) == chunk.len() && chunk.len() <= SIZE_MAX));
            padded.iter_mut().for_each(|(_, chunk)| chunk.dedup());
            assert_eq!(padded.into_iter().flat_map(|(_, chunk)| chunk).collect::<Vec<_>>(), items);
        }
    }

    /// An INSERT counts in values: each statement gets those of whole rows.
    #[test]
    fn an_insert_takes_whole_rows() {
        let insert = Insert::new("INSERT INTO t (a, b, c) VALUES [(?, 7, ?),]");
        assert_eq!((insert.columns(), insert.single()), (2, "INSERT INTO t (a, b, c) VALUES (?, 7, ?)"));
        let statements: Vec<_> = insert.statements(2 * 515).map(|(_, values)| values).collect();
        assert_eq!(statements, [2 * 512, 2 * 2, 2]);
        assert_eq!(insert.statements(0).count(), 0);
    }
}
