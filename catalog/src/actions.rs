//! Scheduled actions: what is to be done to a sale at a moment. The action is done and noted in one
//! transaction, under the lock of its row, so that it is done once however many processes try.
//!
//! | what if | then |
//! |---|---|
//! | the process dies before the commit | nothing is done; the next round does it |
//! | it dies after the commit | it is done and noted; the round of sales publishes what is due |
//! | two processes do it at once | the second finds the row noted, and leaves it |
//! | the service was away at the moment | it is done at start, unless the sale's window is over |

/// What the routes take and give.
mod bodies;

/// The row.
mod row;

/// Handlers.
mod routes;

/// What is due.
mod round;

use kit::{
    access::Permission::{ReadSales, WriteSales},
    api::{Access, Route},
    http::Mount,
};

pub use self::round::keep;
pub(crate) use self::routes::document;
use crate::{numbers::Numbered, ports::Ports, service::Catalog};

const ACTIONS: Numbered = Numbered("sale_action");

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let (read, write) = (Access::Needs(ReadSales), Access::Needs(WriteSales));
    vec![
        Mount::get(
            "/v1/merchant/sales/{sale}/actions",
            "sale_actions",
            Route::new(read, |catalog, call| Box::pin(routes::list(catalog, call))),
        ),
        Mount::post(
            "/v1/merchant/sales/{sale}/actions",
            "new_sale_action",
            Route::new(write, |catalog, call| Box::pin(routes::create(catalog, call))),
        ),
        Mount::delete(
            "/v1/merchant/sales/{sale}/actions/{action}",
            "cancel_sale_action",
            Route::new(write, |catalog, call| Box::pin(routes::cancel(catalog, call))),
        ),
    ]
}
