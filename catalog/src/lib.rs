#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

/// What is wrong in a sale file, and where.
pub mod flaw;

/// The sale file: from text to a [`file::Draft`].
pub mod file;

/// From a draft and what is published to the next version, and onto the topic.
pub mod publish;

/// What is published now.
pub mod published;

/// A published sale as a sale file again.
pub mod render;

/// What a person is told after a publication.
pub mod confirm;

/// A commented sale file; `catalog example` prints it with a window that is open
/// ([`render::example_open_at`]).
pub const EXAMPLE: &str = include_str!("../example.toml");
