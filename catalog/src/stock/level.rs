//! What there is of one SKU in one warehouse, and what a movement does to it. It reads no table.

/// Most units of one SKU in one warehouse. A thousand times as many still are exact in JSON.
pub(crate) const UNITS_MAX: i64 = 1_000_000_000_000;

/// Most positions of one SKU in one warehouse, so that a level is read and shown whole.
pub(crate) const POSITIONS_MAX: usize = 100;

/// The figures of a level, or how they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Units {
    pub(crate) on_hand: i64,
    pub(crate) allotted: i64,
    pub(crate) unshipped: i64,
}

impl Units {
    const fn on_hand(on_hand: i64) -> Self {
        Self { on_hand, allotted: 0, unshipped: 0 }
    }

    pub(crate) const fn plus(self, change: Self) -> Self {
        Self {
            on_hand: self.on_hand + change.on_hand,
            allotted: self.allotted + change.allotted,
            unshipped: self.unshipped + change.unshipped,
        }
    }

    /// Units that somebody was promised.
    pub(crate) const fn promised(self) -> i64 {
        self.allotted + self.unshipped
    }
}

/// Where in a warehouse, and of which batch; 0 where it is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Spot {
    pub(crate) bin: i64,
    pub(crate) batch: i64,
}

impl Spot {
    /// Neither bin nor batch.
    pub(crate) const NONE: Self = Self { bin: 0, batch: 0 };
}

/// Units in a bin, of a batch, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) spot: Spot,
    pub(crate) units: i64,
    /// From then on they are not available.
    pub(crate) expires_at: Option<i64>,
}

impl Position {
    const fn is_expired(&self, now_ms: i64) -> bool {
        matches!(self.expires_at, Some(expires_at) if expires_at <= now_ms)
    }
}

/// A level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Level {
    pub(crate) units: Units,
    pub(crate) threshold: Option<i64>,
    /// What expires first comes first.
    positions: Vec<Position>,
}

/// What a movement is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Units come.
    In { spot: Spot, units: i64, expires_at: Option<i64> },
    /// Units go, from this spot.
    Out { spot: Spot, units: i64 },
    /// Units go to another spot of the same warehouse.
    Move { from: Spot, to: Spot, units: i64, expires_at: Option<i64> },
    /// Unshipped units go: from this spot, or what expires first.
    Ship { spot: Option<Spot>, units: i64 },
    /// On hand becomes this. A feed's is what is there, whatever was promised.
    Set { on_hand: i64, is_feed: bool },
    /// Units are promised, or a promise becomes another one.
    Promise { allotted: i64, unshipped: i64 },
}

/// One movement, as it goes into the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) spot: Spot,
    pub(crate) change: Units,
    pub(crate) after: Units,
}

/// Why a movement is refused: what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shortage {
    #[error("only {0} lie there; name the bin and batch where there are more")]
    NotThere(i64),
    #[error("only {0} are available: the others are promised or expired")]
    NotAvailable(i64),
    #[error("only {0} are accepted and unshipped")]
    NotUnshipped(i64),
    #[error("only {0} are allotted")]
    NotAllotted(i64),
    #[error("this batch is expired; write its units off")]
    Expired,
    #[error("a SKU has at most {UNITS_MAX} units in a warehouse")]
    TooManyUnits,
    #[error("a SKU lies in at most {POSITIONS_MAX} bins and batches of a warehouse; use one that it lies in")]
    TooManyPositions,
}

impl Level {
    /// A level as it was stored.
    pub(crate) fn new(units: Units, threshold: Option<i64>, positions: Vec<Position>) -> Self {
        let mut level = Self { units, threshold, positions };
        level.sort();
        level
    }

    pub(crate) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Units of which the bin or the batch is known.
    pub(crate) fn placed(&self) -> i64 {
        self.positions.iter().map(|position| position.units).sum()
    }

    pub(crate) fn expired(&self, now_ms: i64) -> i64 {
        self.positions.iter().filter(|position| position.is_expired(now_ms)).map(|position| position.units).sum()
    }

    /// What may still be promised; below zero when more is promised than there is.
    pub(crate) fn available(&self, now_ms: i64) -> i64 {
        self.units.on_hand - self.expired(now_ms) - self.units.promised()
    }

    /// Whether it is below its threshold.
    pub(crate) fn is_low(&self, now_ms: i64) -> bool {
        self.threshold.is_some_and(|threshold| self.available(now_ms) < threshold)
    }

    /// Whether more is promised than is on hand.
    pub(crate) const fn is_short(&self) -> bool {
        self.units.on_hand < self.units.promised()
    }

    /// Does it, or nothing of it. Gives the movements that it comes to; none where nothing changes.
    ///
    /// # Errors
    /// [`Shortage`]: what there is instead. Nothing but a feed takes what is promised.
    pub(crate) fn apply(&mut self, act: Act, now_ms: i64) -> Result<Vec<Step>, Shortage> {
        let before = self.available(now_ms);
        let mut next = self.clone();
        let mut steps = Vec::with_capacity(1);
        next.act(act, now_ms, &mut steps)?;
        let (after, is_feed) = (next.available(now_ms), matches!(act, Act::Set { is_feed: true, .. }));
        if !is_feed && after < 0 && after < before {
            return Err(Shortage::NotAvailable(before.max(0)));
        }
        if next.units.on_hand > UNITS_MAX {
            return Err(Shortage::TooManyUnits);
        }
        *self = next;
        Ok(steps)
    }

    fn act(&mut self, act: Act, now_ms: i64, steps: &mut Vec<Step>) -> Result<(), Shortage> {
        match act {
            Act::In { spot, units, expires_at } => self.put(spot, units, expires_at, steps),
            Act::Out { spot, units } => self.take(spot, Units::on_hand(-units), steps),
            Act::Move { from, to, units, expires_at } => {
                self.take(from, Units::on_hand(-units), steps)?;
                self.put(to, units, expires_at, steps)
            }
            Act::Ship { units, .. } if self.units.unshipped < units => {
                Err(Shortage::NotUnshipped(self.units.unshipped))
            }
            Act::Ship { spot: Some(spot), units } => {
                if self.positions.iter().any(|position| position.spot == spot && position.is_expired(now_ms)) {
                    return Err(Shortage::Expired);
                }
                self.take(spot, shipped(units), steps)
            }
            Act::Ship { spot: None, units } => {
                let fresh = self.positions.iter().filter(|position| !position.is_expired(now_ms));
                let order = fresh.map(|position| position.spot).chain([Spot::NONE]).collect();
                self.take_in_order(order, units, shipped, steps)
            }
            Act::Set { on_hand, .. } if on_hand >= self.units.on_hand => {
                self.put(Spot::NONE, on_hand - self.units.on_hand, None, steps)
            }
            Act::Set { on_hand, .. } => {
                // Whoever counted does not say where: first what lies nowhere, then what expires
                // first.
                let placed = self.positions.iter().map(|position| position.spot);
                let order = [Spot::NONE].into_iter().chain(placed).collect();
                self.take_in_order(order, self.units.on_hand - on_hand, |units| Units::on_hand(-units), steps)
            }
            Act::Promise { allotted, .. } if self.units.allotted + allotted < 0 => {
                Err(Shortage::NotAllotted(self.units.allotted))
            }
            Act::Promise { allotted, unshipped } => {
                self.step(Spot::NONE, Units { on_hand: 0, allotted, unshipped }, steps);
                Ok(())
            }
        }
    }

    fn step(&mut self, spot: Spot, change: Units, steps: &mut Vec<Step>) {
        if change != Units::default() {
            self.units = self.units.plus(change);
            steps.push(Step { spot, change, after: self.units });
        }
    }

    fn put(&mut self, spot: Spot, units: i64, expires_at: Option<i64>, steps: &mut Vec<Step>) -> Result<(), Shortage> {
        if spot != Spot::NONE && units > 0 {
            let is_full = self.positions.len() == POSITIONS_MAX;
            match self.positions.iter_mut().find(|position| position.spot == spot) {
                Some(position) => position.units += units,
                None if is_full => return Err(Shortage::TooManyPositions),
                None => {
                    self.positions.push(Position { spot, units, expires_at });
                    self.sort();
                }
            }
        }
        self.step(spot, Units::on_hand(units), steps);
        Ok(())
    }

    fn take(&mut self, spot: Spot, change: Units, steps: &mut Vec<Step>) -> Result<(), Shortage> {
        let units = -change.on_hand;
        let there = self.at(spot);
        if there < units {
            return Err(Shortage::NotThere(there));
        }
        if let Some(position) = self.positions.iter_mut().find(|position| position.spot == spot) {
            position.units -= units;
        }
        self.positions.retain(|position| position.units > 0);
        self.step(spot, change, steps);
        Ok(())
    }

    fn take_in_order(
        &mut self,
        order: Vec<Spot>,
        mut units: i64,
        change: fn(i64) -> Units,
        steps: &mut Vec<Step>,
    ) -> Result<(), Shortage> {
        let there = order.iter().map(|spot| self.at(*spot)).sum();
        if there < units {
            return Err(Shortage::NotThere(there));
        }
        for spot in order {
            let taken = self.at(spot).min(units);
            if taken > 0 {
                self.take(spot, change(taken), steps)?;
                units -= taken;
            }
        }
        Ok(())
    }

    /// Units at a spot; at none: those that lie nowhere in particular.
    fn at(&self, spot: Spot) -> i64 {
        if spot == Spot::NONE {
            return self.units.on_hand - self.placed();
        }
        self.positions.iter().find(|position| position.spot == spot).map_or(0, |position| position.units)
    }

    fn sort(&mut self) {
        self.positions.sort_by_key(|position| (position.expires_at.unwrap_or(i64::MAX), position.spot));
    }
}

const fn shipped(units: i64) -> Units {
    Units { on_hand: -units, allotted: 0, unshipped: -units }
}

#[cfg(test)]
mod tests;
