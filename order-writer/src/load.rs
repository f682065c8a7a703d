//! What a lane starts from: units by the ledger, buyers by the rows. Done by the winner of the epoch's commit, once (R4).

use domain::{
    id::{BuyerId, Epoch, LaneId},
    order::{OrderRow, Status},
    stock::{LaneLoad, LoadAnswer, OfferLoad, Purchase, TOMBSTONES_MAX},
};
use kit::clock::Clock;
use store::{sql::SqlError, stock::LoadAtOnce};

use crate::{
    partition::Partition,
    ports::{Halt, Ports},
};

/// Rows read at once.
const SCAN_PAGE: u32 = 5_000;

impl<P: Ports> Partition<P> {
    /// Loads a lane under an epoch whose commit this worker has just won. A failure is not repeated: the keeper sees a lane that is not
    /// open and asks for the next epoch.
    pub(crate) async fn load(&mut self, id: LaneId, epoch: Epoch) -> Result<(), Halt> {
        let Some(lane) = self.lanes.get(&id).cloned() else { return Ok(()) };
        let mut purchases: Vec<(BuyerId, Purchase)> = Vec::new();
        let no_rows = self.facts.get(&id).is_some_and(|facts| facts.first_opening);
        let lanes: &[LaneId] = if no_rows { &[] } else { &[id] };
        let scanned = self
            .scan(lanes, lane.rows_from(), |row| purchases.extend(purchase(&row).map(|purchase| (row.buyer, purchase))))
            .await;
        if let Err(Halt::Sql(error @ (SqlError::Broken(_) | SqlError::Unfit(_)))) = scanned {
            // A row that cannot be read stops its own lane only.
            tracing::error!(lane = %id, %epoch, %error, "the lane's rows cannot be read, so it stays closed: restore their database");
            let until = self.shared.clock.monotonic() + self.shared.pace.rebuild_patience;
            self.facts.entry(id).or_default().aside_until = Some(until);
            return Ok(());
        }
        scanned?;
        forget_oldest_tombstones(&mut purchases);
        let offers = lane.offers.iter().map(|(&offer, numbers)| OfferLoad {
            offer,
            left: numbers.allotment.saturating_sub(numbers.sold),
            allotment: numbers.allotment,
            changed_at: numbers.changed_at,
        });
        let load = LaneLoad { limit_per_buyer: lane.limit_per_buyer, offers: offers.collect(), purchases };
        match self.shared.stock.load(id, epoch, &load).await {
            Ok(LoadAnswer::Loaded) => {
                tracing::info!(lane = %id, %epoch, purchases = load.purchases.len(), "lane open");
                self.facts.entry(id).or_default().opened();
                self.shared.ledger.trust(id).await?;
            }
            Ok(LoadAnswer::Refused) => {
                tracing::warn!(lane = %id, %epoch, "the lane refused its load: it is rebuilt under the next epoch")
            }
            Err(error) => {
                tracing::warn!(lane = %id, %epoch, %error, "the lane's load is unclear: it is rebuilt under the next epoch")
            }
        }
        Ok(())
    }

    /// Every row of these lanes from an order id on, over all shards and tables.
    pub(crate) async fn scan(&self, lanes: &[LaneId], from: u64, mut take: impl FnMut(OrderRow)) -> Result<(), Halt> {
        for home in self.shared.orders.map().all() {
            let mut after = None;
            loop {
                let rows = self.shared.orders.scan(home, lanes, from, after, SCAN_PAGE).await?;
                let Some(last) = rows.last() else { break };
                after = Some(last.order);
                rows.into_iter().for_each(&mut take);
            }
        }
        Ok(())
    }
}

/// R5: a row is live until its release is decided, whatever its status. R6: released ones stay as tombstones. Rejected ones were never
/// sold: their keys are free.
fn purchase(row: &OrderRow) -> Option<Purchase> {
    (row.status != Status::Rejected).then_some(Purchase {
        order: row.order,
        offer: row.offer,
        quantity: row.quantity,
        number: if row.is_live() { row.number } else { None },
        key: row.key,
        batch: None,
    })
}

/// Puts the purchases of one buyer together, by age. A lane keeps a bounded number of tombstones of a buyer; the newest matter most.
fn forget_oldest_tombstones(purchases: &mut Vec<(BuyerId, Purchase)>) {
    purchases.sort_unstable_by_key(|(buyer, purchase)| (*buyer, purchase.order));
    let (mut of, mut kept) = (None, 0);
    // From the newest on.
    purchases.reverse();
    purchases.retain(|(buyer, purchase)| {
        if of.replace(*buyer) != Some(*buyer) {
            kept = 0;
        }
        kept += usize::from(purchase.number.is_none());
        purchase.number.is_some() || kept <= TOMBSTONES_MAX
    });
    purchases.reverse();
}

#[cfg(test)]
mod tests {
    use domain::id::{KeyHash, OfferId, OrderId, PurchaseNumber};

    use super::*;

    fn bought(buyer: u64, order: u64, number: Option<u8>) -> (BuyerId, Purchase) {
        let purchase = Purchase {
            order: OrderId::new(order).unwrap(),
            offer: OfferId::new(1).unwrap(),
            quantity: 1,
            number: number.map(PurchaseNumber),
            key: KeyHash([0; 16]),
            batch: None,
        };
        (BuyerId::new(buyer).unwrap(), purchase)
    }

    /// R6: of each buyer the newest tombstones are kept, and every live purchase however old; a buyer's purchases stand together, by age.
    #[test]
    fn r6_the_newest_tombstones_of_each_buyer_are_loaded() {
        let excess = 3;
        let last = 1 + u64::try_from(TOMBSTONES_MAX).unwrap() + excess;
        let mut purchases: Vec<_> = (2..=last).rev().map(|order| bought(2, order, None)).collect();
        purchases.extend([bought(2, 1, Some(1)), bought(3, 901, None), bought(1, 900, Some(1)), bought(1, 800, None)]);
        forget_oldest_tombstones(&mut purchases);
        let mut expected = vec![bought(1, 800, None), bought(1, 900, Some(1)), bought(2, 1, Some(1))];
        expected.extend((2 + excess..=last).map(|order| bought(2, order, None)));
        expected.push(bought(3, 901, None));
        assert_eq!(purchases, expected);
    }
}
