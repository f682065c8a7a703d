//! Sales, their offers, and how these stand in the ledger.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{ComplexObject, Context, Error, ID, SimpleObject};
use kit::{access::Permission::ReadSales, http::PageAsked};
use serde::Deserialize;
use store::{ledger::OfferRow, sql::stored};

use super::{
    asking::{Asking, Field, Paged, Thing, Together, Whole, field, number, page},
    products::Price,
};
use crate::{
    document::Page,
    limit_by::LimitBy,
    refused::Refused,
    sales::{FulfilBy, State},
};

/// A sale.
#[derive(SimpleObject, Deserialize)]
#[graphql(complex)]
pub(super) struct Sale {
    /// The number by which buyers know it.
    id: ID,
    /// The merchant's own code.
    code: String,
    state: State,
    /// Rises with each change.
    version: u64,
    /// The version that buyers buy by; null while it was never published.
    published_version: Option<u32>,
    /// A later version is on its way to the engines.
    is_publishing: bool,
    terms: SaleTerms,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
    #[graphql(skip)]
    #[serde(skip)]
    together: Arc<SalesTogether>,
}

/// The terms of a sale. Its lanes stand at its offers.
#[derive(SimpleObject, Deserialize)]
struct SaleTerms {
    title: String,
    /// The first moment at which it sells; RFC 3339.
    opens_at: String,
    /// The first moment at which it sells no more; RFC 3339.
    closes_at: String,
    /// Stopped for now.
    paused: bool,
    /// Purchases admitted a second from one buyer.
    buyer_rate_per_s: u32,
    limit_by: LimitBy,
    /// Sells to members alone.
    members_only: bool,
    /// From when on shoppers may see it; RFC 3339. Null: always.
    visible_from: Option<String>,
    /// Seconds that a buyer has to pay; 0 for the deployment's default.
    payment_window_s: u32,
    fulfilment: FulfilBy,
    /// Days in which an order may be returned.
    after_sale_days: u16,
    #[graphql(skip)]
    lanes: Vec<Lane>,
}

#[derive(Deserialize)]
struct Lane {
    #[serde(flatten)]
    shown: SaleLane,
    offers: Vec<Offer>,
}

/// A lane of a sale. Its offers share one limit per buyer.
#[derive(Clone, Default, SimpleObject, Deserialize)]
struct SaleLane {
    /// Its number.
    id: ID,
    /// One of its own in the sale.
    code: String,
    limit_per_buyer: u32,
    /// Stopped for now, with all its offers.
    paused: bool,
}

/// An offer of a sale.
#[derive(Clone, SimpleObject, Deserialize)]
#[graphql(complex, name = "SaleOffer")]
struct Offer {
    /// Its number, by which buyers buy.
    id: ID,
    sku_id: ID,
    /// The SKU's code.
    sku: String,
    /// The warehouse whose stock it sells; null where it is promised past all stock.
    warehouse: Option<SaleWarehouse>,
    title: String,
    price: Price,
    /// Units that the merchant wants it to sell.
    allotment: Whole,
    /// Purchases admitted a second.
    rate_per_s: u32,
    /// Stopped for now, by itself.
    paused: bool,
    #[serde(skip)]
    lane: SaleLane,
    #[graphql(skip)]
    #[serde(skip)]
    together: Arc<Together<(), SaleStanding>>,
}

/// A warehouse whose stock is sold.
#[derive(Clone, SimpleObject, Deserialize)]
struct SaleWarehouse {
    id: ID,
    code: String,
}

/// How an offer stands in the ledger.
#[derive(Clone, Copy, SimpleObject)]
struct SaleStanding {
    /// Units that the published sale wants it to sell.
    target: Whole,
    /// Units that it may sell now: above the target, while more of a reduction are sold.
    effective: Whole,
    /// Units sold and not released.
    sold: Whole,
    /// Units that it may still sell.
    left: Whole,
}

/// Sales that were read together, with the offers of each by number.
#[derive(Default)]
struct SalesTogether {
    offers: HashMap<String, Vec<Offer>>,
    pages: Together<PageAsked, Arc<Paged<Offer>>>,
}

impl Thing for Sale {
    fn read_together(mut sales: Vec<&mut Self>) {
        let offers = sales.iter_mut().map(|sale| (sale.id.0.clone(), sale.terms.take_offers())).collect();
        let together = Arc::new(SalesTogether { offers, pages: Together::default() });
        sales.into_iter().for_each(|sale| sale.together = Arc::clone(&together));
    }
}

impl SaleTerms {
    /// The offers of all lanes, by number, each with its lane.
    fn take_offers(&mut self) -> Vec<Offer> {
        let lanes = std::mem::take(&mut self.lanes).into_iter();
        let with_lane = |Lane { shown, offers }: Lane| {
            offers.into_iter().map(move |offer| Offer { lane: shown.clone(), ..offer }).collect::<Vec<_>>()
        };
        let mut offers: Vec<Offer> = lanes.flat_map(with_lane).collect();
        offers.sort_by_key(|offer| number(&offer.id));
        offers
    }
}

impl SalesTogether {
    /// A page of the offers of each sale. Those of all pages stand together.
    fn pages(&self, asked: &PageAsked) -> Result<HashMap<String, Arc<Paged<Offer>>>, Refused> {
        let after = Page::<Offer>::after(asked)?;
        let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        let page = |offers: &Vec<Offer>| {
            let later = offers.iter().filter(|offer| number(&offer.id) > Some(after));
            let read = later.take(limit.saturating_add(1)).cloned().collect();
            Page::new(read, asked, |offer: &Offer| offer.id.0.clone()).into_parts()
        };
        let mut pages: Vec<_> = self.offers.iter().map(|(sale, offers)| (sale, page(offers))).collect();
        let together = Together::of(pages.iter().flat_map(|(_, (offers, _))| offers.iter().map(|offer| &offer.id)));
        for offer in pages.iter_mut().flat_map(|(_, (offers, _))| offers) {
            offer.together = Arc::clone(&together);
        }
        let paged = |(sale, (items, next_cursor)): (&String, _)| (sale.clone(), Arc::new(Paged { items, next_cursor }));
        Ok(pages.into_iter().map(paged).collect())
    }
}

#[ComplexObject]
impl Sale {
    /// Its offers, by number.
    async fn offers(
        &self,
        #[graphql(default = 20, desc = "1 to 100.")] first: u32,
        #[graphql(desc = "`nextCursor` of the page before.")] after: Option<String>,
    ) -> Field<Arc<Paged<Offer>>> {
        field(async {
            let asked = &page(first, after)?;
            let read = |_: &[i64]| async move { Ok(self.together.pages(asked)?) };
            self.together.pages.belonging(&self.id, asked.clone(), read).await
        })
        .await
    }
}

#[ComplexObject]
impl Offer {
    /// How it stands; null until the ledger has it, which it does once the sale is published.
    async fn standing(&self, ctx: &Context<'_>) -> Field<SaleStanding> {
        field(async {
            let asking = Asking::of(ctx, ReadSales)?;
            let read = |offers| async move {
                asking.offers(offers).await?.iter().map(SaleStanding::of).collect::<Result<_, Error>>()
            };
            self.together.belonging(&self.id, (), read).await
        })
        .await
    }
}

impl SaleStanding {
    /// Of a row of the ledger, with the number of its offer.
    fn of(row: &OfferRow) -> Result<(String, Self), Error> {
        let whole = |units: u64| stored(units).map(Whole).map_err(Refused::from);
        let standing = Self {
            target: whole(row.target)?,
            effective: whole(row.allotment)?,
            sold: whole(row.sold)?,
            left: whole(row.allotment.saturating_sub(row.sold))?,
        };
        Ok((row.offer.to_string(), standing))
    }
}
