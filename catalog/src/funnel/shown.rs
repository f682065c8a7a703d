//! Rows, as routes show them. Queries are by the sale's number, which is one of its own in the
//! deployment: whoever asks has found it among the tenant's sales first.

use std::collections::BTreeMap;

use domain::counts::{Counts, Step};
use kit::clock::rfc3339;
use serde::Serialize;
use store::sql::{Row, Sql, SqlError, Value, stored};
use utoipa::ToSchema;

use super::{SECOND, WHOLE, book};

/// Seconds of offers in an event, at most: the newest.
const SECONDS_MAX: u32 = 1_200;

const REVISION: &str = "SELECT revision FROM funnel_sales WHERE sale = ?";
const TOTALS: &str = "SELECT offer, counts FROM funnel_counts WHERE sale = ? AND width = 0 AND at_s = 0";
const SERIES: &str =
    "SELECT offer, at_s, counts FROM funnel_counts WHERE sale = ? AND width = ? AND at_s >= ? AND at_s < ?";
const OF_OFFER: &str = " AND offer = ?";
const CHANGED_TOTALS: &str =
    "SELECT offer, counts FROM funnel_counts WHERE sale = ? AND width = ? AND revision > ? ORDER BY offer";
const CHANGED: &str = "SELECT offer, at_s, counts FROM funnel_counts WHERE sale = ? AND width = ? AND revision > ? \
                       ORDER BY revision DESC, at_s DESC LIMIT ?";

/// How many came to each step. Steps count purchases, where they do not say units.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Figures {
    /// Came with a token of the shop.
    arrived: u64,
    /// Passed admission.
    admitted: u64,
    /// Were known, and got their first order.
    repeated: u64,
    /// Were refused, by the code that the buyer got.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    refused: BTreeMap<&'static str, u64>,
    /// Were promised units.
    reserved: u64,
    /// Units of those.
    reserved_units: u64,
    /// Units of accepted orders, by the ledger.
    accepted_units: u64,
    /// Units of paid orders.
    paid_units: u64,
    /// Units that came back, by the ledger. At rest, accepted less released units are sold.
    released_units: u64,
}

impl From<&Counts> for Figures {
    fn from(counts: &Counts) -> Self {
        let refused = Step::ALL.iter().filter(|step| step.is_refusal() && counts.get(**step) > 0);
        Self {
            arrived: counts.get(Step::Arrived),
            admitted: counts.get(Step::Admitted),
            repeated: counts.get(Step::Repeated),
            refused: refused.map(|step| (step.name(), counts.get(*step))).collect(),
            reserved: counts.get(Step::Reserved),
            reserved_units: counts.get(Step::ReservedUnits),
            accepted_units: counts.get(Step::AcceptedUnits),
            paid_units: counts.get(Step::PaidUnits),
            released_units: counts.get(Step::ReleasedUnits),
        }
    }
}

/// A step of a series.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Point {
    /// When it begins, RFC 3339.
    at: String,
    #[serde(flatten)]
    #[schema(inline)]
    figures: Figures,
}

/// An offer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OfferFunnel {
    /// Its number.
    offer: String,
    /// Since the sale began.
    totals: Figures,
    /// Steps in which something happened.
    series: Vec<Point>,
}

/// What changed of an offer's whole.
#[derive(Debug, Serialize)]
struct ChangedTotals {
    offer: String,
    totals: Figures,
}

/// What changed of a second of an offer.
#[derive(Debug, Serialize)]
struct ChangedSecond {
    offer: String,
    #[serde(flatten)]
    point: Point,
}

/// What changed of a sale: figures as they are now, to be put in the place of those before.
#[derive(Debug, Serialize)]
pub(super) struct Changes {
    sale: String,
    /// As of which revision.
    revision: i64,
    offers: Vec<ChangedTotals>,
    seconds: Vec<ChangedSecond>,
    /// Older seconds changed too; the funnel's own route shows them.
    has_more: bool,
}

/// What series are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) sale: i64,
    pub(super) width: u64,
    /// Seconds since 1970.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Only of this one.
    pub(super) offer: Option<i64>,
    /// Steps of offers, at most.
    pub(super) points_max: u32,
}

/// The sale's revision; 0 where nothing is counted.
pub(super) async fn revision<S: Sql>(db: &S, sale: i64) -> Result<i64, SqlError> {
    let row = db.rows(REVISION, vec![sale.into()]).await?.into_iter().next();
    row.map_or(Ok(0), |mut row| row.int())
}

/// All offers of which something is counted, by number; `None` where there are more steps than
/// asked for.
pub(super) async fn offers<S: Sql>(db: &S, asked: Asked) -> Result<Option<Vec<OfferFunnel>>, SqlError> {
    let Asked { sale, width, from, to, offer, points_max } = asked;
    let filter = if offer.is_some() { OF_OFFER } else { "" };
    let of_offer = offer.map(Value::from);
    let mut params = vec![sale.into(), stored(width)?.into(), stored(from)?.into(), stored(to)?.into()];
    params.extend(of_offer.clone());
    params.push((points_max + 1).into());
    let rows = db.rows(&format!("{SERIES}{filter} ORDER BY at_s, offer LIMIT ?"), params).await?;
    if rows.len() > usize::try_from(points_max).unwrap_or(usize::MAX) {
        return Ok(None);
    }
    let mut series: BTreeMap<i64, Vec<Point>> = BTreeMap::new();
    for mut row in rows {
        let (offer, point) = (row.int()?, point(&mut row)?);
        series.entry(offer).or_default().push(point);
    }
    // After the series: what is in them is in the totals.
    let params = [sale.into()].into_iter().chain(of_offer).collect();
    let totals = db.rows(&format!("{TOTALS}{filter} ORDER BY offer"), params).await?;
    let offers = totals.into_iter().map(|mut row| {
        let (offer, counts) = (row.int()?, book::read(&mut row)?);
        let series = series.remove(&offer).unwrap_or_default();
        Ok(OfferFunnel { offer: offer.to_string(), totals: Figures::from(&counts), series })
    });
    offers.collect::<Result<_, SqlError>>().map(Some)
}

/// The revision now, and what changed after this one, everything where there is none; `None` where
/// nothing did.
pub(super) async fn changes<S: Sql>(db: &S, sale: i64, seen: Option<i64>) -> Result<Option<(i64, Changes)>, SqlError> {
    // Before the rows: what changes meanwhile comes again with the next ones.
    let revision = revision(db, sale).await?;
    if seen == Some(revision) {
        return Ok(None);
    }
    // A revision to come is of another database.
    let after = seen.filter(|seen| *seen < revision).unwrap_or(-1);
    let params = |width| Ok::<_, SqlError>(vec![sale.into(), stored(width)?.into(), after.into()]);
    let mut limited = params(SECOND)?;
    limited.push((SECONDS_MAX + 1).into());
    let mut seconds = db.rows(CHANGED, limited).await?;
    let has_more = seconds.len() > SECONDS_MAX as usize;
    seconds.truncate(SECONDS_MAX as usize);
    let seconds =
        seconds.into_iter().map(|mut row| Ok(ChangedSecond { offer: row.int()?.to_string(), point: point(&mut row)? }));
    let seconds = seconds.collect::<Result<_, SqlError>>()?;
    let totals = db.rows(CHANGED_TOTALS, params(WHOLE)?).await?.into_iter().map(|mut row| {
        Ok(ChangedTotals { offer: row.int()?.to_string(), totals: Figures::from(&book::read(&mut row)?) })
    });
    let offers = totals.collect::<Result<_, SqlError>>()?;
    Ok(Some((revision, Changes { sale: sale.to_string(), revision, offers, seconds, has_more })))
}

fn point(row: &mut Row) -> Result<Point, SqlError> {
    let at: u64 = row.number()?;
    Ok(Point { at: rfc3339(at.saturating_mul(1_000)), figures: Figures::from(&book::read(row)?) })
}
