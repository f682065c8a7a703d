#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod apart;
pub mod away;
pub mod carry_out;
pub mod consume;
pub mod desk;
mod epoch;
mod events;
pub mod failpoint;
pub mod keeper;
mod limit;
mod load;
pub mod loads;
pub mod lost;
pub mod metrics;
pub mod parked;
pub mod partition;
pub mod ports;
pub mod progress;
pub mod purge;
pub mod recover;
pub mod relay;
pub mod resume;
pub mod retire;
pub mod rhythm;
pub mod same_log;
pub mod service;
pub mod settings;
pub mod settling;
pub mod stalls;
mod turn;
