#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// Money in and out: the port, the rules, the providers.
pub mod payment;

/// A provider's bill beside what we have.
pub mod settlement;

/// Order ids in blocks.
mod blocks;

/// Orders after they were accepted: paid, cancelled, expired, refunded.
pub mod life;

/// Orders as they are looked at: lists, timelines, streams.
pub mod follow;

/// A bank of our own behind the interfaces of the providers.
pub mod simulator;

/// The document of its routes.
pub mod openapi;

/// The service and the bank as processes of their own.
#[cfg(feature = "production")]
pub mod serve;
