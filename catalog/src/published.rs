//! What the topic `sales` holds: read to its end, newest versions.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use domain::{id::SaleId, sale::Sale};
use store::log::{ReadError, SalesFollower};

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

/// Everything published, the newest version of each sale, by id. `follower` stands at the topic's beginning. While the log
/// cannot be reached it is asked again: one broker of several that is away says so too.
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
