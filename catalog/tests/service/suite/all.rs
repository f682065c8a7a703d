//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;

mod audit;
mod tenants;
