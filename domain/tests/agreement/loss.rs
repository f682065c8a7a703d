//! The log loses records, with its readers at rest or at work, and what a running writer does to
//! notice (R10).

use domain::{
    decide::Placed,
    id::{BatchId, PartitionId},
    record::{Genesis, Record},
};

use crate::{
    world::{PROCESSES, World, tell},
    writer::{Flow, Process},
    wrong::Wrong,
};

impl World {
    /// The log comes back without its last records, or empty. Those who read it begin anew, or they
    /// run on and nobody tells them.
    pub fn lose_log(&mut self) {
        if !self.rng.once_in(3) || self.is_behind() {
            return;
        }
        let runs_on = self.rng.once_in(2);
        let lost = match self.log.0.len() {
            // The topic is made anew.
            all if runs_on && self.rng.once_in(2) => all,
            all => self.rng.below(4).min(all.saturating_sub(1)),
        };
        let fallen = self.log.0.split_off(self.log.0.len() - lost);
        self.fallen.extend(fallen.iter().filter_map(|entry| BatchId::new(entry.id.get()).ok()));
        self.losses += 1;
        // Together with a ledger from before and an empty Redis nobody would know which epochs
        // there were.
        self.backups.clear();
        if runs_on {
            self.event("log lost under a writer");
        } else {
            self.processes = [const { None }; PROCESSES];
        }
        let mut kept = self.redis.journaled();
        kept.extend(self.log.0.iter().filter_map(|entry| BatchId::new(entry.id.get()).ok()));
        for (order, promise) in &mut self.buyers.promises {
            promise.lost |= !kept.contains(&promise.batch) && self.tables.row(*order).is_none();
        }
        self.event("log lost records");
        tell!(self, "the log loses {lost} records");
    }

    /// A record that was set aside decides nothing, as a genesis does.
    pub fn without_skipped(&self, mut placed: Placed) -> Placed {
        if self.skips.contains(&placed.id) {
            let (partition, generation) = (PartitionId(0), placed.generation);
            placed.record = Record::Genesis(Genesis { partition, generation, log_id: 1 });
        }
        placed
    }
}

impl Process {
    /// R10: a log that lost records under a running writer does not have what was decided before
    /// the last check.
    pub fn check_log(&mut self, world: &mut World) -> Flow {
        // Or it ends before where it ended when the writer started.
        let lost = world.log.has_lost(self.anchor) || world.log.end() < self.resumed_end;
        if lost && !world.is(Wrong::RunningReaderNeverLooks) {
            self.halt(world, "the log is another one");
            return Flow::Lost;
        }
        self.anchor = self.at;
        self.checked = (world.losses, if self.checked.0 == world.losses { self.checked.1 + 1 } else { 1 });
        Flow::On
    }

    /// Whether a loss of the log would have been found: the position at one check is compared at
    /// the next.
    pub fn has_checked(&self, losses: u64) -> bool {
        losses == 0 || self.checked.0 == losses && self.checked.1 > 1
    }
}
