#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod args;
pub mod audit;
pub mod backends;
pub mod baseline;
pub mod capacity;
pub mod deployment;
pub mod durable;
mod environment;
mod error;
pub mod fault;
pub mod fixed_answer;
pub mod generator;
pub mod life;
mod notes;
pub mod output;
pub mod picture;
pub mod plan;
pub mod probe;
pub mod progress;
pub mod report;
pub mod requests;
pub mod response;
pub mod run;
pub mod sale;
pub mod scenario;
pub mod services;
pub mod spec;
pub mod tally;
pub mod timeline;
mod under_test;
