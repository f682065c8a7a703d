#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod check;
pub mod evaluate;
pub mod ledger;
pub mod machine;
pub mod plan;
pub mod settle;
pub mod template;
