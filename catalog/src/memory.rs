//! What a process of the service holds in memory between requests. It ends with the process: what
//! must last stands in the database, and is read again.

/// Tenants' flags.
mod flags;
/// How far what is published is followed.
mod followed;
/// Images as they are served.
mod images;
/// When keys were used.
mod key_uses;
/// Requests that are counted.
mod meter;
/// Keys that sign people's tokens.
mod signing_keys;
/// Streams of events.
mod streams;
/// Whose password is hashed next.
mod turns;

use std::sync::Arc;

pub(crate) use self::{
    flags::Flags,
    followed::Mark,
    images::{Images, Piece},
    meter::Waiting,
    signing_keys::SigningKey,
    turns::{Turn, too_often},
};

/// All of it.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) flags: flags::KnownFlags,
    pub(crate) followed: followed::Followed,
    pub(crate) images: Arc<Images>,
    pub(crate) key_uses: key_uses::KeyUses,
    pub(crate) meter: meter::Meter,
    pub(crate) signing_keys: signing_keys::SigningKeys,
    pub(crate) streams: streams::Streams,
    pub(crate) turns: turns::Turns,
}
