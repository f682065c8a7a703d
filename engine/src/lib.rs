#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod http;

pub mod buy;

pub mod purchase;

pub mod admission;

pub mod limits;

pub mod hint;

pub mod reserve;

pub mod append;

pub mod counts;

pub mod sales;

mod shown;

pub mod orders;

pub mod sweep;

mod ended;

pub mod counting;

pub mod mint;

mod presence;

pub mod moment;

pub mod ready;

pub mod metrics;

pub mod figures;

pub mod openapi;

pub mod forwarded;

pub mod service;

#[cfg(feature = "production")]
pub mod settings;

#[cfg(test)]
extern crate self as engine;

#[cfg(test)]
#[allow(dead_code, unreachable_pub, reason = "shared with tests/, each of which uses a part")]
mod testing;
