//! Statements of fixed sizes. Each size of a multi-row INSERT or an IN list is a prepared statement of its own, so there may be
//! few: powers of two. Their texts are made once.

use std::sync::OnceLock;

/// Rows or keys in one statement, at most.
pub(crate) const SIZE_MAX: usize = 512;
const SIZES: usize = SIZE_MAX.ilog2() as usize + 1;
const _: () = assert!(SIZE_MAX.is_power_of_two());

/// A statement with repeated parts in square brackets, which end in their separator:
/// `INSERT INTO t (a, b) VALUES [(?, ?),]`, `DELETE FROM t WHERE a IN ([?,])`.
#[derive(Debug)]
pub(crate) struct Fixed {
    template: String,
    texts: [OnceLock<String>; SIZES],
}

impl Fixed {
    pub(crate) fn new(template: impl Into<String>) -> Self {
        Self { template: template.into(), texts: [const { OnceLock::new() }; SIZES] }
    }

    /// Splits the items over statements that take exactly so many: largest first, nothing repeated.
    pub(crate) fn exactly<'a, T>(&'a self, mut items: &'a [T]) -> impl Iterator<Item = (&'a str, &'a [T])> {
        std::iter::from_fn(move || {
            let size = items.len().min(SIZE_MAX).checked_ilog2()?;
            let (now, later) = items.split_at(1 << size);
            items = later;
            Some((self.text(size as usize), now))
        })
    }

    /// Splits the items over as few statements as can be; the last of each chunk is repeated until the size fits. Only where a
    /// repeated item does no harm.
    pub(crate) fn padded<'a, T: Copy>(&'a self, items: &'a [T]) -> impl Iterator<Item = (&'a str, Vec<T>)> {
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

    /// Every item goes into exactly one statement, and a statement never gets another number than its text takes.
    #[test]
    fn sizes_fit_their_texts() {
        let insert = Fixed::new("[?,]");
        let marks = |text: &str| text.bytes().filter(|&b| b == b'?').count();
        for count in [0, 1, 2, 3, 511, 512, 513, 1700] {
            let items: Vec<usize> = (0..count).collect();
            let exact: Vec<_> = insert.exactly(&items).collect();
            assert!(exact.iter().all(|(text, chunk)| marks(text) == chunk.len()));
            assert_eq!(exact.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect::<Vec<_>>(), items);
            let mut padded: Vec<_> = insert.padded(&items).collect();
            assert!(padded.iter().all(|(text, chunk)| marks(text) == chunk.len() && chunk.len() <= SIZE_MAX));
            padded.iter_mut().for_each(|(_, chunk)| chunk.dedup());
            assert_eq!(padded.into_iter().flat_map(|(_, chunk)| chunk).collect::<Vec<_>>(), items);
        }
    }
}
