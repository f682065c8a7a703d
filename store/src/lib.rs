#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod cause;
pub mod consumer;
pub mod controls;
pub mod copies;
pub mod domains;
#[cfg(any(feature = "embedded", feature = "production"))]
mod elapsed;
pub mod figures;
pub mod ledger;
pub mod log;
pub mod mismatch;
pub mod orders;
pub mod publications;
pub mod rates;
pub mod shards;
pub mod sql;
pub mod stock;
