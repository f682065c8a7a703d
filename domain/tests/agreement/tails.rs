//! Databases that come back without their last transactions, and what the writer makes of it: a
//! shard behind the ledger gets its rows again by the movements (R11), with the marks that only the
//! rows knew (R8); a ledger behind its shards decides again.

use std::collections::{BTreeMap, VecDeque};

use domain::{
    decide::Movement,
    id::{OfferId, Position},
    order::{Decision, OrderRow, Release},
    record::Record,
};

use crate::{
    stores::{Ledger, Mark, SHARDS, Shard, Written, shard_of},
    world::{Mixture, PROCESSES, World, tell},
    writer::{Flow, Process, Todo},
    wrong::Wrong,
};

/// Moments that a database may come back to, at most.
const MOMENTS_MAX: usize = 6;

/// What all databases held at one moment.
#[derive(Debug, Clone)]
pub struct Moment {
    shards: [Shard; SHARDS],
    ledger: Ledger,
    targets: BTreeMap<OfferId, u64>,
}

/// The moments, oldest first, and how far the furthest database was before any of them came back.
#[derive(Debug, Default)]
pub struct Moments {
    kept: VecDeque<Moment>,
    until: u64,
}

impl Mixture {
    /// Databases come back without their tails, in runs of some seeds. The log loses nothing there:
    /// one that lost records is decided anew, whatever rows were written from it.
    pub fn with_restored_tails(mut self, wanted: bool) -> Self {
        if wanted {
            (self.tails, self.lose, self.restore) = (4, 0, 0);
            (self.cancel, self.relay, self.advance[0], self.steps) = (14, 14, 60, self.steps + 150);
        }
        self
    }
}

impl World {
    /// Now and then, in runs that lose tails.
    pub fn remember(&mut self) {
        if self.mixture.tails == 0 || self.ending || !self.rng.once_in(16) {
            return;
        }
        if self.moments.kept.len() == MOMENTS_MAX {
            self.moments.kept.pop_front();
        }
        let (shards, ledger) = (self.tables.0.clone(), self.ledger.clone());
        self.moments.kept.push_back(Moment { shards, ledger, targets: self.targets.clone() });
    }

    /// A shard, or all databases come back as they were, and those who work with them begin anew.
    /// (The ledger alone: [`World::restore_ledger`].)
    pub fn lose_tail(&mut self) {
        if self.moments.kept.is_empty() || !self.rng.once_in(2) || self.is_behind() {
            return;
        }
        let moment = self.rng.below(self.moments.kept.len());
        let moment = self.moments.kept[moment].clone();
        let furthest = self.tables.0.iter().map(|shard| shard.progress.offset).chain([self.ledger.at.offset]).max();
        self.moments.until = self.moments.until.max(furthest.unwrap_or(0));
        self.processes = [const { None }; PROCESSES];
        self.event("rows lost");
        if self.rng.once_in(3) {
            self.was_at = Some(self.ledger.at);
            (self.tables.0, self.ledger, self.targets) = (moment.shards, moment.ledger, moment.targets);
            self.backups.clear();
            tell!(self, "all databases come back as they were at {}", self.ledger.at.offset);
        } else {
            let shard = self.rng.below(SHARDS);
            self.tables.0[shard] = moment.shards[shard].clone();
            tell!(self, "shard {shard} comes back as it was at {}", self.tables.0[shard].progress.offset);
        }
    }

    /// Whether everything that was lost is written and decided again: before, rows and ledger are
    /// of different moments.
    pub fn is_whole(&self) -> bool {
        let marks = self.tables.0.iter().map(|shard| shard.progress).chain([self.ledger.at]);
        marks.map(|mark| mark.offset).min() >= Some(self.moments.until)
    }
}

impl Ledger {
    /// The movements of a commit, for R11.
    pub fn keep(&mut self, movements: &[Movement]) {
        self.movements.extend(movements.iter().map(|made| (made.offset, made.decisions.clone())));
    }
}

impl Process {
    /// R11: one record of a shard that is behind the ledger, before anything is decided.
    pub fn rewrite(&mut self, world: &mut World, shard: usize) -> Flow {
        let from = self.progress[shard];
        if from.offset >= self.at.offset {
            return Flow::On;
        }
        let placed = world.log.read(self.at.generation, from.offset);
        let (Some(placed), Some(decisions)) = (placed, world.ledger.movements.get(&from.offset).cloned()) else {
            return self.halt(world, "what was decided is not known");
        };
        let (mut rows, mut released): (Vec<OrderRow>, Vec<Release>) = (Vec::new(), Vec::new());
        let at = Position { generation: from.generation, offset: from.offset, index: 0 };
        match &placed.record {
            Record::Batch(batch) => {
                for ((index, byte), (number, reservation)) in (0..).zip(decisions).zip(&batch.reservations) {
                    let decision = Decision::unpack(byte).unwrap();
                    let position = Position { index, ..at };
                    rows.extend(OrderRow::decided(batch.lane, *number, reservation, position, decision));
                }
            }
            Record::Released(record) if decisions == [1] => {
                let became = record.became.filter(|_| !world.is(Wrong::MarkNotRewritten));
                released.push(Release { order: record.order, at, became });
            }
            _ => {}
        }
        rows.retain(|row| shard_of(row.buyer) == shard && world.tables.row(row.order).is_none());
        let next = Mark { offset: from.offset + 1, record: Some(placed.id), ..from };
        let written = self.write_shard(world, shard, (from, next), &rows.iter().collect::<Vec<_>>(), &released);
        tell!(world, "writer {} writes shard {shard} again up to {}: {written:?}", self.number, next.offset);
        if written != Written::Done {
            return self.halt(world, "its rows cannot be written again");
        }
        world.event("rows written again");
        self.progress[shard] = next;
        self.todo.push_front(Todo::Rewrite(shard));
        Flow::On
    }

    /// Rows and releases of one shard with its progress; counts the marks that come back.
    pub fn write_shard(
        &self,
        world: &mut World,
        shard: usize,
        (expected, next): (Mark, Mark),
        rows: &[&OrderRow],
        released: &[Release],
    ) -> Written {
        let here = &world.tables.0[shard].rows;
        let released: Vec<_> = released.iter().filter(|release| here.contains_key(&release.order)).copied().collect();
        let lost = released.iter().filter(|release| !here[&release.order].status.gives_back()).count();
        let written = world.tables.0[shard].write(expected, next, rows, &released);
        if written == Written::Done && lost > 0 {
            world.event("mark taken");
        }
        written
    }
}
