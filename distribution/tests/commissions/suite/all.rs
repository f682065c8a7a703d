//! The suite.

mod aggregates;
mod closings;
mod faults;
mod intake;
mod ledger;
mod limits;
mod random;
mod relations;
mod rig;
mod routes;
mod teams;
mod territory;
mod unfit;
mod withdrawals;
