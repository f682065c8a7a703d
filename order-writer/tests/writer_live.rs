//! Goal: the writer's rules hold on the real Redis, Kafka and MySQL that `stack/` starts. Method:
//! one worker in this process over a namespace of the test's own; purchases go the engine's way
//! (reserve, append) without its HTTP; faults are made by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test ends the test")]

#[path = "writer_live/damage.rs"]
mod damage;
#[path = "writer_live/faults.rs"]
mod faults;
#[path = "any_log/gate.rs"]
mod gate;
#[path = "writer_live/logs.rs"]
mod logs;
#[path = "writer_live/releases.rs"]
mod releases;
#[path = "writer_live/retirement.rs"]
mod retirement;
#[path = "writer_live/rig.rs"]
mod rig;
#[path = "writer_live/rules.rs"]
mod rules;
#[path = "desk/unpaid.rs"]
mod unpaid;
