//! Orders as they are looked at: the merchant's list over all shards, one order with its timeline,
//! and what becomes of an order while its buyer watches. It changes no order.
//!
//! | what if | then |
//! |---|---|
//! | this process dies | blocks and position move in one transaction; streams begin anew |
//! | a record comes twice, or two read it | the position fences; two blocks list an id once |
//! | an order is older than the topic | a walk over its table puts it into blocks |
//! | a partition's reader loses its place | streams end, and so their clients read the rows |

/// What fills the blocks, and tells who watches.
mod feed;

/// The merchant's list.
mod list;

/// Lines of a file.
mod cells;

/// All of a list as a file.
mod exports;

/// One order, with its timeline.
mod show;

/// What answers show.
mod shown;

/// Who watches which order.
mod watchers;

/// The stream of an order.
mod stream;

/// The service.
mod service;

/// Its routes, and its part of the document.
mod routes;

pub use self::{
    feed::{CONSUMER, follow, open, walk},
    list::MerchantOrders,
    routes::document,
    service::{Following, Ports},
};
pub use crate::blocks::Blocks;
