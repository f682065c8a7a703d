//! From a draft to the next version of its sale, and onto the topic. `plan` is pure; `publish` is the thin rest.

/// What may not change once it is published.
mod rules;

/// Which partition a new lane gets.
mod spread;

use std::time::Duration;

use domain::sale::Sale;
use store::log::{SalesFollower, SalesPublisher, Unacknowledged};

use crate::{
    file::Draft,
    flaw::{Flaw, in_reading_order},
    published::{Unreadable, newest, read_published},
};

/// The slot map that sales are published for: `domain::shard` knows no other yet.
pub const SHARD_MAP_VERSION: u32 = 1;

/// The sale that this draft publishes, its version and every partition settled. Equal to the published one when there is
/// nothing to publish: then the file has been published already, or asks for no change.
///
/// `published`: what the topic holds. `partitions`: of the order log. `now_ms`: epoch milliseconds, to tell which sales
/// have ended.
///
/// # Errors
/// Every flaw at once: what a sale may never be ([`Sale::validate`]) and what may not change once published.
pub fn plan(draft: &Draft, published: &[Sale], partitions: u32, now_ms: u64) -> Result<Sale, Vec<Flaw>> {
    let previous = newest(published, draft.id);
    let mut flaws = rules::unbroken(draft, published, previous);
    let lanes = spread::partitions_of_lanes(draft, published, previous, partitions, now_ms);
    let mut sale = draft.to_sale(1, SHARD_MAP_VERSION, &lanes);
    match rules::next_version(draft, &sale, previous) {
        Ok(version) => sale.version = version,
        Err(message) => flaws.push(draft.places.flaw("version", message)),
    }
    if let Err(found) = sale.validate(partitions) {
        flaws.extend(found.iter().map(|flaw| draft.places.flaw(&flaw.field, &flaw.message)));
    }
    if flaws.is_empty() { Ok(sale) } else { Err(in_reading_order(flaws)) }
}

/// What a publication came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What is published now.
    pub sale: Sale,
    /// What was published before; the same as `sale` when there was nothing to do.
    pub previous: Option<Sale>,
}

impl Publication {
    /// Whether the topic held this version already, so that nothing is to be appended.
    pub fn is_repeat(&self) -> bool {
        self.previous.as_ref() == Some(&self.sale)
    }
}

/// Why a sale is not published, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The draft breaks rules; nothing was appended.
    #[error("the sale is not valid: {} flaws", .0.len())]
    Flawed(Vec<Flaw>),
    /// What is published could not be read; nothing was appended.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The sale was sent, and nobody can know whether the topic has it.
    #[error("version {version} was sent: {source}")]
    Unacknowledged {
        /// The version that was sent.
        version: u32,
        /// What the log said.
        source: Unacknowledged,
    },
}

/// Reads what is published, plans, and unless `dry_run` appends the sale if the topic does not hold it yet. Safe to repeat.
///
/// Two publishers at the same moment do not see each other: the rules hold for one at a time.
///
/// # Errors
/// [`PublishError`]; only after `Unacknowledged` may the topic hold something new.
pub async fn publish(
    draft: &Draft,
    log: (&impl SalesPublisher, &mut impl SalesFollower),
    settings: &Settings,
) -> Result<Publication, PublishError> {
    let (publisher, follower) = log;
    let published = read_published(follower, settings.read_within).await?;
    let sale = plan(draft, &published, settings.partitions, settings.now_ms).map_err(PublishError::Flawed)?;
    let publication = Publication { previous: newest(&published, sale.id).cloned(), sale };
    if !settings.dry_run && !publication.is_repeat() {
        let version = publication.sale.version;
        let sent = publisher.publish(&publication.sale).await;
        sent.map_err(|source| PublishError::Unacknowledged { version, source })?;
    }
    Ok(publication)
}

/// What a publication needs to know beside the draft.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Of the order log.
    pub partitions: u32,
    /// Epoch milliseconds.
    pub now_ms: u64,
    /// How long reading the topic to its end may take.
    pub read_within: Duration,
    /// Plan only; append nothing.
    pub dry_run: bool,
}

#[cfg(test)]
mod tests;
