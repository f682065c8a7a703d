//! The order log in a file: what the ports promise, and what the file adds to it. Each test has a
//! folder of its own.

#[cfg(test)]
#[macro_use]
#[path = "log/contract.rs"]
mod contract;

#[cfg(test)]
mod log {
    mod faults;
    mod group;
    mod restart;
    mod rig;
}
