//! Orders, as the order service lists them: by its route's parameters, and refused as it refuses.

use async_graphql::{ID, InputObject, Json as AnyJson, SimpleObject};
use form_urlencoded::Serializer;
use kit::{http::PageAsked, problem::Problem};
use serde::Deserialize;

use super::{
    asking::{Asking, Paged, shown},
    products::Price,
};
use crate::refused::Refused;

/// An order of the shop.
#[derive(SimpleObject, Deserialize)]
pub(super) struct Order {
    /// Its number.
    #[serde(rename = "order_id")]
    id: ID,
    /// As `GET /v1/orders/{order_id}` names it.
    status: String,
    /// Why it was rejected.
    reason: Option<String>,
    /// The buyer's number in this shop.
    buyer_id: ID,
    sale_id: ID,
    offer_id: ID,
    sku_id: ID,
    /// Units.
    quantity: u32,
    /// Of one unit.
    unit_price: Price,
    /// Of all.
    total: Option<Price>,
    /// RFC 3339.
    reserved_at: String,
    /// When it is to be paid at the latest; RFC 3339.
    pay_by: Option<String>,
    /// Whether its units are on sale again.
    is_released: bool,
    /// What the purchase carried, as it was sent.
    context: Option<AnyJson<serde_json::Value>>,
}

/// Orders that fit all of it.
#[derive(Default, InputObject)]
pub(super) struct OrderFilter {
    /// An order's number, the number of an attempt or a refund, or the provider's own of a payment.
    /// It stands alone, without a page.
    number: Option<String>,
    sale_id: Option<ID>,
    offer_id: Option<ID>,
    buyer_id: Option<ID>,
    /// As orders show it.
    status: Option<String>,
    /// Promised then or later; RFC 3339.
    from: Option<String>,
    /// Promised before; RFC 3339.
    to: Option<String>,
}

/// Parameters of the route, with the arguments that stand for them here.
const ARGUMENTS: [(&str, &str); 9] = [
    ("limit", "first"),
    ("cursor", "after"),
    ("number", "filter.number"),
    ("sale_id", "filter.saleId"),
    ("offer_id", "filter.offerId"),
    ("buyer_id", "filter.buyerId"),
    ("status", "filter.status"),
    ("from", "filter.from"),
    ("to", "filter.to"),
];

impl OrderFilter {
    /// The route's query.
    fn query(self, page: PageAsked) -> String {
        let id = |id: Option<ID>| id.map(|id| id.0);
        // A number names one order: the route takes no page with it.
        let is_page = self.number.is_none() || page.cursor.is_some();
        let given = [
            is_page.then(|| page.limit.to_string()),
            page.cursor,
            self.number,
            id(self.sale_id),
            id(self.offer_id),
            id(self.buyer_id),
            self.status,
            self.from,
            self.to,
        ];
        let mut query = Serializer::new(String::new());
        for ((parameter, _), value) in ARGUMENTS.iter().zip(given) {
            if let Some(value) = value {
                query.append_pair(parameter, &value);
            }
        }
        query.finish()
    }
}

/// A page of orders.
///
/// # Errors
/// As the route refuses, with the names of arguments; `not_found` where no order service is named.
pub(super) async fn page(asking: &Asking, filter: OrderFilter, asked: PageAsked) -> Result<Paged<Order>, Refused> {
    let page = asking.orders(&filter.query(asked)).await.map_err(by_argument)?;
    shown(&page)
}

/// A refusal that names arguments of the schema instead of parameters.
fn by_argument(mut problem: Box<Problem>) -> Box<Problem> {
    for error in &mut problem.field_errors {
        let argument = ARGUMENTS.iter().find(|(parameter, _)| *parameter == error.field);
        argument.into_iter().for_each(|(_, argument)| error.field = (*argument).into());
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_stands_in_the_query_and_a_number_stands_alone() {
        let asked = |cursor: Option<&str>| PageAsked { cursor: cursor.map(str::to_owned), limit: 5 };
        let filter = OrderFilter {
            sale_id: Some("7".into()),
            from: Some("2026-11-11T00:00:00+08:00".to_owned()),
            ..OrderFilter::default()
        };
        assert_eq!(
            filter.query(asked(Some("ab"))),
            "limit=5&cursor=ab&sale_id=7&from=2026-11-11T00%3A00%3A00%2B08%3A00"
        );
        let number = |status: Option<&str>| OrderFilter {
            number: Some("a&b=c".to_owned()),
            status: status.map(str::to_owned),
            ..OrderFilter::default()
        };
        assert_eq!(number(None).query(asked(None)), "number=a%26b%3Dc");
        assert_eq!(number(Some("paid")).query(asked(None)), "number=a%26b%3Dc&status=paid", "for the route to refuse");
    }
}
