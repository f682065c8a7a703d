//! Reads the scripts' replies. Anything of another shape than the scripts document is [`StockError::Broken`].

use bytes::Bytes;
use domain::{
    id::{BatchId, Epoch, KeyHash, OfferId, OrderId, PurchaseNumber},
    stock::{
        CloseAnswer, LaneAnswer, LaneMode, LaneView, LoadAnswer, Purchase, ReserveAnswer, ReserveReply, ReserveRequest,
    },
};
use redis::Value;

use crate::stock::StockError;

/// Bytes of one purchase in a buyer's entry.
pub(super) const ENTRY: usize = 42;

fn broken(what: &str) -> StockError {
    StockError::Broken(format!("something that no script of ours answers: {what}"))
}

/// The parts of a reply and its kind.
fn parts(value: Value) -> Result<(i64, std::vec::IntoIter<Value>), StockError> {
    let Value::Array(parts) = value else { return Err(broken("no list")) };
    let mut parts = parts.into_iter();
    match parts.next() {
        Some(Value::Int(kind)) => Ok((kind, parts)),
        _ => Err(broken("no kind")),
    }
}

fn bytes(value: Option<Value>) -> Result<Vec<u8>, StockError> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(bytes),
        _ => Err(broken("no bytes")),
    }
}

fn list(value: Option<Value>) -> Result<Vec<Value>, StockError> {
    match value {
        Some(Value::Array(list)) => Ok(list),
        _ => Err(broken("no list")),
    }
}

fn number(value: Option<Value>) -> Result<u64, StockError> {
    parse(&bytes(value)?)
}

fn parse(text: &[u8]) -> Result<u64, StockError> {
    let text = std::str::from_utf8(text).map_err(|_| broken("no number"))?;
    text.parse().map_err(|_| broken("no number"))
}

fn id(bytes: &[u8]) -> Result<u64, StockError> {
    <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).map_err(|_| broken("no id"))
}

fn order(bytes: &[u8]) -> Result<OrderId, StockError> {
    OrderId::new(id(bytes)?).map_err(|_| broken("no order id"))
}

/// `None` for zeros: loaded from its row.
fn batch(bytes: &[u8]) -> Result<Option<BatchId>, StockError> {
    Ok(BatchId::new(id(bytes)?).ok())
}

/// The answer of a lane that may be closed.
fn open<T>(
    value: Value,
    read: impl FnOnce(i64, std::vec::IntoIter<Value>) -> Result<T, StockError>,
) -> Result<LaneAnswer<T>, StockError> {
    let (kind, mut parts) = parts(value)?;
    match kind {
        0 => Ok(LaneAnswer::Closed { epoch: Epoch(number(parts.next())?) }),
        kind => read(kind, parts).map(LaneAnswer::Open),
    }
}

/// An answer without content.
pub(super) fn done(value: Value) -> Result<LaneAnswer<()>, StockError> {
    open(value, |_, _| Ok(()))
}

/// The answer of `withhold`.
pub(super) fn withheld(value: Value) -> Result<LaneAnswer<u64>, StockError> {
    open(value, |_, mut parts| number(parts.next()))
}

/// The answer of `reserve`.
pub(super) fn reserved(
    value: Value,
    requests: &[ReserveRequest],
    offers: &[OfferId],
) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
    open(value, |kind, mut parts| {
        if kind == 2 {
            return Ok(ReserveAnswer::JournalFull);
        }
        let (codes, extras, left) = (bytes(parts.next())?, list(parts.next())?, list(parts.next())?);
        if codes.len() != requests.len() || left.len() != offers.len() {
            return Err(broken("as many codes as requests and numbers as offers are needed"));
        }
        let mut extras = extras.into_iter();
        let replies = codes.into_iter().map(|code| reserve_reply(code, &mut extras)).collect::<Result<_, _>>()?;
        let left = offers.iter().zip(left).map(|(&offer, units)| Ok((offer, number(Some(units))?)));
        Ok(ReserveAnswer::Decided { replies, left: left.collect::<Result<_, StockError>>()? })
    })
}

fn reserve_reply(code: u8, extras: &mut impl Iterator<Item = Value>) -> Result<ReserveReply, StockError> {
    Ok(match code {
        1..=100 => ReserveReply::Reserved(PurchaseNumber(code)),
        240 => {
            let extra = bytes(extras.next())?;
            if extra.len() != 17 {
                return Err(broken("a repeat of another length"));
            }
            ReserveReply::Repeat { order: order(&extra[..8])?, batch: batch(&extra[8..16])?, settled: extra[16] == 1 }
        }
        241 => ReserveReply::Mismatch { order: order(&bytes(extras.next())?)? },
        242 => {
            let held = u32::try_from(number(extras.next())?).map_err(|_| broken("no units"))?;
            ReserveReply::LimitReached { held }
        }
        243 => ReserveReply::SoldOut { left: number(extras.next())? },
        _ => return Err(broken("an unknown code")),
    })
}

/// A buyer's entry.
pub(super) fn purchases(entry: &[u8]) -> Result<Vec<Purchase>, StockError> {
    if !entry.len().is_multiple_of(ENTRY) {
        return Err(broken("an entry of another length"));
    }
    entry.chunks_exact(ENTRY).map(purchase).collect()
}

fn purchase(bytes: &[u8]) -> Result<Purchase, StockError> {
    let mut key = [0; 16];
    key.copy_from_slice(&bytes[24..40]);
    Ok(Purchase {
        order: order(&bytes[..8])?,
        batch: batch(&bytes[8..16])?,
        offer: OfferId::new(id(&bytes[16..24])?).map_err(|_| broken("no offer id"))?,
        key: KeyHash(key),
        quantity: bytes[40].into(),
        number: (bytes[41] != 0).then_some(PurchaseNumber(bytes[41])),
    })
}

/// The inverse of [`purchases`].
pub(super) fn entry(purchases: &[Purchase]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(purchases.len() * ENTRY);
    for purchase in purchases {
        entry.extend_from_slice(&purchase.order.get().to_be_bytes());
        entry.extend_from_slice(&purchase.batch.map_or(0, BatchId::get).to_be_bytes());
        entry.extend_from_slice(&purchase.offer.get().to_be_bytes());
        entry.extend_from_slice(&purchase.key.0);
        entry.push(u8::try_from(purchase.quantity).unwrap_or(u8::MAX));
        entry.push(purchase.number.map_or(0, |number| number.0));
    }
    entry
}

/// The answer of `find`.
pub(super) fn found(value: Value) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
    open(value, |_, mut parts| {
        let (purchases, settled) = (purchases(&bytes(parts.next())?)?, bytes(parts.next())?);
        Ok(purchases.into_iter().zip(settled.into_iter().map(|settled| settled == 1)).collect())
    })
}

/// The answer of `claim`.
pub(super) fn claimed(value: Value) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
    open(value, |_, mut parts| {
        let mut claimed = Vec::new();
        while let Some(id) = parts.next() {
            claimed.push(journaled(&bytes(Some(id))?, bytes(parts.next())?)?);
        }
        Ok(claimed)
    })
}

/// A journal entry.
pub(super) fn journaled(id: &[u8], payload: Vec<u8>) -> Result<(BatchId, Bytes), StockError> {
    Ok((batch(id)?.ok_or_else(|| broken("no batch id"))?, payload.into()))
}

/// The answer of `close`.
pub(super) fn closed(value: Value) -> Result<CloseAnswer, StockError> {
    let (kind, mut parts) = parts(value)?;
    Ok(match kind {
        1 => CloseAnswer::Closed,
        2 => CloseAnswer::RefusedOpen { epoch: Epoch(number(parts.next())?) },
        3 => CloseAnswer::RefusedMarker { marker: Epoch(number(parts.next())?) },
        _ => return Err(broken("an unknown kind")),
    })
}

/// The answer of a step of `load`.
pub(super) fn loaded(value: Value) -> Result<LoadAnswer, StockError> {
    Ok(if parts(value)?.0 == 1 { LoadAnswer::Loaded } else { LoadAnswer::Refused })
}

/// The answer of `inspect`.
pub(super) fn view(value: Value) -> Result<LaneView, StockError> {
    let (same_run, mut parts) = parts(value)?;
    let fields = list(parts.next())?;
    let mut view =
        LaneView { mode: LaneMode::Missing, offers: Vec::new(), journal_len: 0, oldest_due_ms: None, buyers_len: 0 };
    let (mut is_there, mut open, mut epoch, mut marker, mut known) = (false, false, 0, 0, Vec::new());
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (name, value) = (bytes(Some(name))?, bytes(Some(value))?);
        match (name.first(), name.len()) {
            (Some(b'o'), 1) => open = value == b"1",
            (Some(b'e'), 1) => epoch = parse(&value)?,
            (Some(b'm'), 1) => marker = parse(&value)?,
            (Some(&kind @ (b'u' | b'a')), 9) => known.push((id(&name[1..])?, kind, parse(&value)?)),
            _ => {}
        }
        is_there = true;
    }
    if is_there {
        view.mode = match (open, same_run) {
            (true, 1) => LaneMode::Open { epoch: Epoch(epoch) },
            // A restart closed it, no keeper.
            (true, _) => LaneMode::Closed { marker: Epoch(0) },
            (false, _) => LaneMode::Closed { marker: Epoch(marker) },
        };
    }
    known.sort_unstable();
    // Sorted, each offer's allotment stands before its units left.
    for pair in known.chunks_exact(2) {
        let offer = OfferId::new(pair[0].0).map_err(|_| broken("no offer id"))?;
        view.offers.push((offer, pair[1].2, pair[0].2));
    }
    view.journal_len = count(parts.next())?;
    let oldest = bytes(parts.next())?;
    view.oldest_due_ms = if oldest.is_empty() { None } else { Some(parse(&oldest)?) };
    view.buyers_len = count(parts.next())?;
    Ok(view)
}

fn count(value: Option<Value>) -> Result<u64, StockError> {
    match value {
        Some(Value::Int(count)) => u64::try_from(count).map_err(|_| broken("no count")),
        _ => Err(broken("no count")),
    }
}
