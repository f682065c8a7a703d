//! From a draft to the next version of its sale, into the ledger's database, and from there onto
//! the topic. `plan` is pure; `publish` is the thin rest.

/// What may not change once it is published.
mod rules;

/// Which partition a new lane gets.
mod spread;

use std::time::Duration;

use domain::{
    adopt::{Contradiction, Place},
    sale::Sale,
};
use store::{
    log::{SalesFollower, SalesPublisher},
    publications::{FeedError, Publications, Published},
    sql::{Sql, SqlError},
};

use crate::{
    file::Draft,
    flaw::{Flaw, in_reading_order},
    published::{Unknowable, catch_up, look, newest},
};

/// The slot map that sales are published for: `domain::shard` knows no other yet.
pub const SHARD_MAP_VERSION: u32 = 1;

/// The sale that this draft publishes, its version and every partition settled. Equal to the
/// published one when there is nothing to publish: then the file has been published already, or
/// asks for no change.
///
/// `published`: what the topic holds. `partitions`: of the order log. `now_ms`: epoch milliseconds,
/// to tell which sales have ended.
///
/// # Errors
/// Every flaw at once: what a sale may never be ([`Sale::validate`]) and what may not change once
/// published.
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
    /// Whether this version was published already, so that nothing is to be done.
    pub fn is_repeat(&self) -> bool {
        self.previous.as_ref() == Some(&self.sale)
    }
}

/// A publication, and whether the topic has it.
#[derive(Debug)]
pub struct Announced {
    /// The publication.
    pub publication: Publication,
    /// Why the topic may lack it still: it is published, and any order-writer feeds the topic when
    /// the log is back.
    pub undelivered: Option<FeedError>,
}

impl Announced {
    /// A line for people when the engines have not heard of it; empty otherwise.
    pub fn note(&self) -> String {
        let told =
            |error| format!("  engines hear of it once the log is back, and nothing is to be done for that: {error}\n");
        self.undelivered.as_ref().map(told).unwrap_or_default()
    }
}

/// Why a sale is not published, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The draft breaks rules, or another publication was first; nothing was published.
    #[error("the sale is not valid: {} flaws", .0.len())]
    Flawed(Vec<Flaw>),
    /// What is published could not be read; nothing was published.
    #[error(transparent)]
    Unknowable(#[from] Unknowable),
    /// The database failed before it published anything.
    #[error(transparent)]
    Database(SqlError),
    /// The database did not answer the commit, nor did it tell afterwards.
    #[error("version {version} was sent: {source}")]
    Unknown {
        /// The version that was sent.
        version: u32,
        /// What the database said.
        source: SqlError,
    },
}

/// Reads what is published, plans, and unless `dry_run` publishes the sale if that is not done yet.
/// Safe to repeat, and for any number of publishers at the same moment: of two next versions one is
/// published, the other is told which came first.
///
/// # Errors
/// [`PublishError`]; only after `Unknown` may something new be published.
pub async fn publish<S: Sql>(
    draft: &Draft,
    (publications, topic, follower): (&Publications<S>, &impl SalesPublisher, &mut impl SalesFollower),
    settings: &Settings,
) -> Result<Announced, PublishError> {
    let published = if settings.dry_run {
        look(publications, follower, settings.read_within).await?
    } else {
        catch_up(publications, follower, settings.read_within).await?
    };
    let sale = plan(draft, &published, settings.partitions, settings.now_ms).map_err(PublishError::Flawed)?;
    let publication = Publication { previous: newest(&published, sale.id).cloned(), sale };
    if settings.dry_run {
        return Ok(Announced { publication, undelivered: None });
    }
    if !publication.is_repeat() {
        let Publication { sale, previous } = &publication;
        let expected = previous.as_ref().map(|previous| previous.version);
        match publications.publish(sale, expected).await {
            Ok(Published::Done) => {}
            Ok(Published::Lost(contradictions)) => return Err(PublishError::Flawed(lost(draft, &contradictions))),
            Err(source) if source.is_unknown() => return Err(PublishError::Unknown { version: sale.version, source }),
            Err(error) => return Err(PublishError::Database(error)),
        }
    }
    let undelivered = publications.feed(topic).await.err();
    Ok(Announced { publication, undelivered })
}

/// What came first, at the lines of the draft that it contradicts.
fn lost(draft: &Draft, contradictions: &[Contradiction]) -> Vec<Flaw> {
    let flaw =
        |contradiction: &Contradiction| draft.places.flaw(&field(draft, contradiction.place), &contradiction.message);
    in_reading_order(contradictions.iter().map(flaw).collect())
}

fn field(draft: &Draft, place: Place) -> String {
    let of_lane = |id, field: &str| {
        let lane = draft.lanes.iter().position(|lane| lane.id == id);
        lane.map_or_else(|| "lanes".to_owned(), |l| format!("lanes[{l}].{field}"))
    };
    let of_offer = |id, field: &str| {
        let offers = draft
            .lanes
            .iter()
            .enumerate()
            .flat_map(|(l, lane)| lane.offers.iter().enumerate().map(move |(o, offer)| (l, o, offer.id)));
        let found = offers.into_iter().find(|(_, _, offer)| *offer == id);
        found.map_or_else(|| "lanes".to_owned(), |(l, o, _)| format!("lanes[{l}].offers[{o}].{field}"))
    };
    match place {
        Place::Version => "version".into(),
        Place::Tenant => "tenant".into(),
        Place::Lane(id) => of_lane(id, "id"),
        Place::Partition(id) => of_lane(id, "partition"),
        Place::Offer(id) => of_offer(id, "id"),
        Place::Currency(id) => of_offer(id, "price.currency"),
        Place::Missing => "lanes".into(),
    }
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
