//! The time of a request: both clocks read once, so that every step of it sees the same.

pub use kit::clock::Moment;
