//! State machines of `place`, `match` and `queue`: models that few places allow. One writer runs
//! each tree, pair of legs and queue.

use std::collections::VecDeque;

use crate::evaluate::part;
use crate::plan::{Match, OnFull, Place, Queue, Rest};

/// The trees of one `place`. People take seats breadth-first in the oldest open tree.
#[derive(Debug, Clone)]
pub struct Forest {
    place: Place,
    trees: VecDeque<Tree>,
}

#[derive(Debug, Clone, Default)]
struct Tree {
    /// To whom the head belonged, when it left.
    owner: Option<u64>,
    /// Breadth-first, the head at 0.
    people: Vec<u64>,
}

/// A tree became full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Who is paid.
    pub head: u64,
    /// Minor units.
    pub pay: i64,
    /// Who belongs to whom from now on ([`OnFull::Reparent`]).
    pub reparented: Vec<(u64, Option<u64>)>,
}

impl Forest {
    /// Without a tree.
    pub fn new(place: Place) -> Self {
        Self { place, trees: VecDeque::new() }
    }

    /// Seats of a full tree, with its head.
    pub fn seats(place: &Place) -> u64 {
        let width = u64::from(place.width);
        (0..=u32::from(place.depth)).fold(0, |sum, level| sum.saturating_add(width.saturating_pow(level)))
    }

    /// Trees that still take people.
    pub fn open(&self) -> usize {
        self.trees.len()
    }

    /// Somebody takes the next seat.
    pub fn join(&mut self, person: u64) -> Option<Full> {
        if self.trees.is_empty() {
            self.trees.push_back(Tree::default());
        }
        let tree = self.trees.front_mut()?;
        tree.people.push(person);
        let count = u64::try_from(tree.people.len()).unwrap_or(u64::MAX);
        if count < Self::seats(&self.place) {
            return None;
        }
        let full = self.trees.pop_front()?;
        let head = *full.people.first()?;
        let mut reparented = Vec::new();
        if self.place.on_full != OnFull::Exit {
            for child in self.children(&full) {
                if self.place.on_full == OnFull::Reparent {
                    reparented.extend(child.people.first().map(|first| (*first, full.owner)));
                }
                self.trees.push_back(child);
            }
        }
        if self.place.on_full == OnFull::Reenter
            && let Some(last) = self.trees.back_mut()
        {
            last.people.push(head);
        }
        Some(Full { head, pay: self.place.pay, reparented })
    }

    /// The subtree of each child of the head, breadth-first.
    fn children(&self, full: &Tree) -> Vec<Tree> {
        let width = usize::from(self.place.width);
        let mut trees = vec![Tree { owner: full.people.first().copied(), people: Vec::new() }; width];
        // Whose subtree a seat is in: the parent's.
        let mut branch = vec![0; full.people.len()];
        for seat in 1..full.people.len() {
            let parent = (seat - 1) / width;
            branch[seat] = if parent == 0 { seat - 1 } else { branch[parent] };
            trees[branch[seat]].people.push(full.people[seat]);
        }
        trees
    }
}

/// What a match of two legs gives. Minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// Paid.
    pub paid: i64,
    /// Above the cap, void.
    pub flushed: i64,
    /// Left volume of the next period.
    pub left: i64,
    /// Right volume of the next period.
    pub right: i64,
}

/// Pairs two legs; `None` beyond 64 bits.
pub fn match_legs(legs: &Match, left: i64, right: i64) -> Option<Matched> {
    let ratio = legs.ratio.max(1);
    let matched = left.min(right / ratio);
    let earned = part(matched, legs.ppm)?;
    let paid = earned.min(legs.cap.unwrap_or(earned));
    let rest = |volume: i64| if legs.rest == Rest::Carry { volume } else { 0 };
    let right = right - matched.checked_mul(ratio)?;
    Some(Matched { paid, flushed: earned - paid, left: rest(left - matched), right: rest(right) })
}

/// The queue of one `queue`.
#[derive(Debug, Clone)]
pub struct Waiting {
    queue: Queue,
    /// Minor units in the fund.
    pub fund: i64,
    /// Who waits, the first first.
    pub people: VecDeque<u64>,
}

impl Waiting {
    /// Nobody waits.
    pub fn new(queue: Queue) -> Self {
        Self { queue, fund: 0, people: VecDeque::new() }
    }

    /// Somebody buys and waits; returns who is paid the target. `None` beyond 64 bits.
    pub fn buy(&mut self, person: u64, base: i64) -> Option<Vec<u64>> {
        self.fund = self.fund.checked_add(part(base, self.queue.fund)?)?;
        self.people.push_back(person);
        let mut paid = Vec::new();
        while self.queue.target > 0 && self.fund >= self.queue.target {
            let Some(head) = self.people.pop_front() else { break };
            self.fund -= self.queue.target;
            paid.push(head);
        }
        Some(paid)
    }
}
