//! Sales: drafts, published by compare-and-set, changed while they run, closed and settled. A
//! merchant names things by his own codes; the numbers by which buyers know them are made here.

/// What may be done when.
mod life;

/// Terms, as asked for and as kept.
mod terms;

/// From the one to the other.
mod resolve;

/// The row.
mod row;

/// What is published.
mod publishing;

/// Stock of the warehouses.
mod settle;

/// Versions.
mod history;

/// What the routes take and give.
mod bodies;

/// Whether it is ready to sell.
mod check;

/// Another value of one member.
mod setting;

/// A change, of whatever kind.
mod edit;

/// What is done without a request.
mod deed;

/// Handlers.
mod routes;

use kit::{
    access::Permission::{ReadSales, WriteSales},
    api::{Access, Route},
    http::Mount,
};

pub use self::publishing::adopt;
pub(crate) use self::{
    deed::{Deed, Summary, act, closes_at, summaries},
    life::State,
    routes::{document, find, page},
    setting::{Setting, To},
    terms::{FulfilBy, epoch_ms},
};
use crate::{numbers::Numbered, ports::Ports, refused::Refused, service::Catalog};

/// Bytes of a sale's terms: as many as a sale file has.
const BODY_BYTES_MAX: usize = crate::file::FILE_BYTES_MAX;

const SALES: Numbered = Numbered("sale");
const LANES: Numbered = Numbered("lane");
const OFFERS: Numbered = Numbered("offer");

/// Publishes what is due, takes in what was published elsewhere, looks at what opens soon, and
/// settles what is over.
///
/// # Errors
/// [`Refused::Sql`]; the next call goes on.
pub async fn keep<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    // One that fails keeps none of the others back.
    let (published, adopted) = (publishing::round(catalog).await, publishing::follow(catalog).await);
    let checked = check::round(catalog).await;
    settle::round(catalog).await.and(published).and(adopted).and(checked)
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadSales), Access::Needs(WriteSales));
    let one = "/v1/merchant/sales/{sale}";
    vec![
        Mount::get(
            "/v1/merchant/sales",
            "merchant_sales",
            Route::new(read, |catalog, call| Box::pin(routes::list(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales",
            "new_sale",
            Route::new(write, |catalog, call| Box::pin(routes::create(catalog, call))).with_body(BODY_BYTES_MAX),
        ),
        Mount::get(one, "merchant_sale", Route::new(read, |catalog, call| Box::pin(routes::show(catalog, call)))),
        Mount::patch(
            one,
            "change_sale",
            Route::new(write, |catalog, call| Box::pin(routes::change(catalog, call))).with_body(BODY_BYTES_MAX),
        ),
        Mount::delete(one, "remove_sale", Route::new(write, |catalog, call| Box::pin(routes::remove(catalog, call)))),
        Mount::post(
            "/v1/merchant/sales/{sale}/publish",
            "publish_sale",
            Route::new(write, |catalog, call| Box::pin(routes::publish(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/pause",
            "pause_sale",
            Route::new(write, |catalog, call| Box::pin(routes::pause(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/resume",
            "resume_sale",
            Route::new(write, |catalog, call| Box::pin(routes::resume(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/close",
            "close_sale",
            Route::new(write, |catalog, call| Box::pin(routes::close(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/clone",
            "clone_sale",
            Route::new(write, |catalog, call| Box::pin(routes::clone(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/check",
            "check_sale",
            Route::new(read, |catalog, call| Box::pin(check::now(catalog, call))),
        ),
        Mount::get(
            "/v1/merchant/sales/{sale}/check",
            "last_sale_check",
            Route::new(read, |catalog, call| Box::pin(check::last(catalog, call))),
        ),
        Mount::get(
            "/v1/merchant/sales/{sale}/history",
            "sale_history",
            Route::new(read, |catalog, call| Box::pin(routes::versions(catalog, call))),
        ),
    ]
}
