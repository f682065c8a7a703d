//! From terms to what is published. The row of a sale says that its terms are due, in the
//! transaction that changes them; then the ledger's database decides by compare-and-set; then the
//! row says what is published. Whoever dies between these is followed by the next round, and doing
//! a step again changes nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
    time::Duration,
};

use domain::{
    id::{LaneId, PartitionId, SaleId},
    sale::Sale,
};
use kit::clock::Clock as _;
use store::{
    publications::Published,
    sql::{Fixed, Row, Sql as _, SqlError, Tx as _, Value, stored},
};

use super::{
    LANES, OFFERS, SALES,
    row::{Kept, read_terms},
    terms::Terms,
};
use crate::{
    failpoint::{Failpoint, Step},
    flaw::Flaw,
    memory::Mark,
    ports::Ports,
    products::rules::Flaws,
    publish::plan,
    refused::Refused,
    service::Catalog,
    tenants,
};

/// Sales that one round publishes, and takes in.
const ROUND_MAX: u32 = 500;

/// Numbers beyond are no count of anybody's: whoever chose them chose at random.
const COUNTED_MAX: i64 = 1 << 40;

const DUE: &str = "SELECT tenant, sale FROM sales WHERE is_due = 1 ORDER BY sale LIMIT ?";
const CONFIRM: &str = "UPDATE sales SET published = ?, is_due = 0 WHERE tenant = ? AND sale = ? AND version = ?";
const BACK: &str = "UPDATE sales SET is_due = 0 WHERE tenant = ? AND sale = ? AND version = ?";
const KNOWN: &str = "SELECT sale, published, is_due FROM sales";
static KNOWN_OF: LazyLock<Fixed> = LazyLock::new(|| Fixed::new(format!("{KNOWN} WHERE sale IN ([?,])")));

/// How often all that is published is compared: a program of before does not say when it published.
const WHOLE_EVERY: Duration = Duration::from_mins(1);
/// What is written is committed within this time, in any order.
const OVERLAP_MS: u64 = 30_000;

/// The actor of versions that came past this service.
const PUBLICATION: &str = "publication";

/// The sale that terms come to, after the version of it that is published. It looks at no other
/// sale: what a publication costs does not depend on how many there are.
///
/// # Errors
/// `invalid_request` that names every rule that they break.
pub(super) fn planned<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, sale): (u32, i64),
    terms: &Terms,
    known: Option<&Sale>,
) -> Result<Sale, Refused> {
    let partitions = catalog.selling().partitions;
    let mut draft = terms.draft((tenant, sale), None)?;
    for lane in &mut draft.lanes {
        let home = known.and_then(|known| known.lanes.iter().find(|home| home.id == lane.id));
        lane.partition = Some(home.map_or_else(|| in_turn(lane.id, partitions), |home| home.partition));
    }
    plan(&draft, known.map_or(&[], std::slice::from_ref), partitions, catalog.clock().now_ms())
        .map_err(|flaws| refused(&flaws))
}

/// Lanes are numbered one after the other, so that their numbers spread them over the partitions.
fn in_turn(lane: LaneId, partitions: u32) -> PartitionId {
    let turn = lane.get() % u64::from(partitions.max(1));
    PartitionId(u32::try_from(turn).unwrap_or(0))
}

/// Refuses a sale with a number that is another's.
///
/// # Errors
/// `conflict`; [`Refused::Sql`].
pub(super) async fn nobody_elses<P: Ports>(catalog: &Catalog<P>, record: &Sale) -> Result<(), Refused> {
    let contradictions = catalog.selling().ledger.publications().contradictions(record).await?;
    if contradictions.is_empty() { Ok(()) } else { Err(taken()) }
}

fn taken() -> Refused {
    Refused::conflict("a sale file took a number of this sale, or published it; look at it again, or clone it")
}

fn refused(flaws: &[Flaw]) -> Refused {
    let is_taken = |flaw: &Flaw| flaw.field == "tenant" || flaw.field == "version" || flaw.field.ends_with(".id");
    if flaws.iter().any(is_taken) {
        return taken();
    }
    let mut named = Flaws::default();
    flaws.iter().for_each(|flaw| named.add(flaw.field.clone(), flaw.message.clone()));
    named.refuse().err().unwrap_or_else(|| Refused::Broken("a plan without flaws was refused".into()))
}

/// Publishes the terms of a sale that are due, and says so in its row.
///
/// # Errors
/// [`Refused::Sql`] when a database fails; the next round goes on.
pub(super) async fn deliver<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64) -> Result<(), Refused> {
    let selling = catalog.selling();
    let publications = selling.ledger.publications();
    loop {
        let kept = Kept::find(catalog.sql(), tenant, sale).await?;
        if !kept.is_due {
            return Ok(());
        }
        let known = publications.find(id_of(sale)?).await?;
        let known_version = known.as_ref().map_or(0, |known| known.version);
        let asked = planned(catalog, (tenant, sale), &kept.terms, known.as_ref()).ok();
        let done = match asked {
            // Our own, of which the row has not heard yet.
            Some(asked) if known.as_ref() == Some(&asked) => Some(asked),
            Some(asked) if known_version == kept.published => {
                let expected = (known_version > 0).then_some(known_version);
                match publications.publish(&asked, expected).await? {
                    Published::Done => Some(asked),
                    Published::Lost(_) => None,
                }
            }
            _ => None,
        };
        let Some(done) = done else {
            // Somebody else published it meanwhile: what is published holds.
            let Some(found) = publications.find(id_of(sale)?).await? else {
                // Nothing of it is published: it is a draft again.
                catalog.sql().exec(BACK, vec![tenant.into(), sale.into(), stored(kept.version)?.into()]).await?;
                return Err(Refused::conflict("a number of the sale is taken by now: clone it, and publish the clone"));
            };
            return take_in(catalog, &found).await;
        };
        Failpoint::of_actions().reach(Step::Published);
        if let Err(error) = publications.feed(&selling.topic).await {
            tracing::warn!(%error, sale, "a sale is published, and the topic lacks it still; it gets there by itself");
        }
        let row = vec![done.version.into(), tenant.into(), sale.into(), stored(kept.version)?.into()];
        if catalog.sql().exec(CONFIRM, row).await? > 0 {
            Failpoint::of_actions().reach(Step::Confirmed);
            return Ok(());
        }
        // The terms changed meanwhile: they are due as well.
        note_published(catalog, tenant, sale, done.version).await?;
    }
}

/// The row has changed since its terms were read: only the version that is published is noted.
async fn note_published<P: Ports>(catalog: &Catalog<P>, tenant: u32, sale: i64, version: u32) -> Result<(), Refused> {
    const NOTE: &str = "UPDATE sales SET published = ? WHERE tenant = ? AND sale = ? AND published < ?";
    let row = vec![version.into(), tenant.into(), sale.into(), version.into()];
    catalog.sql().exec(NOTE, row).await?;
    Ok(())
}

/// Publishes what is due.
///
/// # Errors
/// [`Refused::Sql`]; the next round goes on.
pub(super) async fn round<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    for mut row in catalog.sql().rows(DUE, vec![ROUND_MAX.into()]).await? {
        let (tenant, sale) = (row.number()?, row.int()?);
        if let Err(error) = deliver(catalog, tenant, sale).await {
            tracing::warn!(%error, tenant, sale, "a sale is not published yet; it is tried again");
        }
    }
    Ok(())
}

/// Takes in what was published past this service lately; now and then it compares all.
///
/// # Errors
/// [`Refused::Sql`]; the next call goes on.
pub(super) async fn follow<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let (now, mark) = (catalog.clock().monotonic(), catalog.memory().followed.get());
    let Some(mark) = mark.filter(|mark| now.saturating_sub(mark.whole_at) < WHOLE_EVERY) else {
        return adopt(catalog).await;
    };
    let publications = catalog.selling().ledger.publications();
    let changed = publications.changed_since(mark.known_ms.saturating_sub(OVERLAP_MS)).await?;
    let sales: Vec<i64> = changed.versions.iter().map(|(sale, _)| sale.stored()).collect();
    let mut known = Vec::new();
    for (query, sales) in KNOWN_OF.padded(&sales) {
        known.extend(catalog.sql().rows(query, sales.into_iter().map(Value::from).collect()).await?);
    }
    take_up(catalog, changed.versions, known).await?;
    let known_ms = changed.last_ms.map_or(mark.known_ms, |last_ms| last_ms.max(mark.known_ms));
    catalog.memory().followed.set(Mark { known_ms, ..mark });
    Ok(())
}

/// Takes in all that was published past this service: by sale files, or before it knew of sales.
///
/// # Errors
/// [`Refused::Sql`]; the next call goes on.
pub async fn adopt<P: Ports>(catalog: &Catalog<P>) -> Result<(), Refused> {
    let ledger = &catalog.selling().ledger;
    let mark = Mark { whole_at: catalog.clock().monotonic(), known_ms: ledger.now_ms().await? };
    let published = ledger.publications().versions().await?;
    let known = catalog.sql().rows(KNOWN, vec![]).await?;
    take_up(catalog, published, known).await?;
    catalog.memory().followed.set(mark);
    Ok(())
}

/// Takes in those of these versions that are news; `known`: rows of [`KNOWN`], those of these sales
/// among them.
async fn take_up<P: Ports>(
    catalog: &Catalog<P>,
    published: Vec<(SaleId, u32)>,
    known: Vec<Row>,
) -> Result<(), Refused> {
    let known = known.into_iter().map(|mut row| Ok((row.int()?, (row.number::<u32>()?, row.int()? != 0))));
    let known: HashMap<i64, (u32, bool)> = known.collect::<Result<_, SqlError>>()?;
    // What is due is compared when it is published.
    let is_news = |(sale, version): &&(SaleId, u32)| {
        known.get(&sale.stored()).is_none_or(|(known, is_due)| known < version && !is_due)
    };
    for (sale, _) in published.iter().filter(is_news) {
        // One that cannot be read or taken in holds up no other.
        if let Err(error) = adopt_one(catalog, *sale, known.contains_key(&sale.stored())).await {
            tracing::warn!(%error, %sale, "a published sale is not taken in yet; it is tried again");
        }
    }
    Ok(())
}

async fn adopt_one<P: Ports>(catalog: &Catalog<P>, sale: SaleId, is_known: bool) -> Result<(), Refused> {
    let Some(found) = catalog.selling().ledger.publications().find(sale).await? else { return Ok(()) };
    if is_known {
        return take_in(catalog, &found).await;
    }
    begin_above(catalog, &found).await?;
    // Its shop may be known by this sale alone.
    tenants::adopt(catalog, &BTreeSet::from([found.tenant.number()])).await?;
    import(catalog, &found).await
}

/// Numbers of ours begin above those that are counted elsewhere.
async fn begin_above<P: Ports>(catalog: &Catalog<P>, sale: &Sale) -> Result<(), Refused> {
    let lanes = sale.lanes.iter().map(|lane| (LANES, lane.id.stored()));
    let offers = sale.offers().map(|(_, offer)| (OFFERS, offer.id.stored()));
    let mut highest = HashMap::new();
    for (kind, number) in lanes.chain(offers).chain([(SALES, sale.id.stored())]) {
        if number < COUNTED_MAX {
            let known = highest.entry(kind).or_insert(number);
            *known = number.max(*known);
        }
    }
    for (kind, number) in highest {
        catalog.numbers().begin_at(kind, number + 1).await?;
    }
    Ok(())
}

/// A sale that this service did not know, as a row of its own.
async fn import<P: Ports>(catalog: &Catalog<P>, found: &Sale) -> Result<(), Refused> {
    let now_ms = catalog.clock().now_ms();
    let mut kept = Kept {
        sale: found.id.stored(),
        code: found.id.to_string(),
        is_template: false,
        terms: Terms::of(found, None),
        version: 1,
        published: found.version,
        is_due: false,
        is_owed: false,
        is_settled: false,
        created_at: now_ms,
        updated_at: now_ms,
    };
    let mut tx = catalog.sql().begin().await?;
    let (tenant, by) = (found.tenant.number(), ("sale.import", PUBLICATION));
    let mut is_there = kept.insert(&mut tx, tenant, by).await?;
    if !is_there {
        kept.code = format!("sale-{}", found.id);
        is_there = kept.insert(&mut tx, tenant, by).await?;
    }
    tx.commit().await?;
    if !is_there {
        tracing::warn!(sale = %found.id, "a published sale has no row here: its code or number is taken");
    }
    Ok(())
}

/// A later version of a sale, which came past this service: its terms hold from now on.
async fn take_in<P: Ports>(catalog: &Catalog<P>, found: &Sale) -> Result<(), Refused> {
    let (tenant, sale) = (found.tenant.number(), found.id.stored());
    let mut tx = catalog.sql().begin().await?;
    let kept = Kept::lock(&mut tx, tenant, sale).await?;
    if kept.published >= found.version && !kept.is_due {
        tx.rollback().await;
        return Ok(());
    }
    let terms = Terms::of(found, Some(&kept.terms));
    let (version, updated_at) = (kept.version + 1, catalog.clock().now_ms());
    let next = Kept { terms, version, published: found.version, is_due: false, updated_at, ..kept };
    next.save(&mut tx, tenant, ("sale.import", PUBLICATION)).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) fn id_of(sale: i64) -> Result<SaleId, SqlError> {
    SaleId::new(sale.cast_unsigned()).map_err(|error| SqlError::Broken(error.to_string().into()))
}

/// The terms of a version of a sale.
///
/// # Errors
/// `not_found`; [`Refused::Sql`].
pub(super) async fn terms_of<P: Ports>(
    catalog: &Catalog<P>,
    (tenant, sale, version): (u32, i64, u64),
) -> Result<Terms, Refused> {
    const TERMS: &str = "SELECT terms FROM sale_versions WHERE tenant = ? AND sale = ? AND version = ?";
    let rows = catalog.sql().rows(TERMS, vec![tenant.into(), sale.into(), stored(version)?.into()]).await?;
    let mut row = rows.into_iter().next().ok_or_else(|| Refused::not_found("version of the sale"))?;
    Ok(read_terms(&row.text()?)?)
}
