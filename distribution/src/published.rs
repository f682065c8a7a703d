//! Published plans and the switches of sales: what was in force when an order was made. A tenant
//! has one plan at a time, the highest version whose time has come.

mod unsupported;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::id::{SaleId, TenantId};
use store::sql::{Fixed, Row, Sql, SqlError, Tx, Value, stored};

use crate::{
    aggregates::{self, Scope},
    check::levels,
    evaluate::Frozen,
    limits::Limited,
    people::DEPTH_MAX,
    plan::{Agg, On, Operator, Plan, Relation, Window},
};

pub(crate) use unsupported::unsupported;

const ANY: &str = "SELECT version FROM plans LIMIT 1";
const VERSIONS: &str = "SELECT version, from_ms FROM plans WHERE tenant = ? ORDER BY version DESC";
const SHOP: &str = "SELECT from_ms, earning FROM shop_switches WHERE tenant = ? ORDER BY from_ms DESC";
const DOCUMENT: &str = "SELECT document FROM plans WHERE tenant = ? AND version = ?";
const PUBLISH: &str = "INSERT INTO plans (tenant, version, name, from_ms, document, worst, sign_off, published_at, \
                       published_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Whether any tenant ever published a plan.
pub(crate) async fn is_any<S: Sql>(db: &S) -> Result<bool, SqlError> {
    Ok(!db.rows(ANY, vec![]).await?.is_empty())
}

/// A plan that an order freezes.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) plan: Plan,
    /// Relations that it climbs, and how far.
    pub(crate) climbs: BTreeMap<Relation, u8>,
    /// Some rule may pay the buyer.
    pub(crate) pays_source: bool,
    /// Aggregates of people that it looks at.
    pub(crate) aggs: BTreeSet<Agg>,
    /// What is counted of its lines for that, and for the closing of months.
    pub(crate) collected: BTreeSet<(Window, Scope)>,
    /// Months are closed by it.
    pub(crate) closes: bool,
    /// Levels above a buyer that its lines count for.
    pub(crate) levels: u8,
    /// Limits over a time.
    pub(crate) limits: Vec<Limited>,
}

impl InForce {
    /// As orders freeze it.
    pub(crate) fn of(mut plan: Plan) -> Self {
        let (mut climbs, mut pays_source) = (BTreeMap::new(), false);
        for rule in &mut plan.rules {
            // What a line pays is known when it is paid, whenever the money may go out.
            if rule.on == On::Paid {
                rule.on = On::Matured;
            }
            if let (Operator::Walk(walk), On::Matured) = (&rule.pay, rule.on) {
                let depth = levels(walk).unwrap_or(DEPTH_MAX).max(walk.slots).min(DEPTH_MAX);
                climbs.entry(walk.relation).and_modify(|most: &mut u8| *most = depth.max(*most)).or_insert(depth);
                pays_source |= walk.own;
            }
        }
        let aggs: BTreeSet<Agg> = aggregates::of(&plan).into_iter().map(|(_, agg)| agg).collect();
        let closes = plan.rules.iter().any(|rule| rule.on == On::PeriodClosed);
        let of_lines = aggs.iter().filter_map(|agg| Some((agg.window, Scope::of(agg.over)?)));
        let collected: BTreeSet<_> = of_lines.chain(closes.then_some((Window::Month, Scope::Own))).collect();
        if !collected.is_empty() {
            // Whose customer the buyer is.
            climbs.entry(Relation::Referral).or_insert(1);
        }
        let levels = collected.iter().map(|(_, scope)| scope.levels()).max().unwrap_or(0);
        let limits = Limited::of(&plan);
        Self { plan, climbs, pays_source, aggs, collected, closes, levels, limits }
    }

    /// How far a relation is climbed for a line: for who is paid, and for whom it counts.
    pub(crate) fn climb(&self, relation: Relation) -> u8 {
        let paid = self.climbs.get(&relation).copied().unwrap_or(0);
        if relation == Relation::Referral { paid.max(self.levels) } else { paid }
    }

    /// Units that a refund of so much money stands for, rounded down.
    pub(crate) fn returned(frozen: &Frozen) -> i64 {
        if frozen.net == 0 {
            return 0;
        }
        let units = i128::from(frozen.refunded) * i128::from(frozen.quantity) / i128::from(frozen.net);
        i64::try_from(units).unwrap_or(0)
    }
}

/// Plans that were read: a version never changes.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    known: BTreeMap<(TenantId, u32), Arc<InForce>>,
}

/// Versions of the tenants that some events name, and the switches of their sales.
#[derive(Debug, Default)]
pub(crate) struct Times {
    versions: BTreeMap<TenantId, Vec<(u32, i64)>>,
    switches: BTreeMap<SaleId, Vec<(i64, TenantId, bool)>>,
    /// Whether the shop's commissions are on, from when on.
    shops: BTreeMap<TenantId, Vec<(i64, bool)>>,
}

impl Times {
    /// Reads them.
    pub(crate) async fn read<T: Tx>(
        tx: &mut T,
        texts: &Fixed,
        tenants: &BTreeSet<TenantId>,
        sales: &BTreeSet<SaleId>,
    ) -> Result<Self, SqlError> {
        let mut times = Self::default();
        for tenant in tenants {
            let mut versions = Vec::new();
            for mut row in tx.rows(VERSIONS, vec![tenant.stored().into()]).await? {
                versions.push((row.number()?, row.int()?));
            }
            times.versions.insert(*tenant, versions);
            let shop = times.shops.entry(*tenant).or_default();
            for mut row in tx.rows(SHOP, vec![tenant.stored().into()]).await? {
                shop.push((row.int()?, row.int()? != 0));
            }
        }
        let sales: Vec<i64> = sales.iter().map(|sale| sale.stored()).collect();
        for (query, sales) in texts.padded(&sales) {
            for mut row in tx.rows(query, sales.into_iter().map(Value::from).collect()).await? {
                let sale = row.id(SaleId::new)?;
                let switch = (row.int()?, row.id(TenantId::new)?, row.int()? != 0);
                times.switches.entry(sale).or_default().push(switch);
            }
        }
        Ok(times)
    }

    /// The query of switches.
    pub(crate) fn switches() -> Fixed {
        Fixed::new("SELECT sale, from_ms, tenant, is_on FROM sale_switches WHERE sale IN ([?,]) ORDER BY sale, from_ms")
    }

    /// The version that an order of this moment freezes; `None`: it pays nothing, because there
    /// was no plan, or because its sale or its shop is not switched on.
    pub(crate) fn in_force(&self, tenant: TenantId, sale: SaleId, at_ms: u64) -> Option<u32> {
        let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
        let mut switches = self.switches.get(&sale)?.iter().rev();
        let last = switches.find(|(from, of, _)| *of == tenant && *from <= at_ms);
        let shop = self.shops.get(&tenant).and_then(|shop| shop.iter().find(|(from, _)| *from <= at_ms));
        let is_on = last.is_some_and(|(_, _, is_on)| *is_on) && shop.is_none_or(|(_, is_on)| *is_on);
        let versions = self.versions.get(&tenant)?;
        let version = versions.iter().find(|(_, from)| *from <= at_ms).map(|(version, _)| *version);
        version.filter(|_| is_on)
    }
}

impl Plans {
    /// A published version.
    pub(crate) async fn get<T: Tx>(
        &mut self,
        tx: &mut T,
        tenant: TenantId,
        version: u32,
    ) -> Result<Arc<InForce>, SqlError> {
        if let Some(known) = self.known.get(&(tenant, version)) {
            return Ok(Arc::clone(known));
        }
        let row = tx.rows(DOCUMENT, vec![tenant.stored().into(), version.into()]).await?.into_iter().next();
        let mut row = row.ok_or_else(|| SqlError::Broken(format!("plan version {version} vanished").into()))?;
        let plan = Arc::new(InForce::of(document(&mut row)?));
        self.known.insert((tenant, version), Arc::clone(&plan));
        Ok(plan)
    }
}

/// Reads the column `document`.
pub(crate) fn document(row: &mut Row) -> Result<Plan, SqlError> {
    serde_json::from_str(&row.text()?)
        .map_err(|error| SqlError::Broken(format!("a plan does not read: {error}").into()))
}

/// A plan on its way to publication.
pub(crate) struct New<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) from_ms: u64,
    pub(crate) worst: i64,
    pub(crate) sign_off: Option<&'a str>,
    pub(crate) now_ms: u64,
    pub(crate) who: &'a str,
}

/// Publishes a version; `false`: it is there already.
pub(crate) async fn publish<T: Tx>(tx: &mut T, tenant: TenantId, new: New<'_>) -> Result<bool, SqlError> {
    let document = serde_json::to_string(new.plan).map_err(|error| SqlError::Broken(error.to_string().into()))?;
    let row = vec![
        tenant.stored().into(),
        new.plan.version.into(),
        (&*new.plan.name).into(),
        stored(new.from_ms)?.into(),
        (&*document).into(),
        new.worst.into(),
        Value::text_or_null(new.sign_off),
        stored(new.now_ms)?.into(),
        new.who.into(),
    ];
    tx.insert_absent(PUBLISH, row).await
}
