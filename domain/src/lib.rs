#![doc = include_str!("../README.md")]

pub mod adopt;
pub mod decide;
pub mod event;
pub mod id;
pub mod invariant;
pub mod money;
pub mod order;
pub mod record;
pub mod sale;
pub mod shard;
pub mod stock;
pub mod title;
