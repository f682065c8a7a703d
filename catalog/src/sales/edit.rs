//! A change of a sale, of whatever kind: one transaction with its stock, its version and its entry
//! of the audit log; then what is due is published.

use kit::{
    api::{Call, tagged},
    http::{Body, Response, StatusCode, reply, wrong_parameter},
};
use store::sql::{Sql, Tx, stored};

use super::{
    bodies::{DryRun, SaleChange, moment, window},
    check,
    history::{Difference, differences},
    life::Step,
    publishing::{deliver, id_of, nobody_elses, planned},
    resolve::{self, Fresh},
    row::{Kept, shown_of},
    setting::Setting,
    settle::take,
    terms::Terms,
};
use crate::{
    change::{Answer, Begun, Change},
    plans::{Quota, Room},
    ports::Ports,
    products::rules::Flaws,
    readiness::Finding,
    refused::Refused,
    service::Catalog,
    stock::By,
};

/// What is done to the terms of a sale.
pub(super) enum Edit {
    Change(SaleChange, Fresh),
    Publish,
    Pause(bool),
    Close,
    Set(Setting),
}

impl Edit {
    fn step(&self) -> Step {
        match self {
            Self::Change(..) | Self::Set(_) => Step::Change,
            Self::Publish => Step::Publish,
            Self::Pause(true) => Step::Pause,
            Self::Pause(false) => Step::Resume,
            Self::Close => Step::Close,
        }
    }

    /// Whether more offers may sell than before.
    fn may_add_offers(&self) -> bool {
        matches!(self, Self::Publish) || matches!(self, Self::Change(asked, _) if asked.lanes.is_some())
    }

    async fn of<T: Tx>(self, change: &mut Change<T>, before: &Kept) -> Result<Terms, Refused> {
        let mut terms = before.terms.clone();
        match self {
            Self::Publish => {}
            Self::Set(setting) => setting.apply(&mut terms)?,
            Self::Pause(paused) => terms.paused = paused,
            Self::Close => {
                // Closed before it opened, it was open for no moment.
                terms.opens_at = terms.opens_at.min(change.now_ms.saturating_sub(1));
                terms.closes_at = change.now_ms;
            }
            Self::Change(asked, fresh) => {
                let (opens_at, closes_at) = window(asked.opens_at.as_deref(), asked.closes_at.as_deref())?;
                terms.title = asked.title.map_or(terms.title, |title| title.0);
                terms.opens_at = opens_at.unwrap_or(terms.opens_at);
                terms.closes_at = closes_at.unwrap_or(terms.closes_at);
                terms.buyer_rate_per_s = asked.buyer_rate_per_s.unwrap_or(terms.buyer_rate_per_s);
                terms.limit_by = asked.limit_by.unwrap_or(terms.limit_by);
                terms.members_only = asked.members_only.unwrap_or(terms.members_only);
                if let Some(visible_from) = asked.visible_from {
                    terms.visible_from = moment("visible_from", visible_from.as_deref())?;
                }
                terms.payment_window_s = asked.payment_window_s.unwrap_or(terms.payment_window_s);
                terms.fulfilment = asked.fulfilment.unwrap_or(terms.fulfilment);
                terms.after_sale_days = asked.after_sale_days.unwrap_or(terms.after_sale_days);
                if let Some(lanes) = asked.lanes {
                    let tenant = change.tenant();
                    terms.lanes = resolve::lanes(&mut change.tx, tenant, lanes, Some(&before.terms), fresh).await?;
                }
            }
        }
        Ok(terms)
    }
}

pub(super) async fn edit<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    edit: Edit,
) -> Result<Response<Body>, Refused> {
    let (tenant, sale): (u32, i64) = (call.actor.tenant, call.part("sale")?);
    let (expected, step) = (call.expected_version()?, edit.step());
    let is_dry = step == Step::Publish && dry_run(call)?;
    // Looked at before the transaction: it reads much, and locks nothing.
    let before = Kept::find(catalog.sql(), tenant, sale).await?;
    let red = match step {
        Step::Publish => check::before_publishing(catalog, tenant, &before).await?,
        _ => Vec::new(),
    };
    let change = match catalog.begin(call).await? {
        Begun::Fresh(change) => change,
        Begun::Repeated(response) => return Ok(response),
    };
    apply(catalog, change, sale, Asked { edit, expected, is_dry, red }).await
}

/// What is asked for, and of which version.
pub(super) struct Asked {
    pub(super) edit: Edit,
    pub(super) expected: Option<u64>,
    pub(super) is_dry: bool,
    /// What refuses it.
    pub(super) red: Vec<Finding>,
}

/// Does it in this change, and publishes what is due by it.
///
/// # Errors
/// `not_found`, `conflict`, `precondition_failed`, `quota_exceeded`; [`Refused::Sql`].
pub(super) async fn apply<P: Ports>(
    catalog: &Catalog<P>,
    mut change: Change<<P::Sql as Sql>::Tx>,
    sale: i64,
    asked: Asked,
) -> Result<Response<Body>, Refused> {
    let Asked { edit, expected, is_dry, red } = asked;
    let (tenant, step) = (change.tenant(), edit.step());
    let room = if edit.may_add_offers() { Some(Room::of(&mut change.tx, tenant).await?) } else { None };
    let before = Kept::lock(&mut change.tx, tenant, sale).await?;
    let shown = before.shown(change.now_ms);
    Refused::unless_seen(expected, before.version, &shown)?;
    step.allowed(before.state(change.now_ms))?;
    check::refuse(&red)?;
    let terms = edit.of(&mut change, &before).await?;
    let is_to_publish = step == Step::Publish || before.is_published();
    if terms == before.terms && step != Step::Publish {
        if change.has_entries() {
            // What stands in it already is wanted for itself.
            return change.commit(Answer::ok(&shown)?).await;
        }
        return Ok(tagged(reply::json(StatusCode::OK, &shown), before.version));
    }
    if let Some(room) = room.filter(|_| is_to_publish) {
        let now_ms = stored(change.now_ms)?;
        let [had, has] = [&before.terms, &terms].map(|terms| terms.offers().count());
        let is_new = step == Step::Publish;
        room.has(&mut change.tx, Quota::Sales(now_ms), usize::from(is_new)).await?;
        let more = if is_new { has } else { has.saturating_sub(had) };
        room.has(&mut change.tx, Quota::Offers(now_ms), more).await?;
    }
    let (after, changes) = after(catalog, &mut change, (&before, terms, is_to_publish)).await?;
    let shown_after = after.shown(change.now_ms);
    if is_dry {
        // Dropped, the change is rolled back.
        return Ok(reply::json(StatusCode::OK, &DryRun { sale: shown_after, changes }));
    }
    let actor = change.who().to_string();
    after.save(&mut change.tx, tenant, (step.action(), &actor)).await?;
    change.record(step.action(), format!("sale:{sale}"), Some(&shown), Some(&shown_after))?;
    let answer = change.commit(Answer::ok(&shown_after)?).await?;
    if !is_to_publish {
        return Ok(tagged(answer, after.version));
    }
    if let Err(error) = deliver(catalog, tenant, sale).await {
        tracing::warn!(%error, tenant, sale, "a sale is not published yet; it is tried again");
    }
    shown_of(catalog, tenant, sale).await
}

/// The sale with other terms, when no rule of a sale and nothing published is broken; its stock is
/// taken. Beside it what it changes against what is published.
async fn after<P: Ports>(
    catalog: &Catalog<P>,
    change: &mut Change<<P::Sql as Sql>::Tx>,
    (before, terms, is_to_publish): (&Kept, Terms, bool),
) -> Result<(Kept, Vec<Difference>), Refused> {
    let (tenant, sale) = (change.tenant(), before.sale);
    valid((tenant, sale), &terms)?;
    let (version, updated_at) = (before.version + 1, change.now_ms);
    let mut after = Kept { terms, version, updated_at, is_due: is_to_publish, ..before.clone() };
    let mut changes = Vec::new();
    if is_to_publish {
        same_sources(before, &after)?;
        let known = catalog.selling().ledger.publications().find(id_of(sale)?).await?;
        let record = planned(catalog, (tenant, sale), &after.terms, known.as_ref())?;
        nobody_elses(catalog, &record).await?;
        let known = known.map(|known| json(&Terms::of(&known, Some(&before.terms)))).transpose()?;
        differences(String::new(), known.as_ref(), Some(&json(&after.terms)?), &mut changes);
        let by = By { tenant, actor: change.who().to_string(), now_ms: stored(change.now_ms)? };
        after.is_owed = take(&mut change.tx, &by, &after).await?;
    }
    Ok((after, changes))
}

fn dry_run(call: &Call<'_>) -> Result<bool, Refused> {
    match call.query(&["dry_run"])?.get("dry_run") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong_parameter("dry_run", "give true or false").into()),
    }
}

fn json(terms: &Terms) -> Result<serde_json::Value, Refused> {
    serde_json::to_value(terms).map_err(|error| Refused::Broken(error.to_string()))
}

/// The rules of a sale by itself.
pub(super) fn valid((tenant, sale): (u32, i64), terms: &Terms) -> Result<(), Refused> {
    let mut flaws = Flaws::default();
    if let Err(found) = terms.draft((tenant, sale), None)?.flaws() {
        found.into_iter().for_each(|flaw| flaws.add(flaw.field, flaw.message));
    }
    flaws.refuse()
}

/// Units of an offer come from one warehouse as long as it sells.
fn same_sources(before: &Kept, after: &Kept) -> Result<(), Refused> {
    let mut flaws = Flaws::default();
    if before.is_published() {
        for (place, lane) in after.terms.lanes.iter().enumerate() {
            for (at, offer) in lane.offers.iter().enumerate() {
                let known = before.terms.offers().find(|known| known.id == offer.id);
                if known.is_some_and(|known| known.warehouse != offer.warehouse) {
                    flaws.add(
                        format!("lanes[{place}].offers[{at}].warehouse"),
                        "sells another warehouse's stock already; add the SKU in another lane for this one",
                    );
                }
            }
        }
    }
    flaws.refuse()
}
