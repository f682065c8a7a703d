//! The suite.

mod adjustments;
mod aggregates;
mod closings;
mod exports;
mod faults;
mod intake;
mod leaving;
mod ledger;
mod limits;
mod random;
mod relations;
mod rig;
mod risks;
mod routes;
mod simulation;
mod stops;
mod teams;
mod territory;
mod unfit;
mod withdrawals;
