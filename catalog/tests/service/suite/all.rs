//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;

mod audit;
mod branding;
mod feed;
mod flags;
mod house;
mod keys;
mod movements;
mod plans;
mod images;
mod import;
mod jobs;
mod products;
mod reconcile;
mod stock;
mod tenants;
mod usage;
mod warehouses;
