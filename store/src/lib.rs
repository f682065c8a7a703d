#![doc = include_str!("../README.md")]

pub mod consumer;
pub mod figures;
pub mod ledger;
pub mod log;
pub mod mismatch;
pub mod orders;
pub mod publications;
pub mod shards;
pub mod sql;
pub mod stock;
