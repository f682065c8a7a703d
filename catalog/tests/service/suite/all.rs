//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;
mod simulator;
mod staff;

pub(crate) use rig::Topic;

#[cfg(feature = "failpoints")]
mod action_ends;
mod actions;
mod actor;
mod adoption;
mod alarms;
mod audit;
mod branding;
mod buyers;
mod control;
#[cfg(feature = "failpoints")]
mod crash;
mod domains;
mod erasure;
mod feed;
mod flags;
mod funnel;
mod graphql;
mod house;
mod images;
mod import;
mod isolation;
mod jobs;
mod keys;
mod late_releases;
mod login;
mod movements;
mod orders;
mod phone;
mod plans;
mod products;
mod readiness;
mod reconcile;
mod roles;
mod sales;
mod signing;
mod stock;
mod tenants;
mod totp;
mod usage;
mod users;
mod warehouses;
mod wechat;
