//! What is known of somebody who has left is destroyed. Who stood below is bound to who stood
//! above, some of them in each transaction; then texts, touches and stored answers go. Numbers and
//! money stay: the ledger adds up as before, and its closed days keep their hashes.

use domain::id::{BuyerId, TenantId};
use store::sql::{Lock, Sql, SqlError, Tx, Value, stored};

use super::{BEGIN_RELATION, END_RELATION, LOCK_HEAD, MOVE_HEAD, NEW_HEAD, PARENT, stored_relation};
use crate::{database::OPEN_END, plan::Relation};

/// People who are bound anew in one transaction.
const BATCH: u32 = 200;
/// Erasures that go on in one round.
const OPEN_MAX: u32 = 10;

const OPEN: &str = "SELECT tenant, person FROM erasures WHERE done_at IS NULL ORDER BY tenant, person LIMIT ?";
const BELOW: &str = "SELECT person, from_ms FROM relations WHERE tenant = ? AND relation = ? AND parent = ? \
                     AND to_ms = 9223372036854775807 ORDER BY person LIMIT ?";
const DONE: &str = "UPDATE erasures SET done_at = ? WHERE tenant = ? AND person = ? AND done_at IS NULL";
/// Each of a tenant and a person.
const WIPES: [&str; 5] = [
    "UPDATE standings SET reason = 'erased', kyc = 0 WHERE tenant = ? AND person = ?",
    "UPDATE relations SET reason = 'erased' WHERE tenant = ? AND relation IN (1, 2) AND person = ?",
    "DELETE FROM touches WHERE tenant = ? AND visitor = ?",
    "UPDATE adjustments SET reason = 'erased' WHERE tenant = ? AND person = ?",
    "UPDATE holds SET reason = 'erased', released_why = NULL WHERE tenant = ? AND person = ?",
];
const FORGET_ANSWERS: &str = "DELETE FROM requests WHERE tenant = ? AND actor = ?";

/// Who asks whom is kept as: of nobody but the program.
const WHO: &str = "erasure";

/// Goes on with the erasures that are open. Any number of processes may do so.
///
/// # Errors
/// [`SqlError`]; the next call goes on.
pub(crate) async fn erase<S: Sql>(sql: &S, now_ms: u64) -> Result<(), SqlError> {
    for mut row in sql.rows(OPEN, vec![OPEN_MAX.into()]).await? {
        let owner = (row.id(TenantId::new)?, row.id(BuyerId::new)?);
        let mut moved = 0;
        for relation in [Relation::Referral, Relation::Org] {
            let mut tx = sql.begin().await?;
            moved += reattach(&mut tx, (owner.0, relation), owner.1, now_ms).await?;
            tx.commit().await?;
        }
        if moved == 0 {
            let mut tx = sql.begin().await?;
            wipe(&mut tx, owner, now_ms).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

/// Binds some of those below a person to who stands above the person; to nobody where none does,
/// and at last the person too. How many. No circle closes: everybody moves up.
async fn reattach<T: Tx>(
    tx: &mut T,
    (tenant, relation): (TenantId, Relation),
    person: BuyerId,
    now_ms: u64,
) -> Result<usize, SqlError> {
    tx.insert_absent(NEW_HEAD, vec![tenant.stored().into()]).await?;
    let head = tx.lock_rows(LOCK_HEAD, vec![tenant.stored().into()], Lock::Wait).await?.pop();
    let moved_at = head.ok_or_else(|| SqlError::Broken("a head of relations vanished".into()))?.int()?;
    let from_ms = stored(now_ms)?.max(moved_at + 1);
    let key = |who: BuyerId| vec![Value::from(tenant.stored()), stored_relation(relation).into(), who.stored().into()];
    let own = tx.rows(PARENT, key(person)).await?.pop();
    let own = own.map(|mut row| Ok::<_, SqlError>((row.int()?, row.id(BuyerId::new)?))).transpose()?;
    let mut below = key(person);
    below.push(BATCH.into());
    let mut ends = Vec::new();
    for mut row in tx.rows(BELOW, below).await? {
        ends.push((row.id(BuyerId::new)?, row.int()?, own.map(|(_, parent)| parent)));
    }
    let moved = ends.len();
    if moved == 0 {
        ends.extend(own.map(|(began, _)| (person, began, None)));
    }
    if ends.is_empty() {
        return Ok(0);
    }
    for (who, began, parent) in ends {
        let mut end = vec![from_ms.into()];
        end.extend(key(who));
        end.push(began.into());
        tx.exec(END_RELATION, end).await?;
        if let Some(parent) = parent {
            let mut row = key(who);
            row.extend([
                from_ms.into(),
                OPEN_END.into(),
                parent.stored().into(),
                WHO.into(),
                "who stood above has left".into(),
            ]);
            tx.exec(BEGIN_RELATION, row).await?;
        }
    }
    tx.exec(MOVE_HEAD, vec![from_ms.into(), tenant.stored().into()]).await?;
    Ok(moved)
}

async fn wipe<T: Tx>(tx: &mut T, (tenant, person): (TenantId, BuyerId), now_ms: u64) -> Result<(), SqlError> {
    for wipe in WIPES {
        tx.exec(wipe, vec![tenant.stored().into(), person.stored().into()]).await?;
    }
    tx.exec(FORGET_ANSWERS, vec![tenant.stored().into(), (&*format!("buyer:{person}")).into()]).await?;
    tx.exec(DONE, vec![stored(now_ms)?.into(), tenant.stored().into(), person.stored().into()]).await.map(drop)
}
