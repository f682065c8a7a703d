//! Compares what the sides said, shows the seeds on which they differ, and counts what the scripts
//! met.

use std::{collections::BTreeMap, time::Instant};

use engine::purchase::Declined;

use super::{
    outcome::Reply,
    script::{Script, Step},
    wave::WaveResult,
};

/// Seeds that are shown in full.
const SHOWN_MAX: usize = 3;
/// What the scripts must have met, if they are many.
const KINDS: [&str; 10] = [
    "bought",
    "SoldOut",
    "LimitReached",
    "Mismatch",
    "cancelled",
    "not cancelled",
    "seen",
    "redelivered",
    "restarted",
    "published",
];
/// So many seeds meet everything.
const MANY: usize = 100;

/// What came of all seeds.
pub(crate) struct Report {
    begun: Instant,
    seeds: usize,
    met: BTreeMap<String, usize>,
    failed: Vec<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self { begun: Instant::now(), seeds: 0, met: BTreeMap::new(), failed: Vec::new() }
    }
}

impl Report {
    pub(crate) fn compare(&mut self, scripts: &[Script], crowds: usize, sides: &[WaveResult]) {
        self.seeds += crowds;
        sides.iter().for_each(|side| self.take_faults(side));
        for script in scripts {
            self.seeds += 1;
            for (step, reply) in script.segments.iter().flatten().zip(&script.replies) {
                *self.met.entry(kind(*step, reply)).or_default() += 1;
            }
            let is_same = |side: &WaveResult| {
                let results = &side.results[&script.shop.seed];
                let as_far = results.replies.len() == script.replies.len();
                let is_fair = |(right, got): (&Reply, &Reply)| is_fair(right, got);
                as_far && script.replies.iter().zip(&results.replies).all(is_fair) && results.ending == script.ending
            };
            if !sides.iter().all(is_same) {
                self.failed.push(script.shop.seed);
                if self.failed.len() <= SHOWN_MAX {
                    show(script, sides);
                }
            }
        }
        println!("{} seeds in {:?}, {} differ", self.seeds, self.begun.elapsed(), self.failed.len());
        assert!(
            self.failed.is_empty(),
            "the sides differ on these seeds, the first of which stand above: {:?}",
            self.failed
        );
    }

    fn take_faults(&mut self, side: &WaveResult) {
        *self.met.entry(format!("crowds' purchases, {}", side.name)).or_default() += side.bids;
        for (seed, fault) in &side.faults {
            if !self.failed.contains(seed) {
                self.failed.push(*seed);
            }
            if self.failed.len() <= SHOWN_MAX {
                println!("\nseed {seed}, {}: {fault}\n{}", side.name, again(*seed));
            }
        }
    }

    pub(crate) fn end(self) {
        println!("met: {:?}", self.met);
        let missing: Vec<_> = KINDS.iter().filter(|kind| !self.met.contains_key(**kind)).collect();
        assert!(self.seeds < MANY || missing.is_empty(), "never met: {missing:?}");
    }
}

/// The right reply; or "sold out" in the place of another refusal: an engine repeats a lane's for
/// half a second. Never in the place of an order (R13).
fn is_fair(right: &Reply, got: &Reply) -> bool {
    let is_hint = *got == Reply::Declined(Declined::SoldOut) && matches!(right, Reply::Declined(_));
    right == got || is_hint
}

fn kind(step: Step, reply: &Reply) -> String {
    match reply {
        Reply::Bought { .. } => "bought".into(),
        Reply::Declined(declined) => format!("{declined:?}"),
        Reply::Cancelled => "cancelled".into(),
        Reply::NotCancelled(_) => "not cancelled".into(),
        Reply::Seen(_) => "seen".into(),
        Reply::AtRest { .. } if step == Step::Restart => "restarted".into(),
        Reply::AtRest { .. } if matches!(step, Step::Publish { .. }) => "published".into(),
        Reply::AtRest { .. } => "rested".into(),
        Reply::Redelivered => "redelivered".into(),
        Reply::Unexpected(what) => what.clone(),
    }
}

fn show(script: &Script, sides: &[WaveResult]) {
    let seed = script.shop.seed;
    println!("\nseed {seed}: {:?}", script.shop);
    for (at, (step, reply)) in script.segments.iter().flatten().zip(&script.replies).enumerate() {
        println!("{at:3} {step:?}\n      pure       {reply:?}");
        for WaveResult { name, results, .. } in sides {
            match results[&seed].replies.get(at) {
                Some(got) if is_fair(reply, got) => println!("      {name:10} the same"),
                Some(other) => println!("  !!  {name:10} {other:?}"),
                None => println!("  !!  {name:10} did not come so far"),
            }
        }
    }
    println!("  ending, pure       {:?}", script.ending);
    for WaveResult { name, results, .. } in sides {
        let ending = &results[&seed].ending;
        if *ending == script.ending {
            println!("  ending, {name:10} the same");
        } else {
            println!("!! ending, {name:10} {ending:?}");
        }
    }
    println!("{}", again(seed));
}

fn again(seed: u64) -> String {
    format!("again: FLASHSALE_SEED={seed} cargo test -p verify --features live --test differential -- --nocapture")
}
