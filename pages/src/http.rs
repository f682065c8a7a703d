//! The routes, for the service that mounts them, with what the OpenAPI document says of them.

use std::{sync::Arc, time::Duration};

use domain::id::{SaleId, TenantId};
use kit::{
    clock::{Clock, Moment},
    http::{Asked, Body, Method, Mount, PageAsked, Query, Response, Service, of_tenant, wrong_parameter},
    metrics::IntGauge,
    openapi::{Responses, refusals},
    problem::{Code, PreparedProblem, Problem},
};
use utoipa::{IntoResponses, OpenApi};

use crate::{
    coding::Accepted,
    cursor,
    cursor::Key,
    sales::{Sales, Shown, is_visible},
    shared::Pages,
    wire::{Sale, SaleList},
    written::Written,
};

/// When to come back to a process that many pages leave.
const BUSY_AFTER: Duration = Duration::from_secs(1);
/// When to come back for a page that could not be checked.
const UNCHECKED_AFTER: Duration = Duration::from_secs(2);

/// The routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `GET /v1/sales`.
    List,
    /// `GET /v1/sales/{sale_id}`.
    Sale,
}

/// What shoppers read.
pub struct Reads<V: Sales, C> {
    sales: Arc<V>,
    pages: Arc<Pages<V::Shown>>,
    clock: C,
    /// Purchases under way in this process, to which pages yield.
    purchases: IntGauge,
    refusals: Arc<Refusals>,
}

/// Refusals, rendered once.
struct Refusals {
    busy: PreparedProblem,
    unchecked: PreparedProblem,
}

impl<V: Sales, C: Clock> Clone for Reads<V, C> {
    fn clone(&self) -> Self {
        Self {
            sales: Arc::clone(&self.sales),
            pages: Arc::clone(&self.pages),
            clock: self.clock.clone(),
            purchases: self.purchases.clone(),
            refusals: Arc::clone(&self.refusals),
        }
    }
}

impl<V: Sales, C: Clock> Reads<V, C> {
    /// The pages of what is on sale. `purchases`: those under way in this process.
    pub fn new(sales: Arc<V>, pages: Arc<Pages<V::Shown>>, clock: C, purchases: IntGauge) -> Self {
        let later = |code, detail: &'static str, after| Problem::new(code, detail).with_retry_after(after).into();
        let refusals = Refusals {
            busy: later(Code::Overloaded, "too many pages of sales at once", BUSY_AFTER),
            unchecked: later(Code::TemporarilyUnavailable, "the sale cannot be read now", UNCHECKED_AFTER),
        };
        Self { sales, pages, clock, purchases, refusals: Arc::new(refusals) }
    }

    fn unchecked(&self) -> Response<Body> {
        refused(Code::TemporarilyUnavailable, self.refusals.unchecked.response())
    }

    async fn read(&self, wanted: &Wanted<V::Shown>) -> Option<Arc<Written>> {
        let now = Moment::of(&self.clock);
        match wanted {
            Wanted::Page(sale) => self.pages.page(&**sale, now).await,
            Wanted::List(tenant, limit, after) => self.pages.list((&*self.sales, *tenant), (*limit, *after), now).await,
        }
    }

    /// The answer, when its turn comes.
    async fn send(&self, asked: &Asked<'_>, wanted: &Wanted<V::Shown>) -> Response<Body> {
        let Some(mut body) = self.read(wanted).await else { return self.unchecked() };
        let (headers, packing) = (asked.headers(), &self.pages.packing);
        let accepted = Accepted::of(headers);
        let is_sent = asked.head.method == Method::GET && body.known(accepted, headers).is_none();
        let bytes = if is_sent { body.best(accepted, packing).bytes.len() } else { 0 };
        let Some(turn) = self.pages.pace.turn(bytes, self.purchases.get() > 0, self.clock.monotonic()) else {
            return refused(Code::Overloaded, self.refusals.busy.response());
        };
        if !turn.is_zero() {
            tokio::time::sleep(turn).await;
            // What was right before the wait need not be any more.
            body = self.read(wanted).await.unwrap_or(body);
        }
        match body.known(accepted, headers) {
            Some(known) => known.response(true),
            None => body.best(accepted, packing).response(false),
        }
    }
}

/// What is read.
enum Wanted<V> {
    Page(Arc<V>),
    /// So many entries of a tenant's list, after this one.
    List(TenantId, u32, Option<Key>),
}

/// A refusal; the router counts it by its code.
fn refused(code: Code, mut response: Response<Body>) -> Response<Body> {
    response.extensions_mut().insert(code);
    response
}

fn refuse(problem: &Problem) -> Response<Body> {
    refused(problem.code, problem.to_response())
}

impl<V: Sales, C: Clock> Service for Reads<V, C> {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        vec![
            Mount::get("/v1/sales/{sale_id}", "sale", Route::Sale).for_pages(),
            Mount::get("/v1/sales", "sales", Route::List).for_pages(),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        match route {
            Route::List => list_sales(self, asked).await,
            Route::Sale => get_sale(self, asked).await,
        }
    }
}

#[derive(OpenApi)]
#[openapi(paths(list_sales, get_sale))]
struct Document;

/// Their part of an OpenAPI document, which must have the schemas of problems.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The refusals of whoever reads a sale.
struct SaleRefused;

impl IntoResponses for SaleRefused {
    fn responses() -> Responses {
        refusals(&[(Code::NotFound, ""), (Code::Overloaded, ""), (Code::TemporarilyUnavailable, "")])
    }
}

/// The refusals of whoever reads a list.
struct ListRefused;

impl IntoResponses for ListRefused {
    fn responses() -> Responses {
        refusals(&[(Code::InvalidRequest, ""), (Code::Overloaded, ""), (Code::TemporarilyUnavailable, "")])
    }
}

/// The sales of a shop.
///
/// Public: those that may be seen now. The open ones come first, then those to come, then those
/// that ended in the last seven days. State by the server's clock, stock only roughly and at most
/// five seconds old.
#[utoipa::path(
    get, path = "/v1/sales", operation_id = "listSales", tag = "sales",
    params(
        ("tenant" = String, Query, description = "The shop.", example = "7", pattern = "^[1-9][0-9]{0,18}$"),
        PageAsked,
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer.", nullable = false),
    ),
    responses(
        (status = 200, description = "A page. A shop that nobody knows is one that sells nothing. Also as gzip and br.",
            body = SaleList, headers(("ETag" = String), ("Vary" = String))),
        (status = 304, description = "Unchanged."),
        ListRefused,
    )
)]
async fn list_sales<V: Sales, C: Clock>(reads: &Reads<V, C>, asked: Asked<'_>) -> Response<Body> {
    let (tenant, limit, after) = match list_asked(asked.query()) {
        Ok(wanted) => wanted,
        Err(problem) => return refuse(&problem),
    };
    if !reads.sales.is_whole() {
        return reads.unchecked();
    }
    of_tenant(asked.headers(), tenant, reads.send(&asked, &Wanted::List(tenant, limit, after)).await)
}

/// A sale.
///
/// Public. State by the server's clock, stock only roughly; right within a second. Nothing in it
/// changes without a new ETag: the clock is `/v1/time`.
#[utoipa::path(
    get, path = "/v1/sales/{sale_id}", operation_id = "getSale", tag = "sales",
    params(
        ("sale_id" = String, Path, description = "The sale.", example = "1001"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer.", nullable = false),
    ),
    responses(
        (status = 200, description = "The sale. Also as gzip and br.", body = Sale,
            headers(("ETag" = String), ("Vary" = String))),
        (status = 304, description = "Unchanged."),
        SaleRefused,
    )
)]
async fn get_sale<V: Sales, C: Clock>(reads: &Reads<V, C>, asked: Asked<'_>) -> Response<Body> {
    let now_ms = reads.clock.now_ms();
    let sale = asked.part("sale_id").parse::<SaleId>().ok().and_then(|id| reads.sales.sale(id));
    // What may not be seen yet is answered like what does not exist.
    let Some(sale) = sale.filter(|sale| is_visible(sale.sale(), now_ms)) else {
        return match reads.sales.is_whole() {
            true => refuse(&Problem::new(Code::NotFound, "there is no such sale")),
            false => reads.unchecked(),
        };
    };
    let tenant = sale.sale().tenant;
    of_tenant(asked.headers(), tenant, reads.send(&asked, &Wanted::Page(sale)).await)
}

fn list_asked(query: Option<&str>) -> Result<(TenantId, u32, Option<Key>), Box<Problem>> {
    let query = Query::parse(query, &["tenant", "cursor", "limit"])?;
    let tenant = query.get("tenant").unwrap_or_default().parse::<TenantId>();
    let tenant = tenant.map_err(|_| wrong_parameter("tenant", "give the number of a shop, such as 7"))?;
    let PageAsked { cursor, limit } = PageAsked::of(&query)?;
    let read = |sent: String| cursor::read(tenant, &sent).ok_or_else(PageAsked::wrong_cursor);
    Ok((tenant, limit, cursor.map(read).transpose()?))
}
