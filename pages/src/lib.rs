#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// What is on sale, as far as pages show it.
pub mod sales;

/// Stock as the lanes answered last.
pub mod stock;

/// The JSON of pages and lists.
pub mod wire;

/// Content codings: what a client accepts, and the packing.
pub mod coding;

/// Bytes written once and sent many times.
mod written;

/// What is shown of one thing, checked now and then, for whoever asks.
mod board;

/// The page of a sale.
mod page;

/// The list of a tenant's sales.
mod list;

/// Where a list goes on.
mod cursor;

/// How fast pages may leave.
mod pace;

/// All pages and lists of a process.
pub mod shared;

/// Writes pages and lists anew when they are asked for.
pub mod checker;

/// What is measured.
pub mod metrics;

/// The routes.
pub mod http;

/// Which origins may call, as the ledger's database has them.
pub mod origins;
