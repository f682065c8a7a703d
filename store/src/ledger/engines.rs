//! What engines tell of themselves while they hold a number: that they live, what their clock
//! shows, and by which version of each sale they sell.

use domain::id::SaleId;

use super::Ledger;
use crate::sql::{Fixed, Insert, Row, Sql, SqlError, Tx, Value, retried, stored};

/// No lease is longer: one that ends later was given before the database's clock was set back.
pub const LEASE_MS_MAX: u64 = 60_000;

#[derive(Debug)]
pub(super) struct EngineTexts {
    tell: String,
    live: String,
    forget_all: &'static str,
    forget: Fixed,
    note: Insert,
}

impl EngineTexts {
    pub(super) fn new(now: &str) -> Self {
        Self {
            // Who lost its number tells nothing: the row is another's.
            tell: format!(
                "UPDATE workers SET told_at = {now}, clock_ms = ? WHERE number = ? AND holder = ? AND ends_at > {now}"
            ),
            live: format!(
                "SELECT w.number, {now}, w.told_at, w.clock_ms, s.version FROM workers w \
                 LEFT JOIN engine_sales s ON s.engine = w.number AND s.sale = ? \
                 WHERE w.ends_at > {now} AND w.ends_at <= {now} + {LEASE_MS_MAX} ORDER BY w.number"
            ),
            forget_all: "DELETE FROM engine_sales WHERE engine = ?",
            forget: Fixed::new("DELETE FROM engine_sales WHERE engine = ? AND sale IN ([?,])"),
            note: Insert::new("INSERT INTO engine_sales (engine, sale, version) VALUES [(?, ?, ?),]"),
        }
    }
}

/// What an engine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineNews {
    /// Its own clock, in epoch milliseconds.
    pub clock_ms: u64,
    /// The sales are all that it has; otherwise those that changed since it told last.
    pub is_whole: bool,
    /// Each with the version by which it sells; `None`: it has it no more.
    pub sales: Vec<(SaleId, Option<u32>)>,
}

/// A live engine, as the ledger's database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSeen {
    /// Its worker number.
    pub number: u8,
    /// Milliseconds since it told last; `None` if its program tells nothing.
    pub silent_ms: Option<u64>,
    /// Milliseconds that its clock was off this database's when it told last.
    pub skew_ms: u64,
    /// By which version it sells the sale that was asked for.
    pub version: Option<u32>,
}

impl<S: Sql> Ledger<S> {
    /// Keeps what the engine tells that holds this number; `false` if it holds it no more, which
    /// changes nothing. After an error the next call MUST tell the whole.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn tell_engine(&self, (number, holder): (u8, &str), news: &EngineNews) -> Result<bool, SqlError> {
        let told = vec![stored(news.clock_ms)?.into(), number.into(), holder.into()];
        if news.sales.is_empty() && !news.is_whole {
            return Ok(self.db.exec(&self.texts.engines.tell, told).await? > 0);
        }
        retried(async || self.try_tell(number, told.clone(), news).await).await
    }

    async fn try_tell(&self, number: u8, told: Vec<Value>, news: &EngineNews) -> Result<bool, SqlError> {
        let mut tx = self.db.begin().await?;
        let noted = async {
            // Its row stays locked: nobody takes the number meanwhile.
            if tx.exec(&self.texts.engines.tell, told).await? == 0 {
                return Ok(false);
            }
            self.note(&mut tx, number, news).await.map(|()| true)
        }
        .await;
        if matches!(noted, Ok(true)) {
            tx.commit().await?;
        } else {
            tx.rollback().await;
        }
        noted
    }

    async fn note(&self, tx: &mut S::Tx, number: u8, news: &EngineNews) -> Result<(), SqlError> {
        let texts = &self.texts.engines;
        if news.is_whole {
            tx.exec(texts.forget_all, vec![number.into()]).await?;
        } else {
            let changed: Vec<i64> = news.sales.iter().map(|(sale, _)| sale.stored()).collect();
            for (query, sales) in texts.forget.padded(&changed) {
                let sales = sales.into_iter().map(Value::from);
                tx.exec(query, std::iter::once(number.into()).chain(sales).collect()).await?;
            }
        }
        let kept = news.sales.iter().filter_map(|(sale, version)| Some((sale, (*version)?)));
        let rows: Vec<Value> =
            kept.flat_map(|(sale, version)| [number.into(), sale.stored().into(), version.into()]).collect();
        if rows.is_empty() { Ok(()) } else { tx.insert(&texts.note, rows).await }
    }

    /// The engines whose leases live, by number, each with its version of this sale.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn engines(&self, sale: SaleId) -> Result<Vec<EngineSeen>, SqlError> {
        let rows = self.db.rows(&self.texts.engines.live, vec![sale.stored().into()]).await?;
        rows.into_iter().map(read).collect()
    }
}

fn read(mut row: Row) -> Result<EngineSeen, SqlError> {
    let (number, now_ms) = (row.number()?, row.int()?);
    let (told_at, clock_ms) = (row.int_or_null()?, row.int_or_null()?);
    let version = row.int_or_null()?.map(|version| u32::try_from(version).unwrap_or(u32::MAX));
    Ok(EngineSeen {
        number,
        silent_ms: told_at.map(|told_at| now_ms.saturating_sub(told_at).max(0).unsigned_abs()),
        skew_ms: told_at.zip(clock_ms).map_or(0, |(told_at, clock_ms)| told_at.abs_diff(clock_ms)),
        version,
    })
}
