//! Which lane comes first, and what becomes of one that is not open. It only decides.

use domain::{id::LaneId, sale::Window};
use store::orders::SCAN_LANES_MAX;

/// So long after its sale closed a lane may still be asked for by clocks that are behind.
const OVER_MS: u64 = 60_000;
/// Units sold of the lanes that one pass over the rows reads, together: a small lane waits for so
/// many rows at most. A larger lane has a pass of its own.
const PASS_UNITS: u64 = 100_000;

/// When a lane's buyers want it: those on sale now come first, then the next to open, then all
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Its sale is on.
    OnSale,
    /// Its sale opens then, in epoch milliseconds.
    Opens(u64),
    /// Its sale is over, or not known here.
    Other,
}

/// What a keeper does about a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// It is open: its allotments follow the sale.
    Keep,
    /// It is to be open: the next epoch.
    Rebuild,
    /// Nobody buys from it any more: it is retired (R14).
    Retire,
}

/// A lane that waits to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) lane: LaneId,
    pub(crate) turn: Turn,
    /// Nothing of its rows is to be read.
    pub(crate) has_rows: bool,
    /// A pass with others failed on some lane's rows.
    pub(crate) alone: bool,
    pub(crate) units: u64,
}

impl Turn {
    /// `window`: of the sale that it belongs to.
    pub(crate) fn of(window: Option<Window>, now_ms: u64) -> Self {
        match window {
            Some(Window { opens_at_ms, .. }) if now_ms < opens_at_ms => Self::Opens(opens_at_ms),
            Some(Window { closes_at_ms, .. }) if now_ms <= closes_at_ms => Self::OnSale,
            _ => Self::Other,
        }
    }
}

impl Care {
    /// `is_open`: as the ledger has it.
    pub(crate) fn of(window: Option<Window>, is_open: bool, now_ms: u64) -> Self {
        let is_over = window.is_some_and(|window| now_ms > window.closes_at_ms.saturating_add(OVER_MS));
        match (is_open, is_over) {
            (true, _) => Self::Keep,
            (false, false) => Self::Rebuild,
            (false, true) => Self::Retire,
        }
    }
}

impl Waiting {
    /// It has a pass of its own, which takes seconds.
    pub(crate) const fn is_large(&self) -> bool {
        self.units > PASS_UNITS
    }
}

/// The lanes of the next pass: the first to come, and those beside it whose rows are read with its
/// own. `beside_large`: a large lane is being read, and what is free is kept for small ones.
pub(crate) fn next_pass(mut waiting: Vec<Waiting>, beside_large: bool) -> Vec<LaneId> {
    waiting.retain(|w| !(beside_large && w.is_large()));
    waiting.sort_unstable_by_key(|w| (w.turn, w.has_rows, w.alone, w.units, w.lane));
    let Some(first) = waiting.first().copied() else { return Vec::new() };
    let class = |w: &Waiting| (std::mem::discriminant(&w.turn), w.has_rows, w.alone);
    let mut units = 0_u64;
    let beside = waiting.iter().filter(|w| class(w) == class(&first)).take_while(|w| {
        units = units.saturating_add(w.units);
        w.lane == first.lane || !first.alone && units <= PASS_UNITS
    });
    beside.take(SCAN_LANES_MAX).map(|w| w.lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { opens_at_ms: 1_000_000, closes_at_ms: 2_000_000 };

    #[test]
    fn lanes_on_sale_come_first_then_the_next_to_open() {
        let turn = |now_ms| Turn::of(Some(WINDOW), now_ms);
        assert_eq!((turn(999_999), turn(1_000_000)), (Turn::Opens(1_000_000), Turn::OnSale));
        assert_eq!((turn(2_000_000), turn(2_000_001)), (Turn::OnSale, Turn::Other));
        assert_eq!(Turn::of(None, 0), Turn::Other);
        assert!([Turn::OnSale, Turn::Opens(1), Turn::Opens(2), Turn::Other].is_sorted());
    }

    #[test]
    fn only_a_closed_lane_of_a_sale_that_may_sell_is_rebuilt() {
        let care = |is_open, now_ms| Care::of(Some(WINDOW), is_open, now_ms);
        assert_eq!([care(false, 0), care(false, 1_500_000), care(false, 2_060_000)], [Care::Rebuild; 3]);
        assert_eq!(care(false, 2_060_001), Care::Retire);
        assert_eq!([care(true, 0), care(true, u64::MAX)], [Care::Keep; 2]);
        assert_eq!(Care::of(None, false, u64::MAX), Care::Rebuild, "its sale may still come to be known");
    }

    fn waiting(lane: u64, turn: Turn, units: u64) -> Waiting {
        Waiting { lane: LaneId::new(lane).unwrap(), turn, has_rows: true, alone: false, units }
    }

    fn passes(mut all: Vec<Waiting>) -> Vec<Vec<u64>> {
        let mut passes = Vec::new();
        while !all.is_empty() {
            let lanes = next_pass(all.clone(), false);
            all.retain(|w| !lanes.contains(&w.lane));
            passes.push(lanes.iter().map(|lane| lane.get()).collect());
        }
        passes
    }

    /// Small lanes on sale do not wait for a large one, lanes to come for none that is over, and
    /// what is small is read together.
    #[test]
    fn passes_take_small_lanes_on_sale_first_and_together() {
        let all = vec![
            waiting(1, Turn::Other, 5),
            waiting(2, Turn::OnSale, 1_000_000),
            waiting(3, Turn::Opens(7), 60_000),
            waiting(4, Turn::OnSale, 40),
            waiting(5, Turn::OnSale, 30),
            waiting(6, Turn::Opens(9), 50_000),
            Waiting { has_rows: false, ..waiting(7, Turn::OnSale, 0) },
            Waiting { alone: true, ..waiting(8, Turn::OnSale, 1) },
            Waiting { alone: true, ..waiting(9, Turn::OnSale, 2) },
        ];
        let expected: [&[u64]; 8] = [&[7], &[5, 4], &[2], &[8], &[9], &[3], &[6], &[1]];
        assert_eq!(passes(all), expected);
        let large = vec![waiting(1, Turn::OnSale, PASS_UNITS + 1), waiting(2, Turn::Other, PASS_UNITS)];
        assert_eq!(next_pass(large.clone(), true), [large[1].lane], "a small lane goes by the large one");
        assert_eq!(next_pass(large[..1].to_vec(), true), []);
        let many = passes((1..=1_000).map(|lane| waiting(lane, Turn::OnSale, 1)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [SCAN_LANES_MAX, 1_000 - SCAN_LANES_MAX]);
    }
}
