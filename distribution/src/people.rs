//! Distributors and who stands above whom, over time. A change ends what held and begins what
//! holds, so that an order may ask later what held when it was made. Relations of a tenant change
//! one after the other, under a lock of the tenant: of several bindings that would close a circle
//! together, the last one is refused.

mod erase;
mod path;

use domain::id::{BuyerId, TenantId};
use store::sql::{Lock, Row, SqlError, Tx, Value, stored};

use crate::{database::OPEN_END, plan::Relation};

pub(crate) use erase::erase;
pub(crate) use path::{Above, FLAGS, PathTexts, flag, paths, paths_seen};

/// Levels above somebody that are looked at, at most.
pub const DEPTH_MAX: u8 = 50;

const NEW_PERSON: &str = "INSERT INTO people (tenant, person, joined_at, version) VALUES (?, ?, ?, 1)";
const LOCK_PERSON: &str = "SELECT joined_at, version FROM people WHERE tenant = ? AND person = ?";
const NEXT_VERSION: &str = "UPDATE people SET version = version + 1 WHERE tenant = ? AND person = ?";
const NOW: &str = "SELECT from_ms, state, rank_name, kyc FROM standings WHERE tenant = ? AND person = ? AND to_ms = ?";
const END_STANDING: &str =
    "UPDATE standings SET to_ms = ? WHERE tenant = ? AND person = ? AND from_ms = ? AND to_ms = 9223372036854775807";
const BEGIN_STANDING: &str = "INSERT INTO standings (tenant, person, from_ms, to_ms, state, rank_name, kyc, who, \
                              reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const NEW_HEAD: &str = "INSERT INTO relation_heads (tenant, moved_at) VALUES (?, 0)";
const LOCK_HEAD: &str = "SELECT moved_at FROM relation_heads WHERE tenant = ?";
const MOVE_HEAD: &str = "UPDATE relation_heads SET moved_at = ? WHERE tenant = ?";
const PARENT: &str = "SELECT from_ms, parent FROM relations \
                      WHERE tenant = ? AND relation = ? AND person = ? AND to_ms = 9223372036854775807";
const END_RELATION: &str =
    "UPDATE relations SET to_ms = ? WHERE tenant = ? AND relation = ? AND person = ? AND from_ms = ?";
const BEGIN_RELATION: &str = "INSERT INTO relations (tenant, relation, person, from_ms, to_ms, parent, who, reason) \
                              VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// Whether somebody stands above somebody now: the climb ends at the person that is looked for.
const ABOVE: &str = "WITH RECURSIVE up (parent, depth) AS (\
    SELECT parent, 1 FROM relations WHERE tenant = ? AND relation = ? AND person = ? AND to_ms = 9223372036854775807 \
    UNION ALL SELECT r.parent, up.depth + 1 FROM up JOIN relations r ON r.tenant = ? AND r.relation = ? \
    AND r.person = up.parent AND r.to_ms = 9223372036854775807 WHERE up.depth < ? AND up.parent <> ?) \
    SELECT parent, depth FROM up ORDER BY depth DESC LIMIT 1";
const TOUCH: &str = "INSERT INTO touches (tenant, visitor, at_ms, sharer) VALUES (?, ?, ?, ?)";

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Has asked to join; the shop must agree.
    Applied,
    /// Earns and withdraws.
    Active,
    /// Neither, until the shop says otherwise.
    Frozen,
    /// Has left; what was earned may be withdrawn.
    Left,
}

impl State {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Active => "active",
            Self::Frozen => "frozen",
            Self::Left => "left",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        [Self::Applied, Self::Active, Self::Frozen, Self::Left].into_iter().find(|state| state.as_str() == text)
    }
}

/// What somebody is at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    /// One of the plan's ranks.
    pub(crate) rank: Option<String>,
    /// The person's identity is verified.
    pub(crate) kyc: bool,
}

/// A distributor, locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) joined_ms: u64,
    pub(crate) version: u64,
    pub(crate) standing: Standing,
    from_ms: i64,
}

/// Who made a change, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) who: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) now_ms: u64,
}

/// Why nobody is bound; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindRefused {
    /// The parent is no active distributor.
    #[error("person {0} is no active distributor of this shop: somebody must join before others stand below them")]
    NoParent(u64),
    /// The parent stands below the person, or is the person.
    #[error("that would close a circle: {parent} stands below {person}; move {parent} first")]
    Circle {
        /// Who was to stand below.
        person: u64,
        /// Who was to stand above.
        parent: u64,
    },
    /// The chain above would be too long.
    #[error("{0} levels above somebody are the most: bind higher up")]
    TooDeep(u8),
    /// Protected by an earlier binding.
    #[error(
        "person {person} is bound to {parent} until {until_ms} (epoch ms): only the shop rebinds before, with a reason"
    )]
    Protected {
        /// Who is bound.
        person: u64,
        /// To whom.
        parent: u64,
        /// When the protection ends.
        until_ms: u64,
    },
    /// The database.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

pub(crate) const fn stored_relation(relation: Relation) -> i64 {
    match relation {
        Relation::Referral => 1,
        Relation::Org => 2,
        Relation::Touch => 3,
        Relation::Territory => 4,
        Relation::Placement => 5,
    }
}

/// Makes a distributor; `false`: is one already.
pub(crate) async fn join<T: Tx>(
    tx: &mut T,
    (tenant, person): (TenantId, BuyerId),
    standing: &Standing,
    by: By<'_>,
) -> Result<bool, SqlError> {
    let now_ms = stored(by.now_ms)?;
    let row = vec![tenant.stored().into(), person.stored().into(), now_ms.into()];
    if !tx.insert_absent(NEW_PERSON, row).await? {
        return Ok(false);
    }
    begin(tx, (tenant, person), standing, now_ms, by).await?;
    Ok(true)
}

/// A distributor, whose row stays locked.
pub(crate) async fn lock<T: Tx>(tx: &mut T, (tenant, person): (TenantId, BuyerId)) -> Result<Option<Person>, SqlError> {
    let key = vec![Value::from(tenant.stored()), person.stored().into()];
    let found = tx.lock_rows(LOCK_PERSON, key, Lock::Wait).await?;
    let Some(mut row) = found.into_iter().next() else { return Ok(None) };
    let (joined_ms, version) = (row.number()?, row.number()?);
    let params = vec![tenant.stored().into(), person.stored().into(), OPEN_END.into()];
    let now = tx.rows(NOW, params).await?.into_iter().next();
    let mut now = now.ok_or_else(|| SqlError::Broken(format!("person {person} has no standing").into()))?;
    let from_ms = now.int()?;
    Ok(Some(Person { joined_ms, version, standing: read_standing(&mut now)?, from_ms }))
}

pub(crate) fn read_standing(row: &mut Row) -> Result<Standing, SqlError> {
    Ok(Standing {
        state: row.text_as("state of a person", State::read)?,
        rank: row.text_or_null()?,
        kyc: row.int()? != 0,
    })
}

/// Changes what a locked distributor is, from now on.
pub(crate) async fn change<T: Tx>(
    tx: &mut T,
    key: (TenantId, BuyerId),
    before: &Person,
    after: &Standing,
    by: By<'_>,
) -> Result<(), SqlError> {
    let (tenant, person) = key;
    // Moments of one history rise, whatever the clock does.
    let from_ms = stored(by.now_ms)?.max(before.from_ms + 1);
    let end = vec![from_ms.into(), tenant.stored().into(), person.stored().into(), before.from_ms.into()];
    tx.exec(END_STANDING, end).await?;
    begin(tx, key, after, from_ms, by).await?;
    tx.exec(NEXT_VERSION, vec![tenant.stored().into(), person.stored().into()]).await.map(drop)
}

async fn begin<T: Tx>(
    tx: &mut T,
    (tenant, person): (TenantId, BuyerId),
    standing: &Standing,
    from_ms: i64,
    by: By<'_>,
) -> Result<(), SqlError> {
    let row = vec![
        tenant.stored().into(),
        person.stored().into(),
        from_ms.into(),
        OPEN_END.into(),
        standing.state.as_str().into(),
        Value::text_or_null(standing.rank.as_deref()),
        u8::from(standing.kyc).into(),
        by.who.into(),
        by.reason.into(),
    ];
    tx.exec(BEGIN_STANDING, row).await.map(drop)
}

/// Puts a person below another from now on; `false`: stands there already. `protected_ms`: an
/// earlier binding keeps so long; `None`: for ever.
///
/// # Errors
/// [`BindRefused`].
pub(crate) async fn bind<T: Tx>(
    tx: &mut T,
    (tenant, relation): (TenantId, Relation),
    (person, parent): (BuyerId, BuyerId),
    protected_ms: Option<u64>,
    by: By<'_>,
) -> Result<bool, BindRefused> {
    tx.insert_absent(NEW_HEAD, vec![tenant.stored().into()]).await?;
    let head = tx.lock_rows(LOCK_HEAD, vec![tenant.stored().into()], Lock::Wait).await?.into_iter().next();
    let moved_at = head.ok_or_else(|| SqlError::Broken("a head of relations vanished".into()))?.int()?;
    let key = || vec![Value::from(tenant.stored()), stored_relation(relation).into(), person.stored().into()];
    let before = match tx.rows(PARENT, key()).await?.into_iter().next() {
        Some(mut row) => Some((row.int()?, row.id(BuyerId::new)?)),
        None => None,
    };
    if let Some((from_ms, above)) = before {
        if above == parent {
            return Ok(false);
        }
        let since: u64 = from_ms.try_into().unwrap_or(0);
        let until_ms = protected_ms.map_or(u64::MAX, |protected| since.saturating_add(protected));
        if by.now_ms < until_ms {
            let (person, parent) = (person.get(), above.get());
            return Err(BindRefused::Protected { person, parent, until_ms });
        }
    }
    must_fit(tx, (tenant, relation), (person, parent)).await?;
    let from_ms = stored(by.now_ms)?.max(moved_at + 1);
    if let Some((began, _)) = before {
        let mut end = vec![from_ms.into()];
        end.extend(key());
        end.push(began.into());
        tx.exec(END_RELATION, end).await?;
    }
    let mut row = key();
    row.extend([from_ms.into(), OPEN_END.into(), parent.stored().into(), by.who.into(), by.reason.into()]);
    tx.exec(BEGIN_RELATION, row).await?;
    tx.exec(MOVE_HEAD, vec![from_ms.into(), tenant.stored().into()]).await?;
    Ok(true)
}

/// Whether the parent may stand above the person.
async fn must_fit<T: Tx>(
    tx: &mut T,
    (tenant, relation): (TenantId, Relation),
    (person, parent): (BuyerId, BuyerId),
) -> Result<(), BindRefused> {
    let circle = BindRefused::Circle { person: person.get(), parent: parent.get() };
    if person == parent {
        return Err(circle);
    }
    let params = vec![tenant.stored().into(), parent.stored().into(), OPEN_END.into()];
    let standing = tx.rows(NOW, params).await?.into_iter().next();
    let state = standing.map(|mut row| {
        let _from = row.int()?;
        read_standing(&mut row).map(|standing| standing.state)
    });
    if state.transpose()? != Some(State::Active) {
        return Err(BindRefused::NoParent(parent.get()));
    }
    let (tenant, relation) = (Value::from(tenant.stored()), Value::from(stored_relation(relation)));
    let climb = vec![
        tenant.clone(),
        relation.clone(),
        parent.stored().into(),
        tenant,
        relation,
        DEPTH_MAX.into(),
        person.stored().into(),
    ];
    if let Some(mut highest) = tx.rows(ABOVE, climb).await?.into_iter().next() {
        if highest.id(BuyerId::new)? == person {
            return Err(circle);
        }
        if highest.int()? >= i64::from(DEPTH_MAX) {
            return Err(BindRefused::TooDeep(DEPTH_MAX));
        }
    }
    Ok(())
}

/// Notes that somebody opened somebody's link.
pub(crate) async fn touch<T: Tx>(
    tx: &mut T,
    tenant: TenantId,
    (visitor, sharer): (BuyerId, BuyerId),
    now_ms: u64,
) -> Result<(), SqlError> {
    let row = vec![tenant.stored().into(), visitor.stored().into(), stored(now_ms)?.into(), sharer.stored().into()];
    // The same link twice in a millisecond is one touch.
    tx.insert_absent(TOUCH, row).await.map(drop)
}
