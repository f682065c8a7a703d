//! The suite.

mod adjustments;
mod aggregates;
mod exports;
mod faults;
mod intake;
mod leaving;
mod ledger;
mod relations;
mod rig;
mod risks;
mod routes;
mod simulation;
mod stops;
mod withdrawals;
