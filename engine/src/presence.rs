//! Tells the ledger's database once a second that this engine lives, what its clock shows and by
//! which version of each sale it sells, so that a merchant learns before the opening whether every
//! engine is ready. Nobody waits for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::id::SaleId;
use kit::clock::Clock;
use store::{
    ledger::{EngineNews, Ledger},
    sql::Sql,
};

use crate::{mint::Mint, moment::Moment, sales::Directory};

const EVERY: Duration = Duration::from_secs(1);

/// Tells it.
pub(crate) struct Presence<S, C> {
    ledger: Ledger<S>,
    clock: C,
    mint: Arc<Mint>,
    holder: String,
    told: Told,
    is_away: bool,
}

/// What is known to be told.
#[derive(Debug, Default)]
struct Told {
    /// Under which number; `None` while nobody knows what is told.
    number: Option<u8>,
    /// Of the directory.
    edition: u64,
    sales: BTreeMap<SaleId, u32>,
}

impl<S: Sql, C: Clock> Presence<S, C> {
    /// Tells under the number that `holder` has leased, whichever it is.
    pub(crate) fn new(ledger: Ledger<S>, clock: C, mint: Arc<Mint>, holder: String) -> Self {
        Self { ledger, clock, mint, holder, told: Told::default(), is_away: false }
    }

    /// Tells for ever. Without a number the engine is none, and tells nothing.
    pub(crate) async fn tell(mut self, directory: Arc<Directory>) {
        loop {
            let moment = Moment::of(&self.clock);
            if let Some(number) = self.mint.worker(moment.monotonic_ms) {
                self.tell_once(number, moment.wall_ms, &directory).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn tell_once(&mut self, number: u8, clock_ms: u64, directory: &Directory) {
        let news = self.told.news(number, clock_ms, directory);
        let told = self.ledger.tell_engine((number, &self.holder), &news).await;
        let was_away = std::mem::replace(&mut self.is_away, told.is_err());
        if !matches!(told, Ok(true)) {
            self.told = Told::default();
        }
        match told {
            // Once: the database's own figures tell the rest.
            Err(error) if !was_away => {
                tracing::warn!(%error, "nobody is told what this engine sells; it is tried again")
            }
            _ => {}
        }
    }
}

impl Told {
    /// What is to be told now; afterwards it counts as told.
    fn news(&mut self, number: u8, clock_ms: u64, directory: &Directory) -> EngineNews {
        let (is_whole, edition) = (self.number != Some(number), directory.edition());
        if !is_whole && edition == self.edition {
            return EngineNews { clock_ms, is_whole, sales: Vec::new() };
        }
        let before = if is_whole { BTreeMap::new() } else { std::mem::take(&mut self.sales) };
        // A sale of which something is left out does not sell as its terms say.
        let whole = |sale: &domain::sale::Sale, offers: usize| sale.offers().count() == offers;
        let now: BTreeMap<SaleId, u32> = directory
            .now()
            .sales()
            .filter(|promotion| whole(&promotion.sale, promotion.offers.len()))
            .map(|promotion| (promotion.sale.id, promotion.sale.version))
            .collect();
        let gone = before.keys().filter(|sale| !now.contains_key(sale)).map(|sale| (*sale, None));
        let changed = now.iter().filter(|(sale, version)| before.get(sale) != Some(version));
        let sales = gone.chain(changed.map(|(sale, version)| (*sale, Some(*version)))).collect();
        *self = Self { number: Some(number), edition, sales: now };
        EngineNews { clock_ms, is_whole, sales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW_MS, directory, sale};

    fn id(sale: u64) -> SaleId {
        SaleId::new(sale).unwrap()
    }

    #[test]
    fn all_is_told_under_a_new_number_and_then_what_changes() {
        let directory = directory();
        let mut told = Told::default();
        let mut news = |number| {
            let EngineNews { clock_ms, is_whole, sales } = told.news(number, NOW_MS, &directory);
            assert_eq!(clock_ms, NOW_MS);
            (is_whole, sales)
        };
        assert_eq!(news(3), (true, vec![]));
        directory.take_in(vec![sale(1), sale(2)], NOW_MS);
        assert_eq!(news(3), (false, vec![(id(1), Some(1)), (id(2), Some(1))]));
        assert_eq!(news(3), (false, vec![]), "nothing is new");
        let mut newer = sale(2);
        newer.version = 2;
        directory.take_in(vec![newer], NOW_MS);
        assert_eq!(news(3), (false, vec![(id(2), Some(2))]));
        assert_eq!(news(4), (true, vec![(id(1), Some(1)), (id(2), Some(2))]), "another number's rows are another's");
        directory.keep_time(NOW_MS + 400 * 86_400_000);
        assert_eq!(news(4), (false, vec![(id(1), None), (id(2), None)]), "over long ago");
    }

    /// A lane that another sale has is not sold here: this engine does not have that sale.
    #[test]
    fn a_sale_of_which_something_is_left_out_is_not_told() {
        let directory = directory();
        let mut thief = sale(2);
        thief.lanes[0].offers[0].id = sale(1).lanes[0].offers[0].id;
        directory.take_in(vec![sale(1), thief], NOW_MS);
        assert_eq!(Told::default().news(3, NOW_MS, &directory).sales, [(id(1), Some(1))]);
    }
}
