//! What is listened to between our parts and the stores, without changing a call: the log's
//! records, to append them again, and for some lanes every call that changes them, to run them
//! again.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::{
    id::{BatchId, BuyerId, Epoch, LaneId, OfferId, OrderId, PartitionId},
    record::{Record, Topic},
    sale::Sale,
    stock::{
        CloseAnswer, Gone, LaneAnswer, LaneLoad, LaneOpening, LaneView, LoadAnswer, Purchase, ReserveAnswer,
        ReserveCall, ReserveRequest, RetireAnswer,
    },
};
use store::{
    figures::ProducerFigures,
    log::{DeadLetters, Entry, Envelope, OrderLog, SalesPublisher, Topics, Unacknowledged},
    stock::{LaneKeeping, LaneStock, StockError},
};

/// One that fails, and two looks.
const SILENT_CALLS: u32 = 3;

thread_local! {
    /// The lane's count at its last answer on this thread, where the stock is in this process.
    static ANSWERED: Cell<u64> = const { Cell::new(0) };
}

/// For `LocalStock`: it calls under the lane's lock, on the thread of the call.
pub(crate) fn note_answered(_lane: LaneId, calls: u64) {
    ANSWERED.set(calls);
}

/// A call that changes a lane, with its answer; none if there was no answer.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Reserve(ReserveCall, Vec<ReserveRequest>, Option<LaneAnswer<ReserveAnswer>>),
    Settle(Epoch, Vec<BatchId>, Vec<Gone>, Option<LaneAnswer<()>>),
    Load(Epoch, LaneLoad, Option<LoadAnswer>),
}

/// A call, and the lane's count at its answer if the stock gave it.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) call: Call,
    pub(crate) sequence: u64,
}

/// Everything noted of one deployment.
#[derive(Default)]
pub(crate) struct Notes {
    /// One past the last offset acknowledged, by partition.
    next: Mutex<HashMap<PartitionId, u64>>,
    promises: Mutex<HashMap<OrderId, Envelope>>,
    releases: Mutex<HashMap<OrderId, Envelope>>,
    parked: AtomicU64,
    /// What was put instead of loads that are under way.
    filled: Mutex<HashMap<LaneId, BTreeMap<BuyerId, Vec<Purchase>>>>,
    /// How many more calls of a writer these lanes leave without an answer.
    silent: Mutex<HashMap<LaneId, u32>>,
    /// Lanes whose calls are kept.
    watched: HashSet<LaneId>,
    calls: Mutex<HashMap<LaneId, Vec<Noted>>>,
}

impl Notes {
    pub(crate) fn watching(watched: HashSet<LaneId>) -> Arc<Self> {
        Arc::new(Self { watched, ..Self::default() })
    }

    pub(crate) fn next(&self, partition: PartitionId) -> u64 {
        self.next.lock().unwrap().get(&partition).copied().unwrap_or(0)
    }

    /// The record of an order's promise, or of its release.
    pub(crate) fn record(&self, order: OrderId, release: bool) -> Option<Envelope> {
        let records = if release { &self.releases } else { &self.promises };
        records.lock().unwrap().get(&order).cloned()
    }

    /// Records that could not be decided.
    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(SeqCst)
    }

    /// The stock server of these lanes does not answer a writer that asks them next, nor when it
    /// looks twice whether they are there: it leaves them out for a while.
    pub(crate) fn silence(&self, lanes: impl Iterator<Item = LaneId>) {
        self.silent.lock().unwrap().extend(lanes.map(|lane| (lane, SILENT_CALLS)));
    }

    fn answers(&self, lane: LaneId) -> Result<(), StockError> {
        let mut silent = self.silent.lock().unwrap();
        let Some(calls) = silent.get_mut(&lane).filter(|calls| **calls > 0) else { return Ok(()) };
        *calls -= 1;
        Err(StockError::Unsent("the server of this lane is silent".into()))
    }

    pub(crate) fn calls(&self, lane: LaneId) -> Vec<Noted> {
        self.calls.lock().unwrap().get(&lane).cloned().unwrap_or_default()
    }

    fn acknowledged(&self, partition: PartitionId, offset: u64) {
        let mut next = self.next.lock().unwrap();
        let known = next.entry(partition).or_default();
        *known = (*known).max(offset + 1);
    }

    /// Whoever appends may be dropped before the acknowledgement: the record is on its way all the
    /// same.
    fn appended(&self, record: &Envelope) {
        match Record::decode(record.kind, record.payload.clone()) {
            Ok(Record::Batch(batch)) => {
                let orders = batch.reservations.iter().map(|(_, reservation)| (reservation.order, record.clone()));
                self.promises.lock().unwrap().extend(orders);
            }
            Ok(Record::Released(released)) => {
                self.releases.lock().unwrap().insert(released.order, record.clone());
            }
            _ => {}
        }
    }

    /// Runs a call of a lane and keeps it if the lane is watched.
    async fn run<T: Clone>(
        &self,
        lane: LaneId,
        asked: impl Future<Output = Result<T, StockError>>,
        call: impl FnOnce(Option<T>) -> Call,
    ) -> Result<T, StockError> {
        let answer = asked.await;
        if self.watched.contains(&lane) {
            // A stock in this process answers without a pause, so this is still the thread that it
            // answered on.
            let noted = Noted { call: call(answer.as_ref().ok().cloned()), sequence: ANSWERED.get() };
            self.calls.lock().unwrap().entry(lane).or_default().push(noted);
        }
        answer
    }
}

/// A store's port with its notes.
#[derive(Clone)]
pub(crate) struct Listened<P> {
    port: P,
    notes: Arc<Notes>,
}

impl<P> Listened<P> {
    pub(crate) fn new(port: P, notes: &Arc<Notes>) -> Self {
        Self { port, notes: Arc::clone(notes) }
    }
}

/// What is appended to another topic than `orders` is noted for nobody.
impl<L: Topics> Topics for Listened<L> {
    fn of(&self, topic: Topic) -> Self {
        let notes = if topic == Topic::Orders { Arc::clone(&self.notes) } else { Arc::default() };
        Self { port: self.port.of(topic), notes }
    }
}

impl<L: OrderLog> OrderLog for Listened<L> {
    type Room = L::Room;

    fn room(&self) -> Option<L::Room> {
        self.port.room()
    }

    fn append(
        &self,
        partition: PartitionId,
        record: Envelope,
        room: L::Room,
    ) -> impl Future<Output = Result<u64, Unacknowledged>> + Send {
        // Made at once: the record is on its way when this returns.
        self.notes.appended(&record);
        let appending = self.port.append(partition, record, room);
        let notes = Arc::clone(&self.notes);
        async move {
            let offset = appending.await?;
            notes.acknowledged(partition, offset);
            Ok(offset)
        }
    }

    async fn flush(&self, deadline: Duration) -> usize {
        self.port.flush(deadline).await
    }

    fn in_flight(&self) -> usize {
        self.port.in_flight()
    }

    fn figures(&self) -> ProducerFigures {
        self.port.figures()
    }
}

impl<L: SalesPublisher> SalesPublisher for Listened<L> {
    async fn publish(&self, sale: &Sale) -> Result<(), Unacknowledged> {
        self.port.publish(sale).await
    }
}

impl<L: DeadLetters> DeadLetters for Listened<L> {
    async fn park(&self, partition: PartitionId, entry: &Entry, cause: &str) -> Result<(), Unacknowledged> {
        self.notes.parked.fetch_add(1, SeqCst);
        self.port.park(partition, entry, cause).await
    }
}

impl<S: LaneStock> LaneStock for Listened<S> {
    async fn reserve(
        &self,
        call: ReserveCall,
        requests: &[ReserveRequest],
    ) -> Result<LaneAnswer<ReserveAnswer>, StockError> {
        let asked = self.port.reserve(call, requests);
        self.notes.run(call.lane, asked, |answer| Call::Reserve(call, requests.to_vec(), answer)).await
    }

    async fn find(&self, lane: LaneId, buyer: BuyerId) -> Result<LaneAnswer<Vec<(Purchase, bool)>>, StockError> {
        self.port.find(lane, buyer).await
    }

    async fn claim(
        &self,
        lane: LaneId,
        now_ms: u64,
        n: u32,
        backoff_ms: u64,
    ) -> Result<LaneAnswer<Vec<(BatchId, Bytes)>>, StockError> {
        self.port.claim(lane, now_ms, n, backoff_ms).await
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.port.inspect(lane).await
    }
}

impl<K: LaneKeeping> LaneKeeping for Listened<K> {
    async fn settle(
        &self,
        lane: LaneId,
        epoch: Epoch,
        batches: &[BatchId],
        gone: &[Gone],
    ) -> Result<LaneAnswer<()>, StockError> {
        self.notes.answers(lane)?;
        let asked = self.port.settle(lane, epoch, batches, gone);
        self.notes.run(lane, asked, |answer| Call::Settle(epoch, batches.to_vec(), gone.to_vec(), answer)).await
    }

    async fn close(&self, lane: LaneId, epoch: Epoch) -> Result<CloseAnswer, StockError> {
        self.port.close(lane, epoch).await
    }

    async fn journal(&self, lane: LaneId) -> Result<Vec<(BatchId, Bytes)>, StockError> {
        self.port.journal(lane).await
    }

    async fn clear(&self, lane: LaneId, epoch: Epoch) -> Result<bool, StockError> {
        self.notes.filled.lock().unwrap().remove(&lane);
        self.port.clear(lane, epoch).await
    }

    async fn fill(
        &self,
        lane: LaneId,
        epoch: Epoch,
        purchases: &[(BuyerId, Purchase)],
    ) -> Result<Option<u64>, StockError> {
        let new = self.port.fill(lane, epoch, purchases).await?;
        let mut filled = self.notes.filled.lock().unwrap();
        let filled = filled.entry(lane).or_default();
        for entry in purchases.chunk_by(|(one, _), (next, _)| one == next) {
            filled.insert(entry[0].0, entry.iter().map(|(_, purchase)| *purchase).collect());
        }
        Ok(new)
    }

    async fn open(&self, lane: LaneId, epoch: Epoch, opening: &LaneOpening) -> Result<LoadAnswer, StockError> {
        let filled = self.notes.filled.lock().unwrap().remove(&lane).unwrap_or_default();
        let of_buyer = |(buyer, some): (BuyerId, Vec<Purchase>)| some.into_iter().map(move |one| (buyer, one));
        let load = LaneLoad {
            limit_per_buyer: opening.limit_per_buyer,
            offers: opening.offers.clone(),
            purchases: filled.into_iter().flat_map(of_buyer).collect(),
        };
        let asked = self.port.open(lane, epoch, opening);
        self.notes.run(lane, asked, |answer| Call::Load(epoch, load, answer)).await
    }

    async fn retire(&self, lane: LaneId, epoch: Epoch) -> Result<RetireAnswer, StockError> {
        self.port.retire(lane, epoch).await
    }

    async fn adjust(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        allotment: u64,
        changed_at: i64,
    ) -> Result<LaneAnswer<()>, StockError> {
        self.port.adjust(lane, epoch, offer, allotment, changed_at).await
    }

    async fn withhold(
        &self,
        lane: LaneId,
        epoch: Epoch,
        offer: OfferId,
        after: i64,
        units: u64,
    ) -> Result<LaneAnswer<u64>, StockError> {
        self.port.withhold(lane, epoch, offer, after, units).await
    }

    async fn limit(
        &self,
        lane: LaneId,
        epoch: Epoch,
        limit: u32,
        changed_at: i64,
        most: u32,
    ) -> Result<LaneAnswer<Option<u32>>, StockError> {
        self.port.limit(lane, epoch, limit, changed_at, most).await
    }

    async fn inspect(&self, lane: LaneId) -> Result<LaneView, StockError> {
        self.notes.answers(lane)?;
        self.port.inspect(lane).await
    }

    async fn buyers(&self, lane: LaneId) -> Result<Vec<(BuyerId, Vec<Purchase>)>, StockError> {
        self.port.buyers(lane).await
    }
}
