//! What befalls the world: processes die, Redis and the log lose records, the ledger comes back
//! older.

use std::collections::BTreeMap;

use domain::id::OfferId;

use crate::{
    stores::Ledger,
    world::{PROCESSES, World, tell},
    wrong::Wrong,
};

/// Commits that a restored ledger may lack, at most.
const BACKUPS: usize = 12;

/// The ledger after a commit, with the targets of then.
pub type Backup = (Ledger, BTreeMap<OfferId, u64>);

impl World {
    pub fn kill(&mut self) {
        let process = self.rng.below(PROCESSES);
        if self.processes[process].take().is_some() {
            self.event("writer died");
            tell!(self, "writer {process} dies");
        }
    }

    /// Someone asks for a rebuild although nothing is wrong.
    pub fn distrust(&mut self) {
        if !self.rng.once_in(3) {
            return;
        }
        let (process, lanes) = (self.rng.below(PROCESSES), self.lanes());
        let lane = self.rng.pick(&lanes);
        if let Some(process) = &mut self.processes[process] {
            process.facts.entry(lane).or_default().distrusted = true;
        }
        tell!(self, "writer {process} distrusts lane {lane}");
    }

    /// Redis restarts without its last operations, or with nothing.
    pub fn restart(&mut self) {
        if !self.rng.once_in(3) {
            return;
        }
        let lost = if self.rng.once_in(4) { None } else { Some(self.rng.below(self.redis.history_len() + 1)) };
        self.lose_redis(lost);
    }

    pub fn lose_redis(&mut self, lost: Option<usize>) {
        self.event(if lost.is_none() { "redis flushed" } else { "redis restarted" });
        self.redis.restart(lost, self.is(Wrong::NoRunId));
        let journaled = self.redis.journaled();
        for (order, promise) in &mut self.buyers.promises {
            promise.lost |= !journaled.contains(&promise.batch) && self.tables.row(*order).is_none();
        }
        tell!(self, "redis restarts, lost operations: {lost:?}");
        if self.is(Wrong::MissingIsFull) && lost.is_none() {
            self.open_as_full();
        }
    }

    /// The ledger's database comes back as it was some commits ago, now and then with Redis empty;
    /// those who read it begin anew.
    pub fn restore_ledger(&mut self) {
        self.backups.retain(|(ledger, _)| ledger.at.generation == self.ledger.at.generation);
        if !self.rng.once_in(3) || self.backups.is_empty() || self.is_behind() || self.log.has_lost(self.ledger.at) {
            return;
        }
        self.backups.truncate(1 + self.rng.below(self.backups.len()));
        let Some((older, targets)) = self.backups.pop_back() else { return };
        self.was_at = Some(self.ledger.at);
        tell!(self, "the ledger is restored from {} to {}", self.ledger.at.offset, older.at.offset);
        (self.ledger, self.targets) = (older, targets);
        self.processes = [const { None }; PROCESSES];
        self.event("ledger restored");
        if self.rng.once_in(2) {
            self.lose_redis(None);
        }
    }

    /// After every commit of the ledger.
    pub fn back_up(&mut self) {
        if self.backups.len() == BACKUPS {
            self.backups.pop_front();
        }
        self.backups.push_back((self.ledger.clone(), self.targets.clone()));
    }

    /// Whether the ledger is not again where it was before it was restored.
    pub fn is_behind(&self) -> bool {
        let ledger = self.ledger.at;
        self.was_at.is_some_and(|was| was.generation == ledger.generation && ledger.offset < was.offset)
    }
}
