//! Open-loop load, latency histograms, and the audit of the databases.
pub mod audit;
pub mod cpu;
pub mod generator;
pub mod plan;
pub mod requests;
pub mod response;
pub mod sale;
pub mod scenario;
pub mod tally;
