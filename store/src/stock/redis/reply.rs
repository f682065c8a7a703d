//! Reads the scripts' replies. Anything of another shape than the scripts document is
//! [`StockError::Broken`].

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, KeyHash, OfferId, OrderId, PurchaseNumber},
    stock::{
        CloseAnswer, LaneAnswer, LaneMode, LaneView, Purchase, ReserveAnswer, ReserveReply, ReserveRequest,
        RetireAnswer,
    },
};
use redis::Value;

use crate::stock::StockError;

/// Bytes of one purchase in a buyer's entry.
pub(super) const ENTRY: usize = 42;

fn broken(what: &str) -> StockError {
    StockError::Broken(format!("something that no script of ours answers: {what}").into())
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
    match value {
        Some(Value::Int(number)) => u64::try_from(number).map_err(|_| broken("a number below 0")),
        _ => Err(broken("no number")),
    }
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

fn batch(bytes: &[u8]) -> Result<Option<BatchId>, StockError> {
    batch_or_zeros(id(bytes)?)
}

/// `None` for zeros: loaded from its row.
fn batch_or_zeros(number: u64) -> Result<Option<BatchId>, StockError> {
    match number {
        0 => Ok(None),
        number => BatchId::new(number).map(Some).map_err(|_| broken("no batch id")),
    }
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
        let (codes, extras, left) = (bytes(parts.next())?, bytes(parts.next())?, list(parts.next())?);
        if codes.len() != requests.len() || left.len() != offers.len() {
            return Err(broken("as many codes as requests and numbers as offers are needed"));
        }
        let mut extras = Extras(&extras);
        let replies = codes.into_iter().map(|code| reserve_reply(code, &mut extras)).collect::<Result<_, _>>()?;
        let left = offers.iter().zip(left).map(|(&offer, units)| Ok((offer, number(Some(units))?)));
        Ok(ReserveAnswer::Decided { replies, left: left.collect::<Result<_, StockError>>()? })
    })
}

/// What the codes of `reserve` say more, 8 bytes after 8 bytes.
struct Extras<'a>(&'a [u8]);

impl Extras<'_> {
    fn next(&mut self) -> Result<u64, StockError> {
        let (next, rest) = self.0.split_first_chunk().ok_or_else(|| broken("a code without its extra"))?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*next))
    }

    fn order(&mut self) -> Result<OrderId, StockError> {
        OrderId::new(self.next()?).map_err(|_| broken("no order id"))
    }
}

fn reserve_reply(code: u8, extras: &mut Extras<'_>) -> Result<ReserveReply, StockError> {
    Ok(match code {
        1..=100 => ReserveReply::Reserved(PurchaseNumber(code)),
        201 | 202 => ReserveReply::Repeat {
            order: extras.order()?,
            batch: batch_or_zeros(extras.next()?)?,
            settled: code == 202,
        },
        203 => ReserveReply::Mismatch { order: extras.order()? },
        204 => {
            let held = u32::try_from(extras.next()?).map_err(|_| broken("no units"))?;
            ReserveReply::LimitReached { held }
        }
        205 => ReserveReply::SoldOut { left: extras.next()? },
        206 => ReserveReply::Released { order: extras.order()? },
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
    key.copy_from_slice(&bytes[2..18]);
    Ok(Purchase {
        number: (bytes[0] != 0).then_some(PurchaseNumber(bytes[0])),
        quantity: bytes[1].into(),
        key: KeyHash(key),
        offer: OfferId::new(id(&bytes[18..26])?).map_err(|_| broken("no offer id"))?,
        order: order(&bytes[26..34])?,
        batch: batch(&bytes[34..42])?,
    })
}

/// The inverse of [`purchases`].
///
/// # Errors
/// [`StockError::Broken`] for a quantity or number that no lane can hold.
pub(super) fn entry<'a>(purchases: impl ExactSizeIterator<Item = &'a Purchase>) -> Result<Vec<u8>, StockError> {
    let mut entry = Vec::with_capacity(purchases.len() * ENTRY);
    for purchase in purchases {
        let quantity = u8::try_from(purchase.quantity).ok().filter(|quantity| *quantity != 0);
        let number = purchase.number.map(|number| number.0);
        let (Some(quantity), None | Some(1..)) = (quantity, number) else {
            return Err(StockError::Broken(format!("a purchase that no lane can hold: {purchase:?}").into()));
        };
        entry.extend_from_slice(&[number.unwrap_or(0), quantity]);
        entry.extend_from_slice(&purchase.key.0);
        entry.extend_from_slice(&purchase.offer.get().to_be_bytes());
        entry.extend_from_slice(&purchase.order.get().to_be_bytes());
        entry.extend_from_slice(&purchase.batch.map_or(0, BatchId::get).to_be_bytes());
    }
    Ok(entry)
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
            claimed.extend(journaled(&bytes(Some(id))?, bytes(parts.next())?));
        }
        Ok(claimed)
    })
}

/// A journal entry; `None` where it stands under a name that no batch has. Nothing of ours wrote
/// that, so it promised nothing and is no record of the log; it ends with the lane's next load.
pub(super) fn journaled(id: &[u8], payload: Vec<u8>) -> Option<(BatchId, Bytes)> {
    let batch = batch(id).ok().flatten();
    if batch.is_none() {
        tracing::error!(name = ?id, "a journal holds an entry that is no batch; it is left out");
    }
    Some((batch?, payload.into()))
}

/// A buyer with an entry.
pub(super) fn buyer(buyer: &[u8], entry: &[u8]) -> Result<(BuyerId, Vec<Purchase>), StockError> {
    Ok((BuyerId::new(id(buyer)?).map_err(|_| broken("no buyer id"))?, purchases(entry)?))
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

/// The answer of a step of `load`: how many buyers were new, `None` if it was refused.
pub(super) fn loaded(value: Value) -> Result<Option<u64>, StockError> {
    match parts(value)? {
        (1, mut parts) => number(parts.next()).map(Some),
        _ => Ok(None),
    }
}

/// The answer of `retire`.
pub(super) fn retired(value: Value) -> Result<RetireAnswer, StockError> {
    match parts(value)? {
        (0, _) => Ok(RetireAnswer::Refused),
        (1, _) => Ok(RetireAnswer::Gone),
        _ => Err(broken("an unknown kind")),
    }
}

/// The answer of `limit`.
pub(super) fn limited(value: Value) -> Result<LaneAnswer<Option<u32>>, StockError> {
    open(value, |_, mut parts| {
        let limit = u32::try_from(number(parts.next())?).map_err(|_| broken("a limit beyond any"))?;
        Ok((limit > 0).then_some(limit))
    })
}

/// The answer of `inspect`.
pub(super) fn view(value: Value) -> Result<LaneView, StockError> {
    let (is_open, mut parts) = parts(value)?;
    let fields = list(parts.next())?;
    let (mut mode, mut limit, mut known) = (Mode::default(), 0, Vec::new());
    let is_there = !fields.is_empty();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (name, value) = (bytes(Some(name))?, bytes(Some(value))?);
        match (name.first(), name.len()) {
            (Some(b'o'), 1) => mode.was_opened = value == b"1",
            (Some(b'e'), 1) => mode.epoch = parse(&value)?,
            (Some(b'm'), 1) => mode.marker = parse(&value)?,
            (Some(b'l'), 1) => limit = parse(&value)?,
            (Some(&kind @ (b'u' | b'a')), 9) => known.push((id(&name[1..])?, kind, parse(&value)?)),
            _ => {}
        }
    }
    known.sort_unstable();
    let mut offers = Vec::with_capacity(known.len() / 2);
    // Sorted, each offer's allotment stands before its units left.
    for pair in known.chunks(2) {
        let [(of, b'a', _), (also_of, b'u', _)] = *pair else { return Err(broken("units without an allotment")) };
        if of != also_of {
            return Err(broken("units without an allotment"));
        }
        let offer = OfferId::new(pair[0].0).map_err(|_| broken("no offer id"))?;
        offers.push((offer, pair[1].2, pair[0].2));
    }
    let journal_len = number(parts.next())?;
    let oldest = bytes(parts.next())?;
    Ok(LaneView {
        mode: if is_there { mode.read(is_open == 1) } else { LaneMode::Missing },
        limit_per_buyer: u32::try_from(limit).map_err(|_| broken("a limit beyond any"))?,
        offers,
        journal_len,
        oldest_due_ms: if oldest.is_empty() { None } else { Some(parse(&oldest)?) },
        buyers_len: number(parts.next())?,
    })
}

#[derive(Default)]
struct Mode {
    was_opened: bool,
    epoch: u64,
    marker: u64,
}

impl Mode {
    fn read(&self, is_open: bool) -> LaneMode {
        match (is_open, self.was_opened) {
            (true, _) => LaneMode::Open { epoch: Epoch(self.epoch) },
            // A restart or a loss closed it, no keeper.
            (false, true) => LaneMode::Closed { marker: Epoch(0) },
            (false, false) => LaneMode::Closed { marker: Epoch(self.marker) },
        }
    }
}
