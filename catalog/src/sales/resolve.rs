//! From what a merchant asks for to terms: codes become numbers, and what he left out is filled in.
//! A lane is known again by its code, an offer by its SKU, so that both keep their numbers.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::LazyLock,
};

use store::sql::{Fixed, Sql, SqlError, Tx};

use super::{
    LANES, OFFERS,
    terms::{AskedLane, AskedOffer, LaneTerms, OfferTerms, Source, Terms},
};
use crate::{
    numbers::Numbers,
    products::{
        rules::Flaws,
        texts::{CurrencyCode, Price},
    },
    refused::Refused,
    stock::names::{Warehouse, listed, warehouses},
};

/// Purchases admitted a second, of an offer that does not say.
const RATE_PER_S: u32 = 2_000;

static SKUS: LazyLock<Fixed> = LazyLock::new(|| {
    Fixed::new(
        "SELECT s.code, s.sku, s.price, s.currency, s.state, COALESCE(p.title, s.code) FROM skus s \
         LEFT JOIN products p ON p.tenant = s.tenant AND p.product = s.product \
         WHERE s.tenant = ? AND s.code IN ([?,])",
    )
});

/// A SKU, as far as an offer of it needs it.
struct Article {
    number: i64,
    price: Price,
    is_active: bool,
    title: String,
}

/// Numbers for what is new; those that nothing takes are gaps.
pub(super) struct Fresh {
    lanes: Range<i64>,
    offers: Range<i64>,
}

impl Fresh {
    /// As many as these lanes may take.
    pub(super) async fn take<S: Sql>(numbers: &Numbers<S>, lanes: &[AskedLane]) -> Result<Self, SqlError> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let offers = lanes.iter().map(|lane| lane.offers.len()).sum();
        Ok(Self {
            lanes: numbers.take_many(LANES, count(lanes.len())).await?,
            offers: numbers.take_many(OFFERS, count(offers)).await?,
        })
    }
}

/// Lanes with their numbers.
///
/// # Errors
/// `invalid_request` that names every code that is not there or stands twice; [`Refused::Sql`].
pub(super) async fn lanes<T: Tx>(
    tx: &mut T,
    tenant: u32,
    asked: Vec<AskedLane>,
    known: Option<&Terms>,
    fresh: Fresh,
) -> Result<Vec<LaneTerms>, Refused> {
    let (articles, sources) = (articles(tx, tenant, &asked).await?, sources(tx, tenant, &asked).await?);
    let mut resolve = Resolve { articles, sources, fresh, flaws: Flaws::default() };
    let mut codes = HashSet::new();
    let mut lanes = Vec::with_capacity(asked.len());
    for (place, lane) in asked.into_iter().enumerate() {
        if !codes.insert(lane.code.0.clone()) {
            resolve.flaws.add(format!("lanes[{place}].code"), "stands twice: give each lane a code of its own");
        }
        let known = known.and_then(|known| known.lanes.iter().find(|known| known.code == lane.code.0));
        lanes.extend(resolve.lane(place, lane, known));
    }
    resolve.flaws.refuse()?;
    Ok(lanes)
}

struct Resolve {
    articles: HashMap<String, Article>,
    sources: HashMap<String, Warehouse>,
    fresh: Fresh,
    flaws: Flaws,
}

impl Resolve {
    fn lane(&mut self, place: usize, asked: AskedLane, known: Option<&LaneTerms>) -> Option<LaneTerms> {
        let id = known.map(|known| known.id).or_else(|| self.fresh.lanes.next())?;
        let mut skus = HashSet::new();
        let mut offers = Vec::with_capacity(asked.offers.len());
        for (at, offer) in asked.offers.into_iter().enumerate() {
            let path = format!("lanes[{place}].offers[{at}]");
            if !skus.insert(offer.sku.0.clone()) {
                self.flaws.add(format!("{path}.sku"), "stands twice in this lane: give one offer of it, or two lanes");
            }
            let known = known.and_then(|known| known.offers.iter().find(|known| known.sku == offer.sku.0));
            offers.extend(self.offer(&path, offer, known));
        }
        Some(LaneTerms { id, code: asked.code.0, limit_per_buyer: asked.limit_per_buyer, paused: asked.paused, offers })
    }

    fn offer(&mut self, path: &str, asked: AskedOffer, known: Option<&OfferTerms>) -> Option<OfferTerms> {
        let warehouse = match asked.warehouse {
            None => None,
            Some(code) => match self.sources.get(&code.0) {
                Some(found) if found.is_open => Some(Source { id: found.number, code: code.0 }),
                found => {
                    let closed = "this warehouse is closed: open it, or name another";
                    let missing = "there is no such warehouse; GET /v1/warehouses lists yours";
                    self.flaws.add(format!("{path}.warehouse"), if found.is_some() { closed } else { missing });
                    None
                }
            },
        };
        // What is sold already stays what it is, whatever becomes of the SKU.
        let article = self.articles.get(&asked.sku.0);
        if article.is_none_or(|article| !article.is_active) && known.is_none() {
            let archived = "this SKU is archived; make it active, or name another";
            let missing = "there is no such SKU; GET /v1/skus lists yours";
            self.flaws.add(format!("{path}.sku"), if article.is_some() { archived } else { missing });
            return None;
        }
        let article = article.map(|article| (article.number, article.price.clone(), article.title.clone()));
        let kept = || known.map(|known| (known.sku_id, known.price.clone(), known.title.clone()));
        let (sku_id, price, title) = article.or_else(kept)?;
        Some(OfferTerms {
            id: known.map(|known| known.id).or_else(|| self.fresh.offers.next())?,
            sku: asked.sku.0,
            sku_id: known.map_or(sku_id, |known| known.sku_id),
            warehouse,
            title: asked.title.map_or(title, |title| title.0),
            price: asked.price.unwrap_or(price),
            allotment: asked.allotment,
            rate_per_s: asked.rate_per_s.unwrap_or(RATE_PER_S),
            paused: asked.paused,
        })
    }
}

async fn articles<T: Tx>(tx: &mut T, tenant: u32, asked: &[AskedLane]) -> Result<HashMap<String, Article>, SqlError> {
    let codes: BTreeSet<&str> = asked.iter().flat_map(|lane| &lane.offers).map(|offer| offer.sku.0.as_str()).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let mut found = HashMap::new();
    for mut row in listed(tx, &SKUS, &[tenant.into()], &codes).await? {
        let (code, number) = (row.text()?, row.int()?);
        let price = Price { amount: row.int()?, currency: CurrencyCode(row.text()?) };
        let is_active = row.text()? == "active";
        found.insert(code, Article { number, price, is_active, title: row.text()? });
    }
    Ok(found)
}

async fn sources<T: Tx>(tx: &mut T, tenant: u32, asked: &[AskedLane]) -> Result<HashMap<String, Warehouse>, SqlError> {
    let codes = asked.iter().flat_map(|lane| &lane.offers).filter_map(|offer| offer.warehouse.as_ref());
    let codes: BTreeSet<&str> = codes.map(|code| code.0.as_str()).collect();
    if codes.is_empty() { Ok(HashMap::new()) } else { warehouses(tx, tenant, &codes).await }
}
