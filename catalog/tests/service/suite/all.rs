//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;

mod audit;
mod branding;
mod flags;
mod house;
mod images;
mod import;
mod jobs;
mod keys;
mod plans;
mod products;
mod tenants;
mod usage;
