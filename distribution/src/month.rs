//! Months and days of the calendar, UTC, as people write them: `2026-11`, `2026-11-28`.

use std::{fmt, str::FromStr};

use crate::book::DAY_MS;

/// A month of this century.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Month {
    year: u64,
    /// From 1.
    month: u64,
}

/// A text that is no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a month such as 2026-11")]
pub(crate) struct NoMonth;

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let number = |text: &str, length| {
            let is_plain = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_plain).ok_or(NoMonth)
        };
        let this = Self { year: number(year, 4)?, month: number(month, 2)? };
        let is_one = (2_000..2_100).contains(&this.year) && (1..=12).contains(&this.month);
        if is_one { Ok(this) } else { Err(NoMonth) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.year, self.month)
    }
}

impl Month {
    /// Its first millisecond.
    pub(crate) fn first_ms(self) -> u64 {
        // Years that begin in March end with the day that leaps.
        let (year, month) = if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5;
        (days - 719_468) * DAY_MS
    }

    /// The first millisecond after it.
    pub(crate) fn end_ms(self) -> u64 {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 }.first_ms(),
            month => Self { month: month + 1, ..self }.first_ms(),
        }
    }
}

/// The first millisecond of a day such as `2026-11-28`.
pub(crate) fn day_ms(text: &str) -> Option<u64> {
    let (month, day) = text.rsplit_once('-')?;
    let is_plain = day.len() == 2 && day.bytes().all(|byte| byte.is_ascii_digit());
    let (month, day): (Month, u64) = (month.parse().ok()?, day.parse().ok().filter(|_| is_plain)?);
    let ms = month.first_ms() + day.checked_sub(1)? * DAY_MS;
    (ms < month.end_ms()).then_some(ms)
}

#[cfg(test)]
mod tests {
    use kit::clock::rfc3339;

    use super::*;

    #[test]
    fn months_begin_and_end_where_the_calendar_says() {
        for (month, first, end) in [
            ("2026-11", "2026-11-01", "2026-12-01"),
            ("2026-12", "2026-12-01", "2027-01-01"),
            ("2028-02", "2028-02-01", "2028-03-01"),
            ("2000-01", "2000-01-01", "2000-02-01"),
        ] {
            let read: Month = month.parse().unwrap();
            assert_eq!(read.to_string(), month);
            for (ms, day) in [(read.first_ms(), first), (read.end_ms(), end)] {
                assert_eq!(rfc3339(ms), format!("{day}T00:00:00.000Z"));
            }
        }
        let leap: Month = "2028-02".parse().unwrap();
        assert_eq!(leap.end_ms() - leap.first_ms(), 29 * DAY_MS);
        assert_eq!(day_ms("2028-02-29"), Some(leap.end_ms() - DAY_MS));
        for none in ["2026-02-29", "2026-02-00", "2026-02-1", "2026-02", "2026-02-+1", ""] {
            assert_eq!(day_ms(none), None, "{none}");
        }
        for none in ["", "2026", "2026-13", "2026-00", "2026-1", "1999-12", "2026-11-01", "+026-11", "2026-+1"] {
            assert_eq!(none.parse::<Month>(), Err(NoMonth), "{none}");
        }
    }
}
