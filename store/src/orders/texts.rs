//! The statements about order tables, made once: a set per table, whose name stands in each.

use super::{
    purchases::PURCHASE_COLUMNS,
    row::{FATE_COLUMNS, NEW_COLUMNS},
};
use crate::sql::{Fixed, Insert};

/// Statements about all tables of a shard.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) now: String,
    pub(super) tables: Vec<TableTexts>,
    pub(super) outbox_insert: Insert,
    pub(super) outbox_delete: Fixed,
    pub(super) held: Fixed,
}

/// Statements about one order table.
#[derive(Debug)]
pub(super) struct TableTexts {
    pub(super) insert_new: Insert,
    pub(super) insert: Insert,
    pub(super) release: Fixed,
    pub(super) find: Fixed,
    pub(super) live_purchases: Fixed,
    pub(super) expired_of: Fixed,
    pub(super) of_buyer: String,
    pub(super) live_of_buyer: String,
    pub(super) listed: String,
    pub(super) scan: Fixed,
    pub(super) purchases: Fixed,
    pub(super) overdue: String,
    pub(super) past_pay_by: String,
    pub(super) pay_windows: String,
    pub(super) newest_pay_windows: String,
    pub(super) due_between: String,
    pub(super) shorten: String,
    pub(super) mark: String,
    pub(super) status: String,
    pub(super) lock: Fixed,
    pub(super) released: Fixed,
    pub(super) mark_all: Fixed,
}

impl Texts {
    pub(super) fn new(tables: u16, now: &str) -> Self {
        Self {
            now: format!("SELECT {now}"),
            tables: (0..tables).map(TableTexts::new).collect(),
            outbox_insert: Insert::new(format!(
                "INSERT INTO outbox (id, order_id, lane, partition_id, kind, topic, payload, created_at) \
                 VALUES [(?, ?, ?, ?, ?, ?, ?, {now}),]"
            )),
            outbox_delete: Fixed::new("DELETE FROM outbox WHERE id IN ([?,])"),
            // 3: paid, 5: closed, as `orders::payment::attempt` numbers them.
            held: Fixed::new("SELECT order_id FROM attempts WHERE order_id IN ([?,]) AND state NOT IN (3, 5)"),
        }
    }
}

impl TableTexts {
    fn new(table: u16) -> Self {
        let table = format!("orders_{table}");
        let columns = format!("{NEW_COLUMNS}, {FATE_COLUMNS}");
        let (new, fate) = (marks(NEW_COLUMNS), marks(FATE_COLUMNS));
        Self {
            // Plain: a taken key is an error, and undoes the whole transaction. Almost all rows are
            // new ones: what all of these have is said once; 1: pending_payment.
            insert_new: Insert::new(format!("INSERT INTO {table} ({NEW_COLUMNS}, status) VALUES [({new}, 1),]")),
            insert: Insert::new(format!("INSERT INTO {table} ({columns}) VALUES [({new}, {fate}),]")),
            // R1: set once, and only where units were taken (7: rejected). ELSE gives CASE the
            // column's type. The first WHEN of an order wins, as the first release in the log does.
            // R8: what `Status::released` says; NULL, of an older record, says nothing.
            release: Fixed::new(format!(
                "UPDATE {table} SET released_pos = CASE order_id [WHEN ? THEN ? ] ELSE released_pos END, number = NULL, \
                 status = COALESCE(CASE WHEN status = 1 OR status IN (2, 3, 4) AND ? IN (8, 9) THEN ? END, status) \
                 WHERE order_id IN ([?,]) AND released_pos IS NULL AND status <> 7"
            )),
            find: Fixed::new(format!("SELECT {columns} FROM {table} WHERE order_id IN ([?,])")),
            // By the key (buyer, lane, number): a number is there exactly as long as the units are
            // taken.
            live_purchases: Fixed::new(format!(
                "SELECT buyer, number, quantity FROM {table} WHERE buyer IN ([?,]) AND lane = ? AND number IS NOT NULL"
            )),
            // By the same key; 6: expired.
            expired_of: Fixed::new(format!(
                "SELECT buyer, COUNT(*) FROM {table} WHERE buyer IN ([?,]) AND tenant = ? AND status = 6 \
                 AND order_id + 0 >= ? GROUP BY buyer"
            )),
            // By the key (buyer, lane, number), whose rows are few. Without `+ 0` the optimizer may
            // rather walk the whole primary key backwards, to spare the sorting.
            of_buyer: format!(
                "SELECT {columns} FROM {table} WHERE buyer = ? AND tenant = ? AND order_id + 0 < ? \
                 ORDER BY order_id + 0 DESC LIMIT ?"
            ),
            // By the same key: a number is there exactly as long as the units are taken.
            live_of_buyer: format!(
                "SELECT {columns} FROM {table} WHERE buyer = ? AND tenant = ? AND sale = ? AND number IS NOT NULL \
                 AND order_id + 0 < ? ORDER BY order_id + 0 DESC LIMIT ?"
            ),
            listed: format!(
                "SELECT order_id, tenant, sale, offer FROM {table} WHERE order_id > ? AND order_id < ? \
                 ORDER BY order_id LIMIT ?"
            ),
            // R5: a range of the time-ordered primary key.
            scan: Fixed::new(format!(
                "SELECT {columns} FROM {table} WHERE lane IN ([?,]) AND order_id >= ? ORDER BY order_id LIMIT ?"
            )),
            // 7: rejected.
            purchases: Fixed::new(format!(
                "SELECT {PURCHASE_COLUMNS} FROM {table} WHERE lane IN ([?,]) AND order_id >= ? AND status <> 7 \
                 ORDER BY order_id LIMIT ?"
            )),
            // The same range from the other side; 1: pending_payment.
            overdue: format!(
                "SELECT {columns} FROM {table} WHERE order_id > ? AND order_id < ? AND status = 1 \
                 ORDER BY order_id LIMIT ?"
            ),
            // By the primary key too, from where the page before ended: one pass over the table.
            past_pay_by: format!(
                "SELECT {columns} FROM {table} WHERE order_id > ? AND status = 1 AND pay_by <= ? \
                 ORDER BY order_id LIMIT ?"
            ),
            // By the primary key.
            pay_windows: format!(
                "SELECT pay_by - reserved_at, MIN(order_id) FROM {table} WHERE order_id > ? AND status = 1 \
                 AND pay_by >= reserved_at GROUP BY pay_by - reserved_at"
            ),
            newest_pay_windows: format!(
                "SELECT DISTINCT pay_window FROM (SELECT pay_by - reserved_at AS pay_window FROM {table} \
                 WHERE order_id > ? AND status = 1 AND pay_by >= reserved_at ORDER BY order_id DESC LIMIT ?) AS newest"
            ),
            due_between: format!(
                "SELECT {columns} FROM {table} WHERE order_id > ? AND order_id < ? AND status = 1 AND pay_by <= ? \
                 ORDER BY order_id LIMIT ?"
            ),
            shorten: format!("UPDATE {table} SET pay_by = ? WHERE order_id = ? AND status = 1 AND pay_by > ?"),
            mark: format!("UPDATE {table} SET status = ? WHERE order_id = ? AND status = ?"),
            status: format!("SELECT status FROM {table} WHERE order_id = ?"),
            lock: Fixed::new(format!(
                "SELECT order_id, status FROM {table} WHERE order_id IN ([?,]) ORDER BY order_id"
            )),
            released: Fixed::new(format!(
                "SELECT order_id, released_pos FROM {table} WHERE order_id IN ([?,]) AND released_pos IS NOT NULL"
            )),
            mark_all: Fixed::new(format!("UPDATE {table} SET status = ? WHERE order_id IN ([?,])")),
        }
    }
}

fn marks(columns: &str) -> String {
    vec!["?"; columns.split(',').count()].join(", ")
}

#[cfg(test)]
mod tests {
    use domain::order::Status;

    /// The numbers that stand in the statements.
    #[test]
    fn stored_statuses_are_those_in_the_statements() {
        assert_eq!([Status::PendingPayment, Status::Expired, Status::Rejected].map(Status::stored), [1, 6, 7]);
        assert_eq!([Status::Paid, Status::Fulfilled, Status::Completed].map(Status::stored), [2, 3, 4]);
        assert_eq!([Status::Refunding, Status::Refunded].map(Status::stored), [8, 9]);
    }
}
