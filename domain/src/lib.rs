#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod adopt;
pub mod counts;
pub mod decide;
pub mod event;
pub mod id;
pub mod invariant;
pub mod money;
pub mod namespace;
pub mod order;
pub mod record;
pub mod sale;
pub mod shard;
pub mod stock;
pub mod title;
mod valid;
