//! What a keeper knows of a lane beside its numbers. All of it can be found out anew by looking.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    id::{Epoch, LaneId, OfferId},
    record::LimitChange,
};

/// Looks in a row at which a lane must be found closed before it is rebuilt.
const CLOSED_LOOKS: u32 = 2;
/// After so many looks at which a lane was as it should be and nothing moved, it is at rest.
const RESTING_AFTER: u32 = 4;
/// From so long before to so long after its sale opens, no lane is at rest.
const OPENING_MS: u64 = 60_000;

/// What a keeper knows of a lane. Times are those of the monotonic clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneFacts {
    /// Looks in a row at which it was not open at the ledger's epoch.
    closed_looks: u32,
    /// The marker of another keeper that was seen: the next rebuild asks for no lower epoch.
    marker_seen: Epoch,
    /// A rebuild that waits for its record to be decided: the epoch, and since when.
    rebuilding: Option<(Epoch, Duration)>,
    /// Allotment changes that were appended: the version of the sale, the position of the change
    /// that it follows, and when.
    asked: BTreeMap<OfferId, (u32, i64, Duration)>,
    /// The change of allotment that the lane acknowledged last: the epoch, and its packed position.
    adjusted: BTreeMap<OfferId, (Epoch, i64)>,
    /// The change of the limit per buyer that was appended last, and when.
    limit_asked: Option<(LimitChange, Duration)>,
    /// Looks in a row at which it was open, its journal empty, and nothing of it decided since the
    /// look before.
    quiet_looks: u32,
    /// Its last epoch is its first opening, so it has no rows.
    first_opening: bool,
    /// A promise did not hold: rebuild whatever it looks like.
    distrusted: bool,
    /// Its stock answers nonsense, or nothing: left alone until then.
    aside_until: Option<Duration>,
    /// Its stock server does not answer, and others do: nothing is asked of it but whether it is
    /// back.
    is_away: bool,
}

impl LaneFacts {
    /// The lane is open as the ledger has it.
    pub(crate) const fn note_open(&mut self) {
        self.closed_looks = 0;
        self.rebuilding = None;
        self.distrusted = false;
    }

    /// A look found it closed. Returns whether it is to be rebuilt now. `was_open`: it was opened
    /// before; one that never was cannot be open by anybody's work that is still to be seen.
    pub(crate) const fn note_closed(&mut self, was_open: bool) -> bool {
        self.closed_looks += 1;
        self.distrusted || self.closed_looks >= CLOSED_LOOKS || !was_open
    }

    /// The next look that finds the lane closed rebuilds it.
    pub(crate) const fn mark_due(&mut self) {
        self.closed_looks = CLOSED_LOOKS;
    }

    /// It is being closed: looks are counted anew.
    pub(crate) const fn forget_looks(&mut self) {
        self.closed_looks = 0;
    }

    /// The epoch to close it under: `at_least`, or the marker that was seen.
    pub(crate) fn next_marker(&self, at_least: Epoch) -> Epoch {
        at_least.max(self.marker_seen)
    }

    /// Another marker was seen.
    pub(crate) const fn note_marker(&mut self, marker: Epoch) {
        self.marker_seen = marker;
    }

    /// The record that begins `epoch` was appended.
    pub(crate) const fn wait_for_record(&mut self, epoch: Epoch, now: Duration) {
        self.rebuilding = Some((epoch, now));
    }

    /// Whether such a record may still be decided; it is forgotten when the lane's epoch has
    /// reached it, and after `patience`.
    pub(crate) fn waits_for_record(&mut self, epoch: Epoch, now: Duration, patience: Duration) -> bool {
        let may_come = |(asked, since): &(Epoch, Duration)| epoch < *asked && now.saturating_sub(*since) < patience;
        self.rebuilding = self.rebuilding.filter(may_come);
        self.rebuilding.is_some()
    }

    /// Whether this change of an offer was appended less than `patience` ago: the version of the
    /// sale, and the position of the change that it follows.
    pub(crate) fn has_asked(&self, offer: OfferId, change: (u32, i64), now: Duration, patience: Duration) -> bool {
        self.asked.get(&offer).is_some_and(|&(version, follows, since)| {
            (version, follows) == change && now.saturating_sub(since) < patience
        })
    }

    /// Such a change was appended.
    pub(crate) fn note_asked(&mut self, offer: OfferId, (version, follows): (u32, i64), now: Duration) {
        self.asked.insert(offer, (version, follows, now));
    }

    /// Whether this change of the limit per buyer was appended less than `patience` ago.
    pub(crate) fn has_asked_limit(&self, change: LimitChange, now: Duration, patience: Duration) -> bool {
        self.limit_asked.is_some_and(|(asked, since)| asked == change && now.saturating_sub(since) < patience)
    }

    /// It was appended.
    pub(crate) const fn note_limit_asked(&mut self, change: LimitChange, now: Duration) {
        self.limit_asked = Some((change, now));
    }

    /// Whether the lane acknowledged this change of an offer.
    pub(crate) fn is_adjusted(&self, offer: OfferId, change: (Epoch, i64)) -> bool {
        self.adjusted.get(&offer) == Some(&change)
    }

    /// The lane acknowledged it.
    pub(crate) fn note_adjusted(&mut self, offer: OfferId, change: (Epoch, i64)) {
        self.adjusted.insert(offer, change);
    }

    /// A look found it quiet or not: open, and its journal empty.
    pub(crate) const fn note_look(&mut self, is_quiet: bool) {
        self.quiet_looks = if is_quiet { self.quiet_looks.saturating_add(1) } else { 0 };
    }

    /// Something of it was decided.
    pub(crate) const fn note_decided(&mut self) {
        self.quiet_looks = 0;
    }

    /// Nothing moves and nothing is about to. `opens_at_ms`: of its sale as it is published now.
    pub(crate) fn is_at_rest(&self, opens_at_ms: Option<u64>, now_ms: u64) -> bool {
        let opens = opens_at_ms.is_some_and(|opens_at_ms| opens_at_ms.abs_diff(now_ms) <= OPENING_MS);
        self.quiet_looks >= RESTING_AFTER && !opens && !self.distrusted
    }

    /// Whether its last epoch was its first opening.
    pub(crate) const fn is_first_opening(&self) -> bool {
        self.first_opening
    }

    /// Whether the epoch that is committed now is its first opening.
    pub(crate) const fn note_first_opening(&mut self, is_first: bool) {
        self.first_opening = is_first;
    }

    /// Whether it is rebuilt whatever it looks like.
    pub(crate) const fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// It is rebuilt whatever it looks like.
    pub(crate) const fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// It is distrusted exactly if `distrusted`: all lanes are judged anew.
    pub(crate) const fn judge(&mut self, distrusted: bool) {
        self.distrusted = distrusted;
    }

    /// It is left alone until then; `None`: not at all.
    pub(crate) const fn set_aside(&mut self, until: Option<Duration>) {
        self.aside_until = until;
    }

    /// Its stock server does not answer, others do. It is asked again then.
    pub(crate) const fn leave_out(&mut self, ask_at: Duration) {
        (self.is_away, self.aside_until) = (true, Some(ask_at));
    }

    /// Its stock server answers again.
    pub(crate) const fn take_back(&mut self) {
        (self.is_away, self.aside_until) = (false, None);
    }

    /// Whether it is left out, and to be asked by now whether it is back.
    pub(crate) fn is_to_be_asked(&self, now: Duration) -> bool {
        self.is_away && self.aside_until.is_none_or(|until| now >= until)
    }

    /// Whether the keeper leaves it alone for now.
    pub(crate) fn is_aside(&self, now: Duration) -> bool {
        self.is_away || self.aside_until.is_some_and(|until| now < until)
    }
}

/// What is known of each lane; of one that was never met, the default.
#[derive(Debug, Default)]
pub(crate) struct Facts(BTreeMap<LaneId, LaneFacts>);

impl Facts {
    /// Of a lane that was met.
    pub(crate) fn get(&self, lane: LaneId) -> Option<&LaneFacts> {
        self.0.get(&lane)
    }

    /// Of a lane, to be changed.
    pub(crate) fn of(&mut self, lane: LaneId) -> &mut LaneFacts {
        self.0.entry(lane).or_default()
    }

    /// All lanes that were met.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LaneId, &mut LaneFacts)> {
        self.0.iter_mut().map(|(&lane, facts)| (lane, facts))
    }

    /// All lanes that were met.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LaneId, &LaneFacts)> {
        self.0.iter().map(|(&lane, facts)| (lane, facts))
    }

    /// Forgets all of a lane; what was known of it.
    pub(crate) fn forget(&mut self, lane: LaneId) -> Option<LaneFacts> {
        self.0.insert(lane, LaneFacts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane is looked at every time while it is young, near its opening, or distrusted.
    #[test]
    fn a_lane_rests_only_when_nothing_is_about_to_happen() {
        let (opens_at_ms, opens) = (1_000_000, Some(1_000_000));
        let at_rest = LaneFacts { quiet_looks: RESTING_AFTER, ..LaneFacts::default() };
        assert!(at_rest.is_at_rest(opens, opens_at_ms + OPENING_MS + 1));
        assert!(at_rest.is_at_rest(opens, opens_at_ms - OPENING_MS - 1));
        assert!(!at_rest.is_at_rest(opens, opens_at_ms) && !at_rest.is_at_rest(opens, opens_at_ms - OPENING_MS));
        assert!(at_rest.is_at_rest(None, 0));
        assert!(!LaneFacts { quiet_looks: RESTING_AFTER - 1, ..at_rest.clone() }.is_at_rest(opens, 0));
        assert!(!LaneFacts { distrusted: true, ..at_rest }.is_at_rest(opens, 0));
    }
}
