//! Goal: one process on one folder keeps what it says, whenever it dies and whatever its folder has
//! come to. Method: the real program, real files, kill -9 at moments drawn from a seed, system
//! calls watched from outside; then the load test's own audit of the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "embedded/backup.rs"]
mod backup;
#[path = "embedded/catalog_held.rs"]
mod catalog_held;
#[path = "embedded/commissions.rs"]
mod commissions;
#[path = "embedded/crash.rs"]
mod crash;
#[path = "embedded/damage.rs"]
mod damage;
#[path = "embedded/durable.rs"]
mod durable;
#[path = "embedded/erased.rs"]
mod erased;
#[path = "embedded/events.rs"]
mod events;
#[path = "embedded/expiry.rs"]
mod expiry;
#[path = "embedded/first_minute.rs"]
mod first_minute;
#[path = "embedded/full_disk.rs"]
mod full_disk;
#[path = "embedded/funnel.rs"]
mod funnel;
#[path = "embedded/gone.rs"]
mod gone;
#[path = "embedded/images.rs"]
mod images;
#[path = "embedded/life.rs"]
mod life;
#[path = "embedded/money.rs"]
mod money;
#[path = "embedded/older.rs"]
mod older;
#[path = "embedded/paid.rs"]
mod paid;
#[path = "embedded/parked.rs"]
mod parked;
#[path = "embedded/readiness.rs"]
mod readiness;
#[path = "embedded/readme.rs"]
mod readme;
#[path = "embedded/reduction.rs"]
mod reduction;
#[path = "embedded/rights.rs"]
mod rights;
#[path = "embedded/sale_commands.rs"]
mod sale_commands;
#[path = "embedded/second_port.rs"]
mod second_port;
#[path = "embedded/second_process.rs"]
mod second_process;
#[path = "embedded/shop_pages.rs"]
mod shop_pages;
#[path = "embedded/shoppers.rs"]
mod shoppers;
#[path = "embedded/stalled.rs"]
mod stalled;
#[path = "events/toy.rs"]
mod toy;
#[path = "embedded/traced.rs"]
mod traced;
