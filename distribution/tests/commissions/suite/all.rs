//! The suite.

mod aggregates;
mod faults;
mod intake;
mod ledger;
mod relations;
mod rig;
mod routes;
mod withdrawals;
