//! The tests, by area. Each begins with a service of its own on an empty database.

mod rig;
mod staff;

mod audit;
mod login;
mod roles;
mod signing;
mod tenants;
mod totp;
mod users;
