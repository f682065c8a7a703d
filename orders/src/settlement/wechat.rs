//! The trade bill of WeChat Pay, `bill_type=ALL`, in CSV of its own kind: UTF-8, a backtick before
//! each field, fields not quoted, so that a name with a comma is told by the backtick that is
//! missing behind it. Columns are found by their heads; totals close it.
//! (D) <https://pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter3_1_6.shtml>

use super::text::{self, FEE_PLACES, PLACES};
use super::{Bill, BillError, Entry, Kind};

const PROVIDER: &str = "微信订单号";
const OURS: &str = "商户订单号";
const STATE: &str = "交易状态";
const REFUND_NUMBER: &str = "商户退款单号";
const FEE: &str = "手续费";
const PAID: &str = "订单金额";
const REFUNDED: &str = "申请退款金额";
const COLUMNS: [&str; 7] = [PROVIDER, OURS, STATE, REFUND_NUMBER, FEE, PAID, REFUNDED];

const COUNT: &str = "总交易单数";
const PAID_TOTAL: &str = "订单总金额";
const REFUNDED_TOTAL: &str = "申请退款总金额";
const TOTALS: [&str; 3] = [COUNT, PAID_TOTAL, REFUNDED_TOTAL];

/// The places of these columns in a head.
fn places<const N: usize>(head: &[u8], columns: [&'static str; N]) -> Result<[usize; N], BillError> {
    let heads: Vec<&[u8]> = head.split(|byte| *byte == b',').collect();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        let found = heads.iter().position(|head| *head == column.as_bytes());
        *place = found.ok_or(BillError::NoColumn(column))?;
    }
    Ok(places)
}

/// The fields of a line: behind its first backtick, and split at each comma with a backtick.
fn fields(line: &[u8], number: usize, count: usize) -> Result<Vec<&[u8]>, BillError> {
    let mut rest = line.strip_prefix(b"`").ok_or(BillError::Fields(number))?;
    let mut fields = Vec::with_capacity(count);
    while let Some(end) = rest.windows(2).position(|pair| pair == b",`") {
        fields.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    fields.push(rest);
    if fields.len() == count { Ok(fields) } else { Err(BillError::Fields(number)) }
}

/// Reads a bill, and holds it against its own totals.
///
/// # Errors
///
/// [`BillError`]: a bill is taken whole or not at all.
pub fn read(bytes: &[u8]) -> Result<Bill, BillError> {
    let mut lines = text::lines(bytes);
    let (_, head) = lines.next().ok_or(BillError::CutOff)?;
    let [provider, ours, state, refund_number, fee, paid, refunded] = places(head, COLUMNS)?;
    let width = head.split(|byte| *byte == b',').count();
    let (mut bill, mut count, mut paid_sum, mut refunded_sum) = (Bill::default(), 0_i64, 0, 0);
    for (number, line) in &mut lines {
        if line.starts_with(COUNT.as_bytes()) {
            let [at_count, at_paid, at_refunded] = places(line, TOTALS)?;
            let width = line.split(|byte| *byte == b',').count();
            let (number, line) = lines.next().ok_or(BillError::CutOff)?;
            let fields = fields(line, number, width)?;
            text::check(COUNT, text::amount(fields[at_count], 0, number, COUNT)?, count)?;
            text::check(PAID_TOTAL, text::amount(fields[at_paid], PLACES, number, PAID_TOTAL)?, paid_sum)?;
            let stated = text::amount(fields[at_refunded], PLACES, number, REFUNDED_TOTAL)?;
            text::check(REFUNDED_TOTAL, stated, refunded_sum)?;
            return Ok(bill);
        }
        let fields = fields(line, number, width)?;
        let (paid, refunded) = (
            text::amount(fields[paid], PLACES, number, PAID)?,
            text::amount(fields[refunded], PLACES, number, REFUNDED)?,
        );
        // Money that was taken back at the counter (`REVOKED`) went the way of a refund.
        let (kind, ours, amount) = match fields[state] {
            b"SUCCESS" => (Kind::Payment, fields[ours], paid),
            b"REFUND" | b"REVOKED" => (Kind::Refund, fields[refund_number], refunded),
            _ => return Err(BillError::Kind(number)),
        };
        let (number_of_ours, provider_number) = (text::ascii(ours), text::ascii(fields[provider]));
        bill.entries.push(Entry { kind, number: number_of_ours, provider_number, amount });
        text::add(&mut bill.fees_e5, text::amount(fields[fee], FEE_PLACES, number, FEE)?)?;
        text::add(&mut count, 1)?;
        text::add(&mut paid_sum, paid)?;
        text::add(&mut refunded_sum, refunded)?;
    }
    Err(BillError::CutOff)
}
