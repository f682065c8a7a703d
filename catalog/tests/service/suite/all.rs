//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;
mod staff;

mod audit;
mod branding;
mod buyers;
mod erasure;
mod flags;
mod house;
mod images;
mod import;
mod jobs;
mod keys;
mod login;
mod phone;
mod plans;
mod products;
mod roles;
mod signing;
mod simulator;
mod tenants;
mod totp;
mod usage;
mod users;
mod wechat;
