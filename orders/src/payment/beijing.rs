//! Providers write the hour of Beijing, which has no summer time: UTC+8.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

const BEIJING: Offset = Offset::constant(8);
const PLAIN: &str = "%Y-%m-%d %H:%M:%S";

fn zoned(epoch_ms: u64) -> Zoned {
    let moment = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // Beyond the year 9999 there is no such text; nothing of ours lies there.
    moment.unwrap_or(Timestamp::MAX).to_zoned(TimeZone::fixed(BEIJING))
}

fn epoch_ms(moment: Timestamp) -> Option<u64> {
    u64::try_from(moment.as_millisecond()).ok()
}

/// `2018-06-08 10:34:56`, as Alipay writes.
pub(crate) fn plain(epoch_ms: u64) -> String {
    zoned(epoch_ms).strftime(PLAIN).to_string()
}

/// `2018-06-08T10:34:56+08:00`, as WeChat writes.
pub(crate) fn with_offset(epoch_ms: u64) -> String {
    zoned(epoch_ms).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The inverse of [`plain`].
pub(crate) fn read_plain(text: &str) -> Option<u64> {
    let civil = DateTime::strptime(PLAIN, text).ok()?;
    epoch_ms(BEIJING.to_timestamp(civil).ok()?)
}

/// The inverse of [`with_offset`]; any offset.
pub(crate) fn read_with_offset(text: &str) -> Option<u64> {
    epoch_ms(text.parse().ok()?)
}
