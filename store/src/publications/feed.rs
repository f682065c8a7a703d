//! From the outbox to the topic `sales`. Anybody may feed, any number at once.

use domain::{id::SaleId, sale::Sale};

use super::{Publications, announce};
use crate::{
    log::{SalesPublisher, Unacknowledged},
    sql::{Sql, SqlError},
};

const WAITING: &str = "SELECT sale FROM sales_outbox ORDER BY sale";
const DELIVERED: &str = "DELETE FROM sales_outbox WHERE sale = ? AND version <= ?";

/// Why a sale waits in the outbox still.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The log did not acknowledge.
    #[error(transparent)]
    Append(#[from] Unacknowledged),
}

impl<S: Sql> Publications<S> {
    /// Appends every sale that waits in the outbox to the topic; returns how many records that
    /// were.
    ///
    /// # Errors
    /// [`FeedError`]; what was not delivered stays in the outbox.
    pub async fn feed(&self, topic: &impl SalesPublisher) -> Result<u64, FeedError> {
        let waiting = self.db.rows(WAITING, vec![]).await?;
        let mut appended = 0;
        for mut row in waiting {
            appended += self.feed_sale(row.id(SaleId::new)?, topic).await?;
        }
        Ok(appended)
    }

    /// Appends the sale until what was appended last is the newest: a record that arrives late,
    /// after that of a newer version, is followed by the newer one again.
    async fn feed_sale(&self, id: SaleId, topic: &impl SalesPublisher) -> Result<u64, FeedError> {
        let (mut appended, mut last) = (0, 0);
        while let Some(sale) = self.find(id).await?.filter(|sale| sale.version > last) {
            topic.publish(&sale).await?;
            (appended, last) = (appended + 1, sale.version);
        }
        self.db.exec(DELIVERED, vec![id.stored().into(), last.into()]).await?;
        Ok(appended)
    }

    /// Puts a sale into the outbox whose version the topic lacks, though it was delivered once.
    ///
    /// # Errors
    /// [`SqlError`] when the database fails.
    pub async fn announce(&self, sale: &Sale) -> Result<(), SqlError> {
        let mut tx = self.db.begin().await?;
        let announced = announce(&mut tx, sale).await;
        let is_done = announced.is_ok();
        super::ended(tx, announced, is_done).await
    }
}
