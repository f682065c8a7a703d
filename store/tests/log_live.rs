//! The order log on a real Kafka, as `stack/` starts it: what is appended comes back, in order and
//! only from where it was asked; what goes wrong is said as the ports say. Each test has topics of
//! its own and deletes them.

#[cfg(test)]
#[macro_use]
#[path = "log/contract.rs"]
mod contract;

#[cfg(test)]
#[path = "log_live/live.rs"]
mod live;
