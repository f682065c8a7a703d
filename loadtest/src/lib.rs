//! Open-loop load, latency histograms, and the audit of the databases.
pub mod args;
pub mod audit;
pub mod backends;
pub mod cpu;
pub mod durable;
pub mod generator;
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
pub mod tally;
