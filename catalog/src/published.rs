//! What is published: the ledger's database, after it has taken in what only the topic `sales`
//! holds.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::{id::SaleId, sale::Sale};
use store::{
    log::{ReadError, SalesFollower},
    publications::Publications,
    sql::{Sql, SqlError},
};

/// Between two attempts to read while the log cannot be reached.
const PAUSE: Duration = Duration::from_millis(100);

/// The topic could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The log lost records.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The end was not reached in time.
    #[error("not read to its end within {}", told(.within, .trouble.as_ref()))]
    TooSlow {
        /// The time it had.
        within: Duration,
        /// What was last in the way, if the log said so.
        trouble: Option<ReadError>,
    },
}

fn told(within: &Duration, trouble: Option<&ReadError>) -> String {
    trouble.map_or_else(|| format!("{within:?}"), |trouble| format!("{within:?}: {trouble}"))
}

/// What is published cannot be known now.
#[derive(Debug, thiserror::Error)]
pub enum Unknowable {
    /// Of the topic.
    #[error(transparent)]
    Topic(#[from] Unreadable),
    /// Of the ledger's database.
    #[error(transparent)]
    Database(#[from] SqlError),
}

/// Everything published, by id, once the database has adopted what came by the topic past it:
/// published by an older program.
///
/// # Errors
/// [`Unknowable`].
pub async fn catch_up<S: Sql>(
    publications: &Publications<S>,
    follower: &mut impl SalesFollower,
    within: Duration,
) -> Result<Vec<Sale>, Unknowable> {
    let found = read_published(follower, within).await?;
    let known = publications.all().await?;
    let unknown: Vec<&Sale> = found.iter().filter(|sale| is_unknown(sale, &known)).collect();
    for sale in &unknown {
        publications.adopt(sale).await?;
    }
    if unknown.is_empty() { Ok(known) } else { Ok(publications.all().await?) }
}

/// The same without changing anything: the newest version of each sale that database or topic
/// holds.
///
/// # Errors
/// [`Unknowable`].
pub async fn look<S: Sql>(
    publications: &Publications<S>,
    follower: &mut impl SalesFollower,
    within: Duration,
) -> Result<Vec<Sale>, Unknowable> {
    let mut newest: BTreeMap<SaleId, Sale> = BTreeMap::new();
    for sale in read_published(follower, within).await?.into_iter().chain(publications.all().await?) {
        keep_newest(&mut newest, sale);
    }
    Ok(newest.into_values().collect())
}

fn is_unknown(sale: &Sale, known: &[Sale]) -> bool {
    let known = known.binary_search_by_key(&sale.id, |known| known.id).ok().and_then(|at| known.get(at));
    known.is_none_or(|known| known.version < sale.version || (known.version == sale.version && known != sale))
}

/// Everything that the topic holds, the newest version of each sale, by id. `follower` stands at
/// the topic's beginning. While the log cannot be reached it is asked again: one broker of several
/// that is away says so too.
///
/// # Errors
/// [`Unreadable`]: half a topic is as good as none, for the rules need all of it.
pub async fn read_published(follower: &mut impl SalesFollower, within: Duration) -> Result<Vec<Sale>, Unreadable> {
    let mut trouble = None;
    let read = tokio::time::timeout(within, read_all(follower, &mut trouble)).await;
    match read {
        Ok(sales) => Ok(sales?),
        Err(_elapsed) => Err(Unreadable::TooSlow { within, trouble }),
    }
}

async fn read_all(follower: &mut impl SalesFollower, trouble: &mut Option<ReadError>) -> Result<Vec<Sale>, ReadError> {
    let mut newest: BTreeMap<SaleId, Sale> = BTreeMap::new();
    loop {
        match follower.next().await {
            Ok(sales) if sales.is_empty() => return Ok(newest.into_values().collect()),
            Ok(sales) => sales.into_iter().for_each(|sale| keep_newest(&mut newest, sale)),
            Err(away @ ReadError::Unavailable(_)) => {
                *trouble = Some(away);
                tokio::time::sleep(PAUSE).await;
            }
            Err(lost) => return Err(lost),
        }
    }
}

fn keep_newest(newest: &mut BTreeMap<SaleId, Sale>, sale: Sale) {
    // Of equal versions the later stays, as it does when the topic is compacted.
    if newest.get(&sale.id).is_none_or(|known| sale.version >= known.version) {
        newest.insert(sale.id, sale);
    }
}

/// The newest version of this sale.
pub fn newest(published: &[Sale], id: SaleId) -> Option<&Sale> {
    published.iter().filter(|sale| sale.id == id).max_by_key(|sale| sale.version)
}

/// The newest version of every sale, whether or not `published` holds older ones too.
pub(crate) fn newest_of_all(published: &[Sale]) -> impl Iterator<Item = &Sale> {
    let mut newest: HashMap<SaleId, &Sale> = HashMap::new();
    for sale in published {
        if newest.get(&sale.id).is_none_or(|known| sale.version >= known.version) {
            newest.insert(sale.id, sale);
        }
    }
    newest.into_values()
}
