//! Who stood above the buyers of some orders when each of them was made: one query for all of
//! them, which climbs by the primary key of `relations`, so that it costs a look-up a level however
//! many people there are. A rebinding writes two rows, whatever stands below.

use std::collections::BTreeMap;

use domain::id::OrderId;
use store::sql::{Fixed, Row, Sql, SqlError, Tx, Value};

use super::{State, stored_relation};
use crate::{book::DAY_MS, evaluate::Person, plan::Relation};

/// Statements of paths.
#[derive(Debug)]
pub(crate) struct PathTexts {
    climb: Fixed,
    touches: Fixed,
}

/// What is read of each person of a path: the columns after order and depth.
const FACTS: &str = "p.joined_at, s.state, s.rank_name, COALESCE(s.kyc, 0)";

impl Default for PathTexts {
    fn default() -> Self {
        let standing = |person: &str, at: &str, tenant: &str| {
            format!(
                "LEFT JOIN people p ON p.tenant = {tenant} AND p.person = {person} AND p.joined_at <= {at} \
                 LEFT JOIN standings s ON s.tenant = {tenant} AND s.person = {person} AND s.from_ms <= {at} \
                 AND s.to_ms > {at}"
            )
        };
        let climb = format!(
            "WITH RECURSIVE up (order_id, tenant, at_ms, person, depth, bound_ms) AS (\
             SELECT order_id, tenant, ordered_at, buyer, 0, ordered_at FROM order_lines WHERE order_id IN ([?,]) \
             UNION ALL SELECT up.order_id, up.tenant, up.at_ms, r.parent, up.depth + 1, r.from_ms FROM up \
             JOIN relations r ON r.tenant = up.tenant AND r.relation = ? AND r.person = up.person \
             AND r.from_ms <= up.at_ms AND r.to_ms > up.at_ms WHERE up.depth < ?) \
             SELECT up.order_id, up.depth, up.at_ms, up.person, up.bound_ms, {FACTS} FROM up {} \
             ORDER BY up.order_id, up.depth",
            standing("up.person", "up.at_ms", "up.tenant")
        );
        let touches = format!(
            "SELECT o.order_id, 1, o.ordered_at, t.sharer, t.at_ms, {FACTS} FROM order_lines o \
             JOIN touches t ON t.tenant = o.tenant AND t.visitor = o.buyer AND t.at_ms <= o.ordered_at \
             AND t.at_ms > o.ordered_at - ? {} WHERE o.order_id IN ([?,]) ORDER BY o.order_id, t.at_ms DESC",
            standing("t.sharer", "o.ordered_at", "o.tenant")
        );
        Self { climb: Fixed::new(climb), touches: Fixed::new(touches) }
    }
}

/// By order: its buyer, and who stood above, the nearest first. Of touches: each sharer once, the
/// latest touch first.
#[derive(Debug, Default)]
pub(crate) struct Above {
    pub(crate) source: Option<Person>,
    pub(crate) path: Vec<Person>,
}

/// Reads the paths of some orders, at most `depth` levels; of touches, those of the last
/// `window_days` days.
pub(crate) async fn paths<T: Tx>(
    texts: &PathTexts,
    tx: &mut T,
    orders: &[OrderId],
    (relation, depth, window_days): (Relation, u8, u64),
) -> Result<BTreeMap<OrderId, Above>, SqlError> {
    let mut above = BTreeMap::new();
    for (query, params) in texts.queries(orders, (relation, depth, window_days)) {
        add(&mut above, tx.rows(&query, params).await?, relation)?;
    }
    Ok(above)
}

/// The same without a transaction: what held then is history, and does not change.
pub(crate) async fn paths_seen<S: Sql>(
    texts: &PathTexts,
    sql: &S,
    orders: &[OrderId],
    (relation, depth, window_days): (Relation, u8, u64),
) -> Result<BTreeMap<OrderId, Above>, SqlError> {
    let mut above = BTreeMap::new();
    for (query, params) in texts.queries(orders, (relation, depth, window_days)) {
        add(&mut above, sql.rows(&query, params).await?, relation)?;
    }
    Ok(above)
}

impl PathTexts {
    fn queries(&self, orders: &[OrderId], (relation, depth, days): (Relation, u8, u64)) -> Vec<(String, Vec<Value>)> {
        let is_touch = relation == Relation::Touch;
        let text = if is_touch { &self.touches } else { &self.climb };
        let orders: Vec<i64> = orders.iter().map(|order| order.stored()).collect();
        let of = |(query, orders): (&str, Vec<i64>)| {
            let mut params: Vec<Value> = orders.into_iter().map(Value::from).collect();
            if is_touch {
                let window = days.saturating_mul(DAY_MS);
                params.insert(0, i64::try_from(window).unwrap_or(i64::MAX).into());
            } else {
                params.extend([stored_relation(relation).into(), depth.into()]);
            }
            (query.to_owned(), params)
        };
        text.padded(&orders).map(of).collect()
    }
}

fn add(above: &mut BTreeMap<OrderId, Above>, rows: Vec<Row>, relation: Relation) -> Result<(), SqlError> {
    for row in rows {
        let (order, level, person) = read(row)?;
        let above = above.entry(order).or_default();
        if level == 0 {
            above.source = Some(person);
        } else if relation != Relation::Touch || above.path.iter().all(|earlier| earlier.id != person.id) {
            above.path.push(person);
        }
    }
    Ok(())
}

fn read(mut row: Row) -> Result<(OrderId, i64, Person), SqlError> {
    let (order, level, at_ms) = (row.id(OrderId::new)?, row.int()?, row.int()?);
    let mut person = Person::new(row.number()?);
    let day = i64::try_from(DAY_MS).unwrap_or(1);
    person.bound = at_ms.saturating_sub(row.int()?) / day;
    person.joined = row.int_or_null()?.map_or(0, |since| at_ms.saturating_sub(since) / day);
    let state = row.text_or_null()?;
    person.rank = row.text_or_null()?;
    let kyc = row.int()? != 0;
    flag(&mut person, state.as_deref() == Some(State::Active.as_str()), kyc);
    Ok((order, level, person))
}

/// All flags that somebody may carry.
pub(crate) const FLAGS: [&str; 3] = ["distributor", "active", "kyc"];

/// Gives somebody the flags of their standing.
pub(crate) fn flag(person: &mut Person, is_active: bool, kyc: bool) {
    let holds = [is_active, is_active, kyc];
    person.flags.extend(FLAGS.iter().zip(holds).filter(|(_, holds)| *holds).map(|(flag, _)| (*flag).to_owned()));
}
