//! What is shown of a tenant's sales: each entry is written once, and pages are put together of
//! them. Right until the next moment at which the clock changes it.

use std::sync::{Arc, OnceLock};

use domain::{
    id::TenantId,
    sale::{Phase, Sale, Window},
};
use kit::http::PAGE_LIMIT_DEFAULT;

use crate::{
    board::{Checked, Lifetime},
    cursor::{self, Key},
    sales::{Shown, is_visible},
    stock::Coarse,
    wire,
    written::{Held, Written},
};

/// A lane that answered so recently is not asked for the list.
pub(crate) const TOLD_MS_MAX: u64 = 2_000;
/// Stock in a list is at most five seconds old.
pub(crate) const LIFETIME: Lifetime = Lifetime { fresh_ms: 1_000, spread_ms: 250, shown_ms: 2_500 };
const _: () = assert!(LIFETIME.shown_ms + TOLD_MS_MAX < 5_000);
/// How long a sale is listed after its end.
const LISTED_AFTER_END_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Pages of one version that are kept. Whoever asks for further ones gets each put together anew.
const PAGES_MAX: usize = 16;

/// A list, as it was checked.
pub(crate) struct List {
    /// Of what is on sale.
    edition: u64,
    /// By the wall's clock, in epoch milliseconds: the clock alone changes nothing in between.
    from_ms: u64,
    until_ms: u64,
    version: Arc<Version>,
}

/// A page of a list, with its limit and its first entry.
type Kept = ((u32, usize), Arc<Written>);

/// What it shows.
struct Version {
    tenant: TenantId,
    entries: Vec<(Key, Vec<u8>)>,
    pages: [OnceLock<Kept>; PAGES_MAX],
    held: Arc<Held>,
}

impl List {
    /// Whether it shows what is on sale at this moment.
    pub(crate) fn is_right(&self, edition: u64, wall_ms: u64) -> bool {
        self.edition == edition && (self.from_ms..self.until_ms).contains(&wall_ms)
    }

    /// The list of a tenant. Where `known` shows the same, its pages live on.
    pub(crate) fn write<V: Shown>(
        (tenant, edition, sales): (TenantId, u64, Vec<Arc<V>>),
        (wall_ms, monotonic_ms): (u64, u64),
        (known, held): (Option<&Checked<Self>>, &Arc<Held>),
        count: impl FnOnce(),
    ) -> Self {
        let listed = sales.iter().filter(|sale| is_listed(sale.sale(), wall_ms));
        let mut entries: Vec<_> = listed.map(|sale| entry(&**sale, wall_ms, monotonic_ms)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let known = known.map(|known| &known.shown.version).filter(|known| known.entries == entries);
        let version = known.map(Arc::clone).unwrap_or_else(|| {
            count();
            let version = Version { tenant, entries, pages: Default::default(), held: Arc::clone(held) };
            // What nearly all ask for.
            drop(version.page(PAGE_LIMIT_DEFAULT, None));
            Arc::new(version)
        });
        let until_ms = sales.iter().flat_map(|sale| turns(sale.sale())).filter(|turn| *turn > wall_ms).min();
        Self { edition, from_ms: wall_ms, until_ms: until_ms.unwrap_or(u64::MAX), version }
    }

    /// So many entries after this key.
    pub(crate) fn page(&self, limit: u32, after: Option<Key>) -> Arc<Written> {
        self.version.page(limit, after)
    }
}

impl Version {
    fn page(&self, limit: u32, after: Option<Key>) -> Arc<Written> {
        let first = after.map_or(0, |after| self.entries.partition_point(|(key, _)| *key <= after));
        let wanted = (limit, first);
        for place in &self.pages {
            let (known, page) = place.get_or_init(|| (wanted, self.put_together(wanted)));
            if *known == wanted {
                return Arc::clone(page);
            }
        }
        self.put_together(wanted)
    }

    fn put_together(&self, (limit, first): (u32, usize)) -> Arc<Written> {
        let rest = self.entries.get(first..).unwrap_or_default();
        let shown = &rest[..rest.len().min(limit as usize)];
        let mut body = b"{\"sales\":[".to_vec();
        for (place, (_, entry)) in shown.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            body.extend_from_slice(entry);
        }
        body.push(b']');
        if let Some((last, _)) = shown.last().filter(|_| shown.len() < rest.len()) {
            let cursor = cursor::write(self.tenant, *last);
            body.extend_from_slice(b",\"next_cursor\":\"");
            body.extend_from_slice(cursor.as_bytes());
            body.push(b'"');
        }
        body.push(b'}');
        Arc::new(Written::new(body, &self.held))
    }
}

/// The list of a tenant who sells nothing, or does not exist: which of them it is, is not told.
pub(crate) fn empty() -> Arc<Written> {
    static EMPTY: OnceLock<Arc<Written>> = OnceLock::new();
    Arc::clone(EMPTY.get_or_init(|| Arc::new(Written::new(b"{\"sales\":[]}".to_vec(), &Arc::default()))))
}

fn is_listed(sale: &Sale, wall_ms: u64) -> bool {
    is_visible(sale, wall_ms) && wall_ms < sale.window.closes_at_ms.saturating_add(LISTED_AFTER_END_MS)
}

/// When the clock changes what a list shows of a sale.
fn turns(sale: &Sale) -> [u64; 4] {
    let Window { opens_at_ms, closes_at_ms } = sale.window;
    [sale.visible_from_ms, opens_at_ms, closes_at_ms, closes_at_ms.saturating_add(LISTED_AFTER_END_MS)]
}

fn entry(sale: &impl Shown, wall_ms: u64, monotonic_ms: u64) -> (Key, Vec<u8>) {
    let phase = sale.sale().phase(wall_ms);
    let stock = if is_asked(phase) { best(&sale.stock(monotonic_ms)) } else { None };
    // Texts and numbers always serialise.
    let written = serde_json::to_vec(&wire::ListedSale::of(sale, phase, stock)).unwrap_or_default();
    (Key::of(sale.sale(), phase), written)
}

/// Whether a list shows the stock of a sale in this phase.
pub(crate) const fn is_asked(phase: Phase) -> bool {
    matches!(phase, Phase::Open | Phase::Paused)
}

/// The stock of a sale: that of the offer of which most is left; `None` while it may be more than
/// what is known.
fn best(stock: &[Option<Coarse>]) -> Option<Coarse> {
    let has = |wanted: Option<Coarse>| stock.contains(&wanted);
    match () {
        () if has(Some(Coarse::Available)) => Some(Coarse::Available),
        () if has(None) => None,
        () if has(Some(Coarse::Low)) => Some(Coarse::Low),
        () => stock.first().copied().flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not known is never better than it is, and a sale with a unit somewhere is not sold
    /// out.
    #[test]
    fn a_sale_has_what_its_best_offer_has() {
        use Coarse::{Available, Low, SoldOut};
        for (offers, sale) in [
            (&[Some(SoldOut), Some(Available), None][..], Some(Available)),
            (&[Some(SoldOut), Some(Low)], Some(Low)),
            (&[Some(SoldOut), Some(SoldOut)], Some(SoldOut)),
            (&[Some(Low), None], None),
            (&[Some(SoldOut), None], None),
            (&[None], None),
            (&[], None),
        ] {
            assert_eq!(best(offers), sale, "{offers:?}");
        }
    }
}
