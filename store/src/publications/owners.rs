//! Who owns the lanes and offers of a sale: the ledger's rows, and before a lane has one the claim
//! of whoever published it first.

use std::collections::HashSet;

use domain::{
    adopt::{LaneOwner, LedgerLane, Owners},
    id::{LaneId, OfferId, PartitionId, SaleId, TenantId},
    sale::Sale,
};

use crate::sql::{Fixed, Insert, Row, SqlError, Tx, Value};

/// The statements of fixed sizes.
#[derive(Debug)]
pub(super) struct OwnerTexts {
    claimed_lanes: Fixed,
    claimed_offers: Fixed,
    ledger_lanes: Fixed,
    ledger_offers: Fixed,
    claim_lanes: Insert,
    claim_offers: Insert,
}

/// The owners of a sale's ids, and which of them nobody has claimed.
pub(super) struct Claims {
    pub(super) owners: Owners,
    lanes: HashSet<LaneId>,
    offers: HashSet<OfferId>,
}

impl OwnerTexts {
    pub(super) fn new() -> Self {
        Self {
            claimed_lanes: Fixed::new("SELECT lane, sale FROM sale_lanes WHERE lane IN ([?,])"),
            claimed_offers: Fixed::new("SELECT offer, sale, lane FROM sale_offers WHERE offer IN ([?,])"),
            ledger_lanes: Fixed::new(
                "SELECT lane, sale, tenant, partition_id, limit_per_buyer FROM lanes WHERE lane IN ([?,])",
            ),
            ledger_offers: Fixed::new(
                "SELECT o.offer, l.sale, o.lane FROM offers o JOIN lanes l ON l.lane = o.lane WHERE o.offer IN ([?,])",
            ),
            claim_lanes: Insert::new("INSERT INTO sale_lanes (lane, sale) VALUES [(?, ?),]"),
            claim_offers: Insert::new("INSERT INTO sale_offers (offer, sale, lane) VALUES [(?, ?, ?),]"),
        }
    }

    /// Looks for all ids that the sale names, and for the lanes that own its offers.
    pub(super) async fn look<T: Tx>(&self, tx: &mut T, sale: &Sale) -> Result<Claims, SqlError> {
        let offers = sorted(sale.offers().map(|(_, offer)| offer.id.stored()));
        let mut claims = Claims { owners: Owners::default(), lanes: HashSet::new(), offers: HashSet::new() };
        for mut row in rows(tx, &self.claimed_offers, &offers).await? {
            let (offer, owner) = read_offer(&mut row)?;
            claims.offers.insert(offer);
            claims.owners.offers.insert(offer, owner);
        }
        // An older program adds rows to the ledger without a claim: the ledger's word is the later
        // one.
        for mut row in rows(tx, &self.ledger_offers, &offers).await? {
            let (offer, owner) = read_offer(&mut row)?;
            claims.owners.offers.insert(offer, owner);
        }
        let homes = claims.owners.offers.values().map(|(_, lane)| lane.stored());
        let lanes = sorted(sale.lanes.iter().map(|lane| lane.id.stored()).chain(homes));
        for mut row in rows(tx, &self.claimed_lanes, &lanes).await? {
            let (lane, sale) = (row.id(LaneId::new)?, row.id(SaleId::new)?);
            claims.lanes.insert(lane);
            claims.owners.lanes.insert(lane, LaneOwner { sale, ledger: None });
        }
        for mut row in rows(tx, &self.ledger_lanes, &lanes).await? {
            let (lane, sale) = (row.id(LaneId::new)?, row.id(SaleId::new)?);
            let (tenant, partition) = (row.id(TenantId::new)?, PartitionId(row.number()?));
            let ledger = Some(LedgerLane { tenant, partition, limit_per_buyer: row.number()? });
            claims.owners.lanes.insert(lane, LaneOwner { sale, ledger });
        }
        Ok(claims)
    }

    /// Claims what the sale names and nobody has claimed, in the order of ids.
    pub(super) async fn claim<T: Tx>(&self, tx: &mut T, sale: &Sale, claims: &Claims) -> Result<(), SqlError> {
        let id = sale.id.stored();
        let free = sale.lanes.iter().filter(|lane| !claims.lanes.contains(&lane.id));
        let lanes = sorted(free.map(|lane| lane.id.stored()));
        let free = sale.offers().filter(|(_, offer)| !claims.offers.contains(&offer.id));
        let mut offers: Vec<(i64, i64)> = free.map(|(lane, offer)| (offer.id.stored(), lane.id.stored())).collect();
        offers.sort_unstable();
        let lanes: Vec<Value> = lanes.into_iter().flat_map(|lane| [lane.into(), id.into()]).collect();
        let offers: Vec<Value> =
            offers.into_iter().flat_map(|(offer, lane)| [offer.into(), id.into(), lane.into()]).collect();
        for (insert, values) in [(&self.claim_lanes, lanes), (&self.claim_offers, offers)] {
            if !values.is_empty() {
                tx.insert(insert, values).await?;
            }
        }
        Ok(())
    }
}

fn sorted(ids: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

async fn rows<T: Tx>(tx: &mut T, query: &Fixed, ids: &[i64]) -> Result<Vec<Row>, SqlError> {
    let mut found = Vec::new();
    for (text, ids) in query.padded(ids) {
        found.extend(tx.rows(text, ids.into_iter().map(Value::from).collect()).await?);
    }
    Ok(found)
}

fn read_offer(row: &mut Row) -> Result<(OfferId, (SaleId, LaneId)), SqlError> {
    Ok((row.id(OfferId::new)?, (row.id(SaleId::new)?, row.id(LaneId::new)?)))
}
