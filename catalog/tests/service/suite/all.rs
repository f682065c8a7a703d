//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;
mod staff;

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
mod keys;
mod login;
mod plans;
mod products;
mod roles;
mod signing;
mod tenants;
mod totp;
mod usage;
mod wechat;
mod users;
