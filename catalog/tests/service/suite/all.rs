//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;

mod audit;
mod branding;
mod buyers;
mod erasure;
mod flags;
mod house;
mod keys;
mod phone;
mod plans;
mod simulator;
mod images;
mod import;
mod jobs;
mod products;
mod tenants;
mod usage;
mod wechat;
