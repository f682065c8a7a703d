#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod check;
pub mod evaluate;
pub mod ledger;
pub mod machine;
pub mod plan;
pub mod poster;
pub mod settle;
pub mod template;

/// The service's own database.
pub mod database;

/// The ledger as it is kept.
mod book;

/// Distributors and who stands above whom.
pub mod people;

/// Share codes.
pub mod share;

/// Published plans, and the switches of sales.
mod published;

/// What the own customers of people and their teams bought.
mod aggregates;

/// What limits over a time have let through.
mod limits;

/// From `order-events` to the ledger.
pub mod intake;

/// Months that are looked at and closed.
mod closings;
/// What the shop holds, and its switch.
mod stops;

/// Payouts whose time has come.
mod mature;

/// Calendar months.
mod month;

/// Closed days of the ledger.
mod days;

/// How money goes out.
pub mod payouts;

/// Withdrawals, step by step.
mod withdrawals;

/// The watch over what was paid.
mod risks;

/// A plan over past orders.
mod simulate;

/// What operators watch.
pub mod metrics;

/// The routes, and the work beside them.
pub mod service;

/// The OpenAPI document.
pub mod openapi;

/// The service as a process of its own.
#[cfg(feature = "production")]
pub mod serve;
