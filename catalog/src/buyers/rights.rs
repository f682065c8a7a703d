//! What buyers may ask of a shop by law: all that it keeps of them, and that it forgets them. Both
//! are jobs, so that a shop does a year's requests in one call, whatever dies meanwhile. Doing one
//! again changes nothing.

use kit::{
    access::Permission::WriteBuyers,
    api::{Access, Call, Route},
    http::{Body, Mount, Response},
    openapi::IdempotencyKey,
};
use serde::{Deserialize, Serialize};
use store::sql::{Tx, Value, stored};
use utoipa::{OpenApi, ToSchema};

use super::personal::{NO_EXPORTS, NO_PROFILE, WholeBuyer, lock, target};
use crate::{
    document::Created,
    jobs::{self, Counts, End, Flaw, Format, Job, Kind, NewJob, Progress, Shown, Work},
    numbers::Numbered,
    ports::Ports,
    refused::Refused,
    service::Catalog,
    vault::Person,
};

const EXPORT: &str = "buyers_export";
const ERASURE: &str = "buyers_erasure";

/// Buyers of a piece: each has an entry in the audit log, whose end the piece holds.
const PIECE: usize = 50;

const EXPORTS: Numbered = Numbered("buyer_export");

const NEW_EXPORT: &str = "INSERT INTO buyer_exports (tenant, buyer, number, sealed, created_at) VALUES (?, ?, ?, ?, ?)";
const ERASED: &str = "UPDATE buyers SET subject = ?, erased_at = ? WHERE tenant = ? AND buyer = ?";

/// A buyer's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(max_length = 18, pattern = "^[1-9][0-9]{0,17}$", example = "4711")]
pub(crate) struct BuyerNumber(String);

/// Whom it is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuyersAsked {
    /// Their numbers. A person who came as account, by phone and by hashed id has three.
    #[schema(min_items = 1, max_items = 1000)]
    buyers: Vec<BuyerNumber>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Options {
    buyers: Vec<BuyerNumber>,
    /// Of the result, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

/// A line of what an export gives: where the data is, sealed; nothing personal itself.
#[derive(Debug, Serialize)]
struct Exported<'a> {
    buyer: &'a str,
    export: String,
}

#[derive(OpenApi)]
#[openapi(paths(export, erase))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let write = Access::Needs(WriteBuyers);
    vec![
        Mount::post(
            "/v1/buyers/export",
            "export_buyers",
            Route::new(write, |catalog, call| Box::pin(export(catalog, call))),
        ),
        Mount::post(
            "/v1/buyers/erasure",
            "erase_buyers",
            Route::new(write, |catalog, call| Box::pin(erase(catalog, call))),
        ),
    ]
}

/// Their jobs.
pub(super) fn kinds<P: Ports>() -> Vec<Kind<P>> {
    let exported: jobs::Piece<P> = |catalog, job| Box::pin(piece(catalog, job, Right::Export));
    let erased: jobs::Piece<P> = |catalog, job| Box::pin(piece(catalog, job, Right::Erasure));
    vec![
        Kind { name: EXPORT, needs: WriteBuyers, piece: exported },
        Kind { name: ERASURE, needs: WriteBuyers, piece: erased },
    ]
}

/// Makes exports of all that the shop keeps of buyers, as a job.
///
/// `/v1/jobs/{job}/result` says where each one's is. It takes the place of the one before, and goes
/// with an erasure.
#[utoipa::path(
    post, path = "/v1/buyers/export", operation_id = "export_buyers", tag = "buyers",
    security(("merchant" = [])), request_body = BuyersAsked, params(IdempotencyKey),
    responses((status = 202, description = "A job does it.", body = Shown), Created)
)]
async fn export<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    accept(catalog, call, EXPORT, Some(Format::Jsonl)).await
}

/// Erases the personal data of buyers for ever, as a job.
///
/// Their numbers stay, because orders carry them; whoever comes as the same subject is another
/// buyer. Tokens that were given before run on until they end. Erasing again changes nothing.
#[utoipa::path(
    post, path = "/v1/buyers/erasure", operation_id = "erase_buyers", tag = "buyers",
    security(("merchant" = [])), request_body = BuyersAsked, params(IdempotencyKey),
    responses((status = 202, description = "A job does it.", body = Shown), Created)
)]
async fn erase<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    accept(catalog, call, ERASURE, None).await
}

async fn accept<P: Ports>(
    catalog: &Catalog<P>,
    call: &Call<'_>,
    kind: &'static str,
    format: Option<Format>,
) -> Result<Response<Body>, Refused> {
    let BuyersAsked { buyers } = call.json()?;
    let total = u64::try_from(buyers.len()).unwrap_or(u64::MAX);
    jobs::accept(catalog, call, NewJob { kind, options: Options { buyers, format }, input: None, total }).await
}

/// What is done with a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Export,
    Erasure,
}

/// A buyer of a piece.
struct Asked {
    /// Its place in what was asked, from 1.
    line: u64,
    number: i64,
    /// For an export: its number, and the buyer as he was read.
    export: Option<(i64, Result<WholeBuyer, Refused>)>,
}

async fn piece<P: Ports>(catalog: &Catalog<P>, job: &Job, right: Right) -> Result<Option<Job>, Refused> {
    let Options { buyers, .. } = serde_json::from_str(&job.options).map_err(|error| broken(job, &error))?;
    let from = usize::try_from(job.done).unwrap_or(usize::MAX).min(buyers.len());
    let until = from.saturating_add(PIECE).min(buyers.len());
    let mut asked = Vec::new();
    for (line, BuyerNumber(number)) in (job.done + 1..).zip(&buyers[from..until]) {
        let number = number.parse().map_err(|error| broken(job, &error))?;
        let export = match right {
            Right::Erasure => None,
            Right::Export => {
                Some((catalog.numbers().take(EXPORTS).await?, catalog.whole_buyer(job.tenant, number).await))
            }
        };
        asked.push(Asked { line, number, export });
    }
    // All lock buyers in one order.
    asked.sort_by_key(|asked| asked.number);
    let Some(mut work) = jobs::begin(catalog, job).await? else { return Ok(None) };
    let done = u64::try_from(until).unwrap_or(u64::MAX);
    let mut progress = Progress { position: until.to_string(), done, total: job.total, ..Progress::default() };
    for Asked { line, number, export } in asked {
        let result = match export {
            Some((place, whole)) => {
                exported(catalog, &mut work, (job.tenant, number, place), whole, &mut progress).await
            }
            None => erased(catalog, &mut work, (job.tenant, number), &mut progress.counts).await,
        };
        match result {
            // There is no such buyer, or he was erased.
            Err(Refused::Problem(problem)) => {
                progress.counts.failed += 1;
                progress.flaws.push(Flaw { line, field: "buyers".to_owned(), message: problem.detail.to_string() });
            }
            result => result?,
        }
    }
    progress.end = (until == buyers.len()).then_some(End::Done);
    work.commit(progress).await
}

fn broken(job: &Job, error: &dyn std::fmt::Display) -> Refused {
    Refused::Broken(format!("the options of job {} do not read: {error}", job.number))
}

async fn exported<P: Ports, T: Tx>(
    catalog: &Catalog<P>,
    work: &mut Work<T>,
    (tenant, number, export): (u32, i64, i64),
    whole: Result<WholeBuyer, Refused>,
    progress: &mut Progress,
) -> Result<(), Refused> {
    let whole = whole?;
    let buyer = lock(&mut work.tx, tenant, number).await?.present()?;
    let text = serde_json::to_string(&whole).map_err(|error| Refused::Broken(error.to_string()))?;
    let sealed = catalog.vault().seal(&mut work.tx, catalog.random(), (tenant, Person::Buyer(number)), &text).await?;
    work.tx.exec(NO_EXPORTS, vec![tenant.into(), number.into()]).await?;
    let made = stored(work.now_ms)?;
    let row = vec![tenant.into(), number.into(), export.into(), sealed.into(), made.into()];
    work.tx.exec(NEW_EXPORT, row).await?;
    work.record("buyer.export", target(number), None, Some(&buyer))?;
    let line = Exported { buyer: &number.to_string(), export: format!("/v1/buyers/{number}/exports/{export}") };
    serde_json::to_writer(&mut progress.output, &line).map_err(|error| Refused::Broken(error.to_string()))?;
    progress.output.push(b'\n');
    progress.counts.made += 1;
    Ok(())
}

async fn erased<P: Ports, T: Tx>(
    catalog: &Catalog<P>,
    work: &mut Work<T>,
    (tenant, number): (u32, i64),
    counts: &mut Counts,
) -> Result<(), Refused> {
    let before = lock(&mut work.tx, tenant, number).await?;
    if before.is_erased() {
        counts.unchanged += 1;
        return Ok(());
    }
    let key: [Value; 2] = [tenant.into(), number.into()];
    catalog.vault().erase(&mut work.tx, tenant, Person::Buyer(number)).await?;
    work.tx.exec(NO_PROFILE, key.to_vec()).await?;
    work.tx.exec(NO_EXPORTS, key.to_vec()).await?;
    // No digest has a colon: nobody is found by this.
    let subject = format!("erased:{number}");
    let [tenant, buyer] = key;
    work.tx.exec(ERASED, vec![subject.as_str().into(), stored(work.now_ms)?.into(), tenant, buyer]).await?;
    let after = before.erased(work.now_ms);
    work.record("buyer.erase", target(number), Some(&before), Some(&after))?;
    counts.changed += 1;
    Ok(())
}
