//! The life of an order over HTTP on the embedded deployment's databases: what each route does,
//! refuses and leaves behind. The same tests run on a real MySQL in `life_live.rs`.
#![cfg_attr(test, allow(clippy::duplicate_mod, reason = "each provider has the same tests, over a rig of its own"))]

#[cfg(test)]
#[path = "life/on_sqlite.rs"]
mod place;

#[cfg(test)]
#[path = "life/suite/all.rs"]
mod suite;
