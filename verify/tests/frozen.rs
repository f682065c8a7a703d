//! Goal: what freezes, or is not there, holds up nobody for longer than seconds, and no buyer is
//! given an order that may never exist. Method: real processes on the real servers, stopped with
//! SIGSTOP at a moment that is waited for, and let go on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "frozen/stock.rs"]
mod stock;
#[path = "frozen/writer.rs"]
mod writer;
