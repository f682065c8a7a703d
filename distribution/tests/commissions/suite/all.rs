//! The suite.

mod faults;
mod intake;
mod ledger;
mod relations;
mod rig;
mod routes;
mod withdrawals;
