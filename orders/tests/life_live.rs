//! The tests of `life.rs` on the MySQL or MariaDB that `stack/` starts.
#![cfg_attr(test, allow(clippy::duplicate_mod, reason = "each provider has the same tests, over a rig of its own"))]

#[cfg(test)]
#[path = "life/on_mysql.rs"]
mod place;

#[cfg(test)]
#[path = "life/suite/all.rs"]
mod suite;
