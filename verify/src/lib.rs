#![doc = include_str!("../README.md")]

pub mod buyers;
pub mod changes;
pub mod child;
pub mod deployment;
pub mod embedded;
pub mod engine_and_writer;
pub mod forger;
pub mod funnel;
pub mod life;
pub mod load_test;
pub mod merchants;
pub mod production;
pub mod redis_server;
pub mod search;
pub mod services;
pub mod wire;
