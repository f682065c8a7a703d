//! The trade bill of Alipay (`bill_type=trade`, the file of details), in CSV: GBK, comments behind
//! `#`, tabs behind numbers, refunds as negative amounts. Totals stand in the last comments.
//! (D) `alipay.data.dataservice.bill.downloadurl.query`

use super::text::{self, FEE_PLACES, PLACES, Word};
use super::{Bill, BillError, Entry, Kind};

/// The fields of a line, trimmed. A quoted one keeps its commas.
fn fields(line: &[u8]) -> Vec<&[u8]> {
    let (mut fields, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                fields.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(&line[start..]);
    let trim = |field: &'_ &[u8]| -> (usize, usize) {
        let is_kept = |byte: &u8| !byte.is_ascii_whitespace() && *byte != b'"';
        let from = field.iter().position(is_kept).unwrap_or(field.len());
        (from, field.iter().rposition(is_kept).map_or(from, |last| last + 1))
    };
    fields
        .into_iter()
        .map(|field| {
            let (from, to) = trim(&field);
            &field[from..to]
        })
        .collect()
}

/// The numbers of a line of totals, `…3笔，商家实收共30.00元…`, as they stand.
fn numbers(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    line.split(move |byte| !is_part(byte)).filter(|part| !part.is_empty())
}

struct Columns {
    width: usize,
    places: [usize; 6],
}

fn columns(head: &[u8]) -> Result<Columns, BillError> {
    let heads = fields(head);
    let wanted: [Word; 6] = [text::TRADE, text::OURS, text::KIND, text::AMOUNT, text::REFUND_NUMBER, text::FEE];
    let mut places = [0; 6];
    for (place, word) in places.iter_mut().zip(&wanted) {
        *place = heads.iter().position(|head| word.begins(head)).ok_or(BillError::NoColumn(word.text))?;
    }
    Ok(Columns { width: heads.len(), places })
}

/// Reads a bill, and holds the number of its lines against its own totals. (The totals state what
/// the shop receives, after what others gave for it, and say nothing about prices.)
///
/// # Errors
///
/// [`BillError`]: a bill is taken whole or not at all.
pub fn read(bytes: &[u8]) -> Result<Bill, BillError> {
    let mut known: Option<Columns> = None;
    let (mut bill, mut counts, mut stated) = (Bill::default(), [0_i64; 2], [None; 2]);
    for (number, line) in text::lines(bytes) {
        if line.starts_with(b"#") {
            for (stated, word) in stated.iter_mut().zip([text::PAYMENTS_TOTAL, text::REFUNDS_TOTAL]) {
                if word.begins(line) {
                    let first = numbers(line).next().ok_or(BillError::Amount(number, word.text))?;
                    *stated = Some(text::amount(first, 0, number, word.text)?);
                }
            }
            continue;
        }
        let Some(columns) = &known else {
            known = Some(columns(line)?);
            continue;
        };
        let fields = fields(line);
        if fields.len() != columns.width {
            return Err(BillError::Fields(number));
        }
        let [trade, ours, kind, amount, refund, fee] = columns.places;
        let amount = text::amount(fields[amount], PLACES, number, text::AMOUNT.text)?;
        let (kind, ours) = match fields[kind] {
            word if text::PAYMENT.begins(word) => (Kind::Payment, fields[ours]),
            word if text::REFUND.begins(word) => (Kind::Refund, fields[refund]),
            _ => return Err(BillError::Kind(number)),
        };
        text::add(&mut counts[usize::from(kind == Kind::Refund)], 1)?;
        // The sign says the way, which `kind` says.
        let amount = amount.checked_abs().ok_or(BillError::TooLarge)?;
        let (ours, provider_number) = (text::ascii(ours), text::ascii(fields[trade]));
        bill.entries.push(Entry { kind, number: ours, provider_number, amount });
        // A fee that was paid is negative here.
        let fee = text::amount(fields[fee], FEE_PLACES, number, text::FEE.text)?;
        text::add(&mut bill.fees_e5, fee.checked_neg().ok_or(BillError::TooLarge)?)?;
    }
    let [Some(payments), Some(refunds)] = stated else { return Err(BillError::CutOff) };
    text::check(text::PAYMENTS_TOTAL.text, payments, counts[0])?;
    text::check(text::REFUNDS_TOTAL.text, refunds, counts[1])?;
    Ok(bill)
}
