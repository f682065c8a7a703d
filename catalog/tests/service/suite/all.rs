//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;

mod audit;
mod feed;
mod movements;
mod reconcile;
mod stock;
mod tenants;
mod warehouses;
