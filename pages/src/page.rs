//! What is shown of a sale: written anew when its version, its state or its stock is another one.

use std::sync::Arc;

use domain::sale::Phase;

use crate::{
    board::{Checked, Lifetime},
    sales::Shown,
    stock::Coarse,
    wire,
    written::{Held, Written},
};

/// A lane that answered a purchase so recently is not asked for the page.
pub(crate) const TOLD_MS_MAX: u64 = 200;
/// Stock on a page is at most a second old.
pub(crate) const LIFETIME: Lifetime = Lifetime { fresh_ms: 400, spread_ms: 100, shown_ms: 700 };
const _: () = assert!(LIFETIME.fresh_ms < LIFETIME.shown_ms && LIFETIME.shown_ms + TOLD_MS_MAX < 1_000);

/// A page.
pub(crate) struct Page<V> {
    sale: Arc<V>,
    phase: Phase,
    /// As shown, in the order of the offers.
    stock: Vec<Option<Coarse>>,
    pub(crate) body: Arc<Written>,
}

impl<V: Shown> Page<V> {
    /// Whether it shows this version of its sale, as it is at this moment.
    pub(crate) fn is_right(&self, sale: &V, wall_ms: u64) -> bool {
        self.sale.sale().version == sale.sale().version && self.phase == sale.sale().phase(wall_ms)
    }

    /// The page of a sale: `known` again, as far as it is still right. Where clients hold too much
    /// of earlier versions its stock waits, its state does not.
    pub(crate) fn write(
        (sale, wall_ms, monotonic_ms): (Arc<V>, u64, u64),
        known: Option<&Checked<Self>>,
        held: &Arc<Held>,
        count: impl FnOnce(),
    ) -> Self {
        let phase = sale.sale().phase(wall_ms);
        let known = known.map(|known| &known.shown);
        let known = known.filter(|known| Arc::ptr_eq(&known.sale, &sale) && known.phase == phase);
        let stock = match known.filter(|_| held.is_full()) {
            Some(known) => known.stock.clone(),
            None => sale.stock(monotonic_ms),
        };
        if let Some(known) = known.filter(|known| known.stock == stock) {
            return Self { body: Arc::clone(&known.body), sale, phase, stock };
        }
        count();
        // Texts and numbers always serialise.
        let body = serde_json::to_vec(&wire::Sale::of(&*sale, phase, &stock)).unwrap_or_default();
        Self { body: Arc::new(Written::new(body, held)), sale, phase, stock }
    }
}
