//! The life of an order after its row exists: paid, cancelled, expired, refunded. Each step is one
//! transaction of the order's shard, in which the row changes by compare-and-set, with its outbox
//! row and its line of the timeline. A provider is asked between two such transactions, never in
//! one, under a number that the first of them stored.

mod accounts;
mod attempts;
mod beside;
mod cancel;
mod cancels;
mod codes;
mod complete;
mod document;
mod expiry;
mod goods;
mod handover;
mod hoarders;
mod metrics;
mod notify;
mod pay;
mod payable;
mod pending;
mod ports;
mod rates;
mod recipient;
mod refund_routes;
mod refunds;
mod refusals;
mod refused;
mod routes;
mod service;
mod settle;
mod ship;
mod shown;
mod step;
mod take;
mod uploads;
mod vault;
mod voucher;
mod words;
mod work;

pub use accounts::{AllAccounts, AnyAccount};
pub use document::document;
pub use expiry::Expiry;
pub(crate) use hoarders::note_orders;
pub use metrics::Metrics;
pub(crate) use recipient::tail_of;

pub use ports::{Accounts, Kinds, Ports, Staff};
pub use refused::Refused;
pub use service::Life;
pub use vault::Vault;
pub use work::work;
