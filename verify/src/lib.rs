#![doc = include_str!("../README.md")]

pub mod child;
pub mod folder;
pub mod forger;
pub mod funnel;
pub mod market;
pub mod redis_server;
pub mod shop;
pub mod wire;
