#![doc = include_str!("../README.md")]

pub mod buyers;
pub mod changes;
pub mod child;
pub mod deployment;
pub mod folder;
pub mod forger;
pub mod funnel;
pub mod life;
pub mod market;
pub mod merchants;
pub mod order_services;
pub mod production;
pub mod redis_server;
pub mod shop;
pub mod wire;
