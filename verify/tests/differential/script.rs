//! The serial scripts: steps drawn from a seed, each with the answer that the pure machine gives. A
//! script asks nothing whose answer depends on how far the writer has come: it rests before it
//! cancels what it just bought, and before it wants units that a cancel gives back.

use super::{
    model::{Model, Wish},
    outcome::{Ending, Reply},
    seed::{BUYERS, OFFERS, Random, Seed},
};

/// Keys that a buyer has for an offer.
const KEYS: u8 = 4;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Buy(Wish),
    Cancel {
        order: usize,
    },
    Look {
        order: usize,
    },
    /// The record of the promise, or of the release, is appended again.
    Redeliver {
        order: usize,
        release: bool,
    },
    /// A version of the sale with so many units of each offer; at rest before and after.
    Publish {
        version: u32,
        units: [u64; OFFERS],
    },
    /// Until everything is at rest.
    Tick,
    /// Something of the deployment went and came back; then as [`Step::Tick`].
    Restart,
}

/// A script and what is right.
pub(crate) struct Script {
    pub(crate) shop: Seed,
    /// What stands between two restarts. All but the first begin with [`Step::Restart`].
    pub(crate) segments: Vec<Vec<Step>>,
    /// One for each step.
    pub(crate) replies: Vec<Reply>,
    pub(crate) ending: Ending,
}

impl Script {
    /// The script of a seed whose deployment restarts so many times.
    pub(crate) fn of(shop: Seed, restarts: usize) -> Self {
        let mut draft = Draft::new(shop.clone());
        let mut segments = Vec::new();
        for segment in 0..=restarts {
            if segment > 0 {
                draft.step(Step::Restart);
            }
            for _ in 0..draft.random.within(6, 14) {
                let step = draft.next();
                draft.step(step);
            }
            if segment == restarts {
                draft.step(Step::Tick);
            }
            segments.push(std::mem::take(&mut draft.steps));
        }
        Self { shop, segments, replies: draft.replies, ending: draft.model.ending() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Fresh,
    Rested,
    /// Its release may or may not be decided.
    Cancelled,
    Released,
}

/// A script that is being drawn, and the model that runs it.
struct Draft {
    random: Random,
    shop: Seed,
    model: Model,
    lives: Vec<Life>,
    /// Wishes that were asked, with the order they got.
    asked: Vec<(Wish, Option<usize>)>,
    steps: Vec<Step>,
    replies: Vec<Reply>,
    /// Of the sale.
    version: u32,
}

impl Draft {
    fn new(shop: Seed) -> Self {
        Self {
            random: Random::new(shop.seed, 2),
            model: Model::new(shop.clone()),
            shop,
            lives: Vec::new(),
            asked: Vec::new(),
            steps: Vec::new(),
            replies: Vec::new(),
            version: 1,
        }
    }

    fn next(&mut self) -> Step {
        let of = |lives: &[Life], wanted: &[Life]| -> Vec<usize> {
            (0..lives.len()).filter(|&order| wanted.contains(&lives[order])).collect()
        };
        let all: Vec<usize> = (0..self.lives.len()).collect();
        let step = match self.random.below(100) {
            0..38 => Some(Step::Buy(self.wish())),
            38..52 => self.again(false).map(Step::Buy),
            52..58 => self.again(true).map(Step::Buy),
            58..72 => {
                let candidates = of(&self.lives, &[Life::Rested, Life::Rested, Life::Cancelled, Life::Released]);
                self.random.of(&candidates).map(|order| Step::Cancel { order })
            }
            72..80 => self.random.of(&all).map(|order| Step::Look { order }),
            80..86 => self.random.of(&all).map(|order| Step::Redeliver { order, release: false }),
            86..90 => {
                let released = of(&self.lives, &[Life::Released]);
                self.random.of(&released).map(|order| Step::Redeliver { order, release: true })
            }
            90..94 => {
                let units = [(); OFFERS].map(|()| self.random.within(1, 7).into());
                self.version += 1;
                Some(Step::Publish { version: self.version, units })
            }
            _ => Some(Step::Tick),
        };
        match step {
            // Whether the units are back is not known.
            Some(Step::Buy(wish)) if self.lives.contains(&Life::Cancelled) && !self.has_order(wish) => Step::Tick,
            Some(step) => step,
            None => Step::Buy(self.wish()),
        }
    }

    fn wish(&mut self) -> Wish {
        let offers = u8::try_from(self.shop.offers.len()).unwrap();
        let quantity = if self.random.below(3) == 0 { self.random.within(1, 3) } else { 1 };
        Wish {
            buyer: self.random.within(0, BUYERS - 1),
            offer: self.random.within(0, offers - 1),
            quantity: quantity.into(),
            key: self.random.within(0, KEYS - 1),
        }
    }

    /// An earlier wish, or its key for another quantity.
    fn again(&mut self, otherwise: bool) -> Option<Wish> {
        let (mut wish, _) = self.random.of(&self.asked)?;
        if otherwise {
            wish.quantity = wish.quantity % 3 + 1;
        }
        Some(wish)
    }

    /// Whether this key has an order, which then answers for it whatever is left.
    fn has_order(&self, wish: Wish) -> bool {
        let is_same = |known: &Wish| (known.buyer, known.offer, known.key) == (wish.buyer, wish.offer, wish.key);
        self.asked.iter().any(|(known, order)| is_same(known) && order.is_some())
    }

    fn step(&mut self, step: Step) {
        let reply = match step {
            Step::Buy(wish) => {
                let reply = self.model.buy(wish);
                let order = match reply {
                    Reply::Bought { order, .. } => Some(order),
                    _ => None,
                };
                self.asked.push((wish, order));
                self.lives.resize(self.model.orders.len(), Life::Fresh);
                reply
            }
            Step::Cancel { order } => {
                if self.lives[order] == Life::Rested {
                    self.lives[order] = Life::Cancelled;
                }
                self.model.cancel(order)
            }
            Step::Look { order } => self.model.look(order),
            Step::Redeliver { order, release } => self.model.redeliver(order, release),
            Step::Tick | Step::Restart | Step::Publish { .. } => {
                for life in &mut self.lives {
                    *life = match life {
                        Life::Fresh | Life::Rested => Life::Rested,
                        Life::Cancelled | Life::Released => Life::Released,
                    };
                }
                match step {
                    Step::Publish { version, units } => self.model.publish(version, units),
                    _ => self.model.rest(),
                }
            }
        };
        self.steps.push(step);
        self.replies.push(reply);
    }
}
