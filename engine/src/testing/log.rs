//! A log in memory, whose acknowledgements come, are lost or wait, as a test says.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::id::PartitionId;
use store::{
    figures::ProducerFigures,
    log::{Envelope, OrderLog, Room, Unacknowledged},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// What the log does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMode {
    /// Keeps and acknowledges them.
    Acknowledge,
    /// Keeps them, and the acknowledgement is lost.
    LoseAcknowledgement,
    /// Loses them, and says nothing.
    Lose,
    /// Keeps them and is silent until the mode changes.
    Hold,
}

/// Records that have room at one time.
const LOG_ROOMS: usize = 64;

/// A log in memory.
#[derive(Clone)]
pub struct MemoryLog {
    records: Arc<Mutex<Vec<(PartitionId, Envelope)>>>,
    mode: Arc<watch::Sender<LogMode>>,
    rooms: Arc<Semaphore>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self {
            records: Arc::default(),
            mode: Arc::new(watch::Sender::new(LogMode::Acknowledge)),
            rooms: Arc::new(Semaphore::new(LOG_ROOMS)),
        }
    }
}

/// Room for one record.
pub struct MemoryRoom {
    _permit: OwnedSemaphorePermit,
}

impl Room for MemoryRoom {}

impl MemoryLog {
    /// From now on.
    pub fn mode(&self, mode: LogMode) {
        self.mode.send_replace(mode);
    }

    /// Every record kept.
    pub fn records(&self) -> Vec<(PartitionId, Envelope)> {
        self.records.lock().unwrap().clone()
    }

    /// Takes all room there is.
    pub fn fill(&self) -> Vec<MemoryRoom> {
        std::iter::from_fn(|| self.room()).collect()
    }

    /// Room left.
    pub fn rooms(&self) -> usize {
        self.rooms.available_permits()
    }
}

impl OrderLog for MemoryLog {
    type Room = MemoryRoom;

    fn room(&self) -> Option<MemoryRoom> {
        Arc::clone(&self.rooms).try_acquire_owned().ok().map(|permit| MemoryRoom { _permit: permit })
    }

    async fn append(&self, partition: PartitionId, record: Envelope, room: MemoryRoom) -> Result<u64, Unacknowledged> {
        let mut mode = self.mode.subscribe();
        let first = *mode.borrow();
        let offset = {
            let mut records = self.records.lock().unwrap();
            if first != LogMode::Lose {
                records.push((partition, record));
            }
            records.len() as u64
        };
        let decided = *mode.wait_for(|mode| *mode != LogMode::Hold).await.unwrap();
        drop(room);
        match decided {
            LogMode::Acknowledge => Ok(offset),
            _ => Err(Unacknowledged("silent on purpose".into())),
        }
    }

    async fn flush(&self, _deadline: Duration) -> usize {
        0
    }

    fn in_flight(&self) -> usize {
        LOG_ROOMS - self.rooms.available_permits()
    }

    fn figures(&self) -> ProducerFigures {
        ProducerFigures::default()
    }
}
