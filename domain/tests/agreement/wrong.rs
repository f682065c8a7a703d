//! Wrong variants of the protocol. Each leaves out or turns round one rule; a check that does not
//! find it would prove nothing.

use domain::{
    decide::{Decided, Lanes, Placed},
    record::Record,
    stock::GoneWhy,
};

use crate::{
    world::{Mixture, World},
    writer::Process,
};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// rows, ledger, settle: a crash before settle leaves units and journal entries behind.
    SettleAfterLedger,
    /// The position moves before the rows are durable.
    PositionBeforeRows,
    /// A lane whose keys are gone is full again.
    MissingIsFull,
    /// A restarted Redis goes on as if it had lost nothing.
    NoRunId,
    /// A rebuild whose journal is not appended before the epoch record.
    NoDrain,
    /// Late records of an old epoch are decided as if they were of the current one.
    LateRecordsAccepted,
    /// R7: an engine gives units back when an append times out.
    EngineReleases,
    /// A rejection for stock gives units back that never were.
    StockRejectionGivesBack,
    /// R12: a repeat is answered "accepted" because Redis knows it.
    RepeatAcceptedFromRedis,
    /// A rejected order gets no row.
    RejectionWithoutRow,
    /// Released rows are deleted while the log still holds their reservations.
    ReleasedRowsPurged,
    /// R1: every record of a release counts.
    EveryReleaseCounts,
    /// R6: a released purchase leaves no tombstone.
    NoTombstones,
    /// R5: a cancelled row is not live, although its release is not decided.
    CancelledIsNotLive,
    /// R4: a restarting writer opens closed lanes by what it finds in the ledger, without an epoch.
    BootSetsStock,
    /// R8: the outbox row goes when the release was sent, whether the log has it or not.
    OutboxSentOnce,
    /// R9: a reduction is not withheld before it is asked for.
    ReductionNotWithheld,
    /// R9: a change of allotment holds whatever change it follows.
    ChangesOverlap,
    /// R9: a version that wants the allotment that is there is not asked for, and the units
    /// withheld for an earlier one stay withheld.
    EqualIsNotAsked,
    /// R9: what a release returns goes on sale again although the allotment is above its target.
    ReductionForgotten,
    /// R9: settlement and ledger disagree: the ledger's allotment falls, and the lane sells the
    /// units again.
    RetiredByTheLedgerOnly,
    /// R9: settlement and ledger disagree: the lane retires units, and the ledger's allotment
    /// stays.
    RetiredByTheLaneOnly,
    /// R9: every record of a release lowers the allotment once more.
    EveryReleaseRetires,
    /// R9: a rebuild makes the allotment that is there the target.
    TargetForgottenAtARebuild,
    /// R9: a lane is loaded with units that a reduction waits for.
    EpochKeepsTheExcess,
    /// R9: a change adds what it asked for, although releases have lowered the allotment since.
    StaleDifferenceAdded,
    /// R9: units that became free above the target are not asked for again.
    FreeUnitsAreNotAsked,
    /// R10: the lanes of a lost log stay open until the writer that began the new generation
    /// rebuilds them.
    LanesOpenOverALostLog,
    /// R10: a writer that runs never asks whether the log is still the same.
    RunningReaderNeverLooks,
    /// A writer that read the ledger's lanes later than its position goes on without looking at the
    /// position again.
    LanesNewerThanPosition,
    /// A replayed reservation is decided anew instead of standing as its row says.
    ReplayDecidedAnew,
    /// R14: a lane is retired whose journal is not in the log.
    RetiredUndrained,
    /// R14: the keys of a retired lane are deleted although another keeper has closed or opened it
    /// since.
    KeysDeletedWhateverTheMarker,
    /// R14: a lane that was retired is opened without the buyers of its rows.
    ReopenedWithoutRows,
    /// R14: a retired lane decides late records as its last open epoch would.
    RetiredKeepsItsEpoch,
    /// R14: a lane that is closed and not retired is taken for one whose rows are all there is.
    RowsOfAClosedLaneSayNone,
    /// R8: the record of a release does not carry what its row became.
    MarkNotCarried,
    /// R8: the mark that a release carries is not written where the row lacks it.
    MarkNotTaken,
    /// R8, R11: rows are written again without the marks that their releases carry.
    MarkNotRewritten,
    /// Rule 2 left out: a second copy of a reservation counts again.
    DuplicateCounts,
    /// R5: rows are looked for from an hour before the first opening that was published, although
    /// the sale was brought forward.
    RowsFromTheFirstPublishedOpening,
    /// R5: the bound of a lane's rows stays where the first opening, decided again, set it.
    FirstOrderNotLowered,
    /// R4: a writer whose ledger is of an older moment closes lanes under epochs that the log
    /// holds, and loads them when it comes to these.
    ReplayedEpochLoads,
    /// A release that is decided while a lane is loaded stays live in what was read before it.
    ReleasesDuringLoadForgotten,
    /// R16: a lane hears of a higher limit before its record is decided.
    HigherLimitToldFirst,
    /// R16: a lower limit is decided while the lane promises by the higher one.
    LowerLimitDecidedFirst,
    /// R16: a lower limit is decided before what the lane promised by the higher one.
    LowerLimitNotDrained,
    /// R16: a lower limit holds in an epoch in which the lane never held to it.
    LowerLimitOfAnyEpoch,
    /// R16: a change of a limit holds whatever change it follows.
    LimitFollowsWhatever,
    /// R16: a lane keeps a lower limit that nobody asked for in the end.
    LimitNotGivenBack,
}

impl Wrong {
    /// What only a rare sequence shows is looked for among the events that it needs, and few
    /// others.
    pub fn favour(self, mixture: &mut Mixture) {
        if self == Self::LanesOpenOverALostLog {
            (mixture.lose, mixture.restore, mixture.tails, mixture.end) = (2, 0, 0, 0);
            (mixture.cancel, mixture.relay) = (mixture.cancel.max(5), mixture.relay.max(4));
        }
        if self.is_of_limits() {
            *mixture = mixture.with_limits(true);
            (mixture.publish, mixture.lose, mixture.restore, mixture.tails) = (8, 0, 0, 0);
        }
    }

    fn is_of_limits(self) -> bool {
        Self::ALL[44..].contains(&self)
    }

    pub const ALL: [Self; 50] = [
        Self::SettleAfterLedger,
        Self::PositionBeforeRows,
        Self::MissingIsFull,
        Self::NoRunId,
        Self::NoDrain,
        Self::LateRecordsAccepted,
        Self::EngineReleases,
        Self::StockRejectionGivesBack,
        Self::RepeatAcceptedFromRedis,
        Self::RejectionWithoutRow,
        Self::ReleasedRowsPurged,
        Self::EveryReleaseCounts,
        Self::NoTombstones,
        Self::CancelledIsNotLive,
        Self::BootSetsStock,
        Self::OutboxSentOnce,
        Self::ReductionNotWithheld,
        Self::ChangesOverlap,
        Self::EqualIsNotAsked,
        Self::ReductionForgotten,
        Self::RetiredByTheLedgerOnly,
        Self::RetiredByTheLaneOnly,
        Self::EveryReleaseRetires,
        Self::TargetForgottenAtARebuild,
        Self::EpochKeepsTheExcess,
        Self::StaleDifferenceAdded,
        Self::FreeUnitsAreNotAsked,
        Self::LanesOpenOverALostLog,
        Self::RunningReaderNeverLooks,
        Self::LanesNewerThanPosition,
        Self::ReplayDecidedAnew,
        Self::RetiredUndrained,
        Self::KeysDeletedWhateverTheMarker,
        Self::ReopenedWithoutRows,
        Self::RetiredKeepsItsEpoch,
        Self::RowsOfAClosedLaneSayNone,
        Self::MarkNotCarried,
        Self::MarkNotTaken,
        Self::MarkNotRewritten,
        Self::DuplicateCounts,
        Self::RowsFromTheFirstPublishedOpening,
        Self::FirstOrderNotLowered,
        Self::ReplayedEpochLoads,
        Self::ReleasesDuringLoadForgotten,
        Self::HigherLimitToldFirst,
        Self::LowerLimitDecidedFirst,
        Self::LowerLimitNotDrained,
        Self::LowerLimitOfAnyEpoch,
        Self::LimitFollowsWhatever,
        Self::LimitNotGivenBack,
    ];
}

/// Settles releases as if nothing of theirs were retired.
fn give_all_back(decided: &mut Decided) {
    for (_, gone) in &mut decided.gone {
        if let GoneWhy::Released { retired } = &mut gone.why {
            *retired = 0;
        }
    }
}

/// A change holds whatever change it follows.
pub fn follow_whatever_there_is(lanes: &Lanes, record: &mut Record) {
    if let Record::AllotmentChanged(change) = record {
        change.after = lanes[&change.lane].offers[&change.offer].changed_at;
    }
}

impl Process {
    pub fn decide_allotments_wrongly(&self, world: &World, records: &[Placed], decided: &mut Decided) {
        let is_epoch = !decided.epochs.is_empty() || !decided.retired_lanes.is_empty();
        match world.wrong {
            Some(Wrong::ReductionForgotten) if !is_epoch => {
                decided.retired.clear();
                give_all_back(decided);
            }
            Some(Wrong::RetiredByTheLedgerOnly) => give_all_back(decided),
            Some(Wrong::RetiredByTheLaneOnly) if !is_epoch => decided.retired.clear(),
            Some(Wrong::EpochKeepsTheExcess) if is_epoch => decided.retired.clear(),
            Some(Wrong::EveryReleaseRetires) => {
                for (placed, movement) in records.iter().zip(&decided.movements) {
                    let Record::Released(released) = &placed.record else { continue };
                    let numbers = self.lanes[&released.lane].offers[&released.offer];
                    if movement.decisions == [0] && numbers.excess() > 0 {
                        *decided.retired.entry((released.lane, released.offer)).or_default() += 1;
                    }
                }
            }
            Some(Wrong::StaleDifferenceAdded) => {
                for (placed, change) in records.iter().zip(&mut decided.allotments) {
                    if let Record::AllotmentChanged(asked) = &placed.record {
                        change.delta = asked.delta;
                    }
                }
            }
            _ => {}
        }
    }
}
