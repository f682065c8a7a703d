//! Lines of a bill as bytes. Alipay's bills are in GBK, and in UTF-8 once somebody saved them anew:
//! the few words that matter are known in both, and all else that is read is ASCII. No byte of a
//! character of GBK is a comma, a quote, a digit or the end of a line.

use super::BillError;
use crate::payment::amount;

/// Places of a fee.
pub(super) const FEE_PLACES: u8 = 5;
/// Places of an amount: bills are in yuan.
pub(super) const PLACES: u8 = 2;

/// A word of a bill.
pub(super) struct Word {
    /// For messages, and in UTF-8.
    pub(super) text: &'static str,
    gbk: &'static [u8],
}

impl Word {
    /// Whether the bytes begin with it. Heads of columns end with the unit in brackets of either
    /// width.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.text.as_bytes()) || bytes.starts_with(self.gbk)
    }
}

pub(super) const TRADE: Word =
    Word { text: "支付宝交易号", gbk: b"\xd6\xa7\xb8\xb6\xb1\xa6\xbd\xbb\xd2\xd7\xba\xc5" };
pub(super) const OURS: Word = Word { text: "商户订单号", gbk: b"\xc9\xcc\xbb\xa7\xb6\xa9\xb5\xa5\xba\xc5" };
pub(super) const KIND: Word = Word { text: "业务类型", gbk: b"\xd2\xb5\xce\xf1\xc0\xe0\xd0\xcd" };
pub(super) const AMOUNT: Word = Word { text: "订单金额", gbk: b"\xb6\xa9\xb5\xa5\xbd\xf0\xb6\xee" };
pub(super) const REFUND_NUMBER: Word =
    Word { text: "退款批次号", gbk: b"\xcd\xcb\xbf\xee\xc5\xfa\xb4\xce\xba\xc5" };
pub(super) const FEE: Word = Word { text: "服务费", gbk: b"\xb7\xfe\xce\xf1\xb7\xd1" };
pub(super) const REFUND: Word = Word { text: "退款", gbk: b"\xcd\xcb\xbf\xee" };
pub(super) const PAYMENT: Word = Word { text: "交易", gbk: b"\xbd\xbb\xd2\xd7" };
pub(super) const PAYMENTS_TOTAL: Word = Word { text: "#交易合计", gbk: b"\x23\xbd\xbb\xd2\xd7\xba\xcf\xbc\xc6" };
pub(super) const REFUNDS_TOTAL: Word = Word { text: "#退款合计", gbk: b"\x23\xcd\xcb\xbf\xee\xba\xcf\xbc\xc6" };

/// The lines without their ends, by their number from 1; empty ones are left out.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty())
}

/// An amount, in ASCII.
pub(super) fn amount(field: &[u8], places: u8, line: usize, column: &'static str) -> Result<i64, BillError> {
    let text = std::str::from_utf8(field).map_err(|_other| BillError::Amount(line, column))?;
    amount::parse(text, places).map_err(|_invalid| BillError::Amount(line, column))
}

/// A number of ours or of the provider's, in ASCII.
pub(super) fn ascii(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Adds up without losing count.
pub(super) fn add(sum: &mut i64, amount: i64) -> Result<(), BillError> {
    *sum = sum.checked_add(amount).ok_or(BillError::TooLarge)?;
    Ok(())
}

/// What the bill states against what its lines come to.
pub(super) fn check(of: &'static str, stated: i64, counted: i64) -> Result<(), BillError> {
    if stated == counted { Ok(()) } else { Err(BillError::Totals { of, stated, counted }) }
}
