//! What is published, decided in the ledger's database: the newest version of each sale by
//! compare-and-set, and who owns a lane or an offer by unique keys, in one transaction with an
//! outbox row. The topic `sales` only carries the news.

mod feed;
mod owners;

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    adopt::{Contradiction, Place, adopt},
    id::SaleId,
    record::{decode_sale, encode_sale},
    sale::Sale,
};

use crate::{
    cause::Cause,
    sql::{Lock, Row, Sql, SqlError, Tx, retried, stored},
};
pub use feed::FeedError;
use owners::OwnerTexts;

const ALL: &str = "SELECT payload FROM sales ORDER BY sale";
const ONE: &str = "SELECT payload FROM sales WHERE sale = ?";
const VERSIONS: &str = "SELECT sale, version FROM sales ORDER BY sale";
const CHANGED: &str = "SELECT sale, version, changed_at FROM sales WHERE changed_at >= ? ORDER BY changed_at";
const PARKED: &str = "SELECT COUNT(*) FROM parked_sales";
/// Bytes of a parked sale's cause.
const CAUSE_MAX: usize = 2_000;
/// Tries of a transaction that met another publisher's keys, or whose outcome nobody knows. Each
/// looks anew at what is there.
const TRIES_MAX: u32 = 5;

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Published {
    /// It is what is published.
    Done,
    /// Nothing was published: this holds instead.
    Lost(Vec<Contradiction>),
}

/// What became of a sale that came past this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// What is published now.
    pub sale: Sale,
    /// Why that is not what came; empty when it is, or when it was known.
    pub contradictions: Vec<Contradiction>,
}

/// What was published from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// The version of each sale that was.
    pub versions: Vec<(SaleId, u32)>,
    /// When the last of them was written, in epoch milliseconds by the database's clock.
    pub last_ms: Option<u64>,
}

/// The repository of published sales.
#[derive(Debug, Clone)]
pub struct Publications<S> {
    db: S,
    texts: Arc<OwnerTexts>,
    park: Arc<str>,
}

/// One try of a transaction.
enum Outcome<T> {
    Came(T),
    /// Another publisher took a key meanwhile.
    Raced,
}

impl<S: Sql> Publications<S> {
    /// The repository over the ledger's database.
    pub fn new(db: S) -> Self {
        let park = format!(
            "INSERT INTO parked_sales (sale, version, cause, payload, parked_at) VALUES (?, ?, ?, ?, {})",
            S::NOW_MS
        );
        Self { db, texts: Arc::new(OwnerTexts::new()), park: park.into() }
    }

    /// Everything published, the newest version of each sale, by id. A damaged row is logged and
    /// left out: its ids stay taken.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn all(&self) -> Result<Vec<Sale>, SqlError> {
        let rows = self.db.rows(ALL, vec![]).await?;
        let read = |row| read(row).inspect_err(|error| tracing::error!(%error, "a published sale is left out")).ok();
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// The newest version of a sale.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails or the row is damaged.
    pub async fn find(&self, sale: SaleId) -> Result<Option<Sale>, SqlError> {
        self.db.rows(ONE, vec![sale.stored().into()]).await?.into_iter().next().map(read).transpose()
    }

    /// Which version of each sale is published, by id.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails or a row is damaged.
    pub async fn versions(&self) -> Result<Vec<(SaleId, u32)>, SqlError> {
        let rows = self.db.rows(VERSIONS, vec![]).await?;
        rows.into_iter().map(|mut row| Ok((row.id(SaleId::new)?, row.number()?))).collect()
    }

    /// What was written from this moment on, in epoch milliseconds by the database's clock. What a
    /// program of before wrote has no moment and is not told, and what was written before may still
    /// be committed: ask again from some seconds earlier.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails or a row is damaged.
    pub async fn changed_since(&self, from_ms: u64) -> Result<Changed, SqlError> {
        let mut changed = Changed::default();
        for mut row in self.db.rows(CHANGED, vec![stored(from_ms)?.into()]).await? {
            changed.versions.push((row.id(SaleId::new)?, row.number()?));
            changed.last_ms = Some(row.number()?);
        }
        Ok(changed)
    }

    /// What of this sale is another's, so that it cannot be published.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn contradictions(&self, sale: &Sale) -> Result<Vec<Contradiction>, SqlError> {
        let mut tx = self.db.begin().await?;
        let claims = self.texts.look(&mut tx, sale).await;
        tx.rollback().await;
        Ok(adopt(sale, None, &claims?.owners).contradictions)
    }

    /// How many versions were parked because they contradict what is published.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn parked(&self) -> Result<u64, SqlError> {
        let rows = self.db.rows(PARKED, vec![]).await?;
        rows.into_iter().next().ok_or_else(|| SqlError::Broken("a count gave no row".into()))?.number()
    }

    /// Publishes a version after the one `expected`, `None` for the first, unless that is not the
    /// newest any more or another sale owns one of its ids. Publishing again what is published is
    /// [`Published::Done`].
    ///
    /// # Errors
    /// [`SqlError`] when the database fails. After [`SqlError::is_unknown`] it may be published;
    /// the same call again tells.
    pub async fn publish(&self, sale: &Sale, expected: Option<u32>) -> Result<Published, SqlError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let attempt = retried(async || self.try_publish(sale, expected).await).await;
            if let Some(published) = settled(attempt, tries) {
                return published;
            }
        }
    }

    async fn try_publish(&self, sale: &Sale, expected: Option<u32>) -> Result<Outcome<Published>, SqlError> {
        let mut tx = self.db.begin().await?;
        let published = async {
            let known = self.lock(&mut tx, sale.id).await?;
            if known.as_ref() == Some(sale) {
                return Ok(Outcome::Came(Published::Done));
            }
            if known.as_ref().map(|known| known.version) != expected {
                return Ok(Outcome::Came(Published::Lost(vec![late(known.as_ref())])));
            }
            let claims = self.texts.look(&mut tx, sale).await?;
            let contradictions = adopt(sale, None, &claims.owners).contradictions;
            if !contradictions.is_empty() {
                return Ok(Outcome::Came(Published::Lost(contradictions)));
            }
            self.texts.claim(&mut tx, sale, &claims).await?;
            if !put::<S>(&mut tx, sale, known.is_some()).await? {
                return Ok(Outcome::Raced);
            }
            announce(&mut tx, sale).await?;
            Ok(Outcome::Came(Published::Done))
        }
        .await;
        let is_done = matches!(published, Ok(Outcome::Came(Published::Done)));
        ended(tx, published, is_done).await
    }

    /// Takes in a sale that came by the topic: published by an older program, or before the
    /// database lost its tail. What contradicts nothing is kept; the rest is parked with its cause,
    /// and what remains becomes the next version, for the topic too.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails; the same call again is harmless.
    pub async fn adopt(&self, found: &Sale) -> Result<Adoption, SqlError> {
        let mut tries = 0;
        let adoption = loop {
            tries += 1;
            let attempt = retried(async || self.try_adopt(found).await).await;
            if let Some(adoption) = settled(attempt, tries) {
                break adoption?;
            }
        };
        for contradiction in &adoption.contradictions {
            tracing::error!(
                sale = %found.id, version = found.version, %contradiction,
                "a sale published past the database contradicts it; the rest of it is kept, see the table parked_sales"
            );
        }
        Ok(adoption)
    }

    async fn try_adopt(&self, found: &Sale) -> Result<Outcome<Adoption>, SqlError> {
        let mut tx = self.db.begin().await?;
        let adopted = async {
            let known = self.lock(&mut tx, found.id).await?;
            if let Some(known) = known.as_ref().filter(|known| known.version > found.version || *known == found) {
                return Ok(Outcome::Came((Adoption { sale: known.clone(), contradictions: vec![] }, false)));
            }
            let owners = self.texts.look(&mut tx, found).await?.owners;
            let adopted = adopt(found, known.as_ref(), &owners);
            let (sale, contradictions) = (adopted.sale, adopted.contradictions);
            let claims = self.texts.look(&mut tx, &sale).await?;
            self.texts.claim(&mut tx, &sale, &claims).await?;
            if !put::<S>(&mut tx, &sale, known.is_some()).await? {
                return Ok(Outcome::Raced);
            }
            if !contradictions.is_empty() {
                announce(&mut tx, &sale).await?;
                self.park_in(&mut tx, found, &contradictions).await?;
            }
            Ok(Outcome::Came((Adoption { sale, contradictions }, true)))
        }
        .await;
        let is_changed = matches!(adopted, Ok(Outcome::Came((_, true))));
        Ok(match ended(tx, adopted, is_changed).await? {
            Outcome::Came((adoption, _)) => Outcome::Came(adoption),
            Outcome::Raced => Outcome::Raced,
        })
    }

    /// Parks a version that contradicts what the ledger holds; `false` when it was parked before.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn park(&self, sale: &Sale, contradictions: &[Contradiction]) -> Result<bool, SqlError> {
        self.db.insert_absent(&self.park, parked_values(sale, contradictions)).await
    }

    async fn park_in(&self, tx: &mut S::Tx, sale: &Sale, contradictions: &[Contradiction]) -> Result<bool, SqlError> {
        tx.insert_absent(&self.park, parked_values(sale, contradictions)).await
    }

    async fn lock(&self, tx: &mut S::Tx, sale: SaleId) -> Result<Option<Sale>, SqlError> {
        let rows = tx.lock_rows(ONE, vec![sale.stored().into()], Lock::Wait).await?;
        rows.into_iter().next().map(read).transpose()
    }
}

/// What a try came to; `None`: it is to be made again, with a look at what is there now.
fn settled<T>(attempt: Result<Outcome<T>, SqlError>, tries: u32) -> Option<Result<T, SqlError>> {
    match attempt {
        Ok(Outcome::Came(came)) => Some(Ok(came)),
        Ok(Outcome::Raced) | Err(SqlError::KeyTaken(_)) if tries < TRIES_MAX => None,
        Ok(Outcome::Raced) => {
            Some(Err(SqlError::LockWait("others publish the same sale all the time; try again".into())))
        }
        Err(error) if error.is_unknown() && tries < TRIES_MAX => {
            tracing::warn!(%error, "the outcome of a publication is unknown: looking");
            None
        }
        Err(error) => Some(Err(error)),
    }
}

/// Commits what is done, and undoes everything else.
async fn ended<T>(tx: impl Tx, outcome: Result<T, SqlError>, is_done: bool) -> Result<T, SqlError> {
    if is_done {
        tx.commit().await?
    } else {
        tx.rollback().await
    }
    outcome
}

fn read(mut row: Row) -> Result<Sale, SqlError> {
    let payload: Bytes = row.bytes()?;
    decode_sale(payload)
        .map_err(|error| SqlError::Broken(Cause::new(format!("a row of the table sales is damaged: {error}"), error)))
}

/// What a publication that came second is answered.
fn late(known: Option<&Sale>) -> Contradiction {
    let message = match known {
        Some(known) => format!("version {} was published meanwhile", known.version),
        None => "the sale is not published any more".into(),
    };
    Contradiction { place: Place::Version, message }
}

/// Writes the sale's row, which this transaction has locked if it is there; `false` when another
/// put it meanwhile.
async fn put<S: Sql>(tx: &mut S::Tx, sale: &Sale, is_there: bool) -> Result<bool, SqlError> {
    let (payload, now) = (Bytes::from(encode_sale(sale)), S::NOW_MS);
    if is_there {
        let replace = format!("UPDATE sales SET version = ?, payload = ?, changed_at = {now} WHERE sale = ?");
        let params = vec![sale.version.into(), payload.into(), sale.id.stored().into()];
        return Ok(tx.exec(&replace, params).await? == 1);
    }
    let insert = format!("INSERT INTO sales (sale, tenant, version, payload, changed_at) VALUES (?, ?, ?, ?, {now})");
    let params = vec![sale.id.stored().into(), sale.tenant.stored().into(), sale.version.into(), payload.into()];
    tx.insert_absent(&insert, params).await
}

async fn announce<T: Tx>(tx: &mut T, sale: &Sale) -> Result<(), SqlError> {
    let values = vec![sale.id.stored().into(), sale.version.into()];
    tx.upsert("sales_outbox", &["sale"], &["version"], values).await
}

fn parked_values(sale: &Sale, contradictions: &[Contradiction]) -> Vec<crate::sql::Value> {
    let mut cause = contradictions.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    cause.truncate(cause.floor_char_boundary(CAUSE_MAX));
    vec![sale.id.stored().into(), sale.version.into(), cause.as_str().into(), Bytes::from(encode_sale(sale)).into()]
}
