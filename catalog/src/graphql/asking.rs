//! What the fields of a request share: who asks, from what they read, how a refusal is told, and
//! how things that were read together are followed by what belongs to them.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    Context, Error, ErrorExtensionValues, ID, InputValueError, InputValueResult, OutputType, Scalar, ScalarType,
    SimpleObject, TypeName, Value,
};
use domain::id::{OfferId, TenantId};
use kit::{
    access::Permission,
    api::{Call, Fault as _, lacking},
    clock::Clock as _,
    http::{PAGE_LIMIT_MAX, PageAsked},
    problem::{Code, Problem},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use store::{ledger::OfferRow, sql::SqlError};
use tokio::sync::OnceCell;

use crate::{
    document::{Page, Pages},
    identity,
    ports::{Answering, Asker, OrderService, Ports},
    reading::Reading,
    refused::Refused,
    service::Catalog,
};

/// What a field answers: nothing, a thing, or why there is none. A refused field is null, and
/// those beside it are answered.
pub(super) type Field<T> = Option<Result<T, Error>>;

/// From what fields read: the service's database and the ledger, of any kind.
trait Source: Send + Sync {
    fn db(&self) -> &dyn Reading;
    fn offers<'a>(&'a self, tenant: TenantId, offers: &'a [OfferId]) -> Answering<'a, Result<Vec<OfferRow>, SqlError>>;
}

struct Of<P>(P);

impl<P: Ports> Source for Of<P> {
    fn db(&self) -> &dyn Reading {
        self.0.sql()
    }

    fn offers<'a>(&'a self, tenant: TenantId, offers: &'a [OfferId]) -> Answering<'a, Result<Vec<OfferRow>, SqlError>> {
        Box::pin(self.0.selling().ledger.offers(tenant, offers))
    }
}

/// A request: who asks, when, and from what it is read.
pub(super) struct Asking {
    asker: Asker,
    pub(super) now_ms: u64,
    source: Box<dyn Source>,
    orders: Option<Arc<dyn OrderService>>,
}

impl Asking {
    pub(super) fn new<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Self {
        Self {
            asker: Asker { actor: call.actor, proof: identity::proof(call.headers()) },
            now_ms: catalog.clock().now_ms(),
            source: Box::new(Of(catalog.ports().clone())),
            orders: catalog.orders().cloned(),
        }
    }

    /// The request of a field that needs this permission.
    ///
    /// # Errors
    /// `forbidden` that names the permission, where it is missing.
    pub(super) fn of<'a>(ctx: &Context<'a>, needed: Permission) -> Result<&'a Self, Refused> {
        let asking = ctx.data_opt::<Self>().ok_or_else(|| Refused::Broken("a query without who asks".into()))?;
        if asking.asker.actor.permissions.has(needed) { Ok(asking) } else { Err(lacking(needed).into()) }
    }

    /// Whose things are read: nobody else's are there.
    pub(super) fn tenant(&self) -> u32 {
        self.asker.actor.tenant
    }

    /// What the order service answers to this query of its list.
    ///
    /// # Errors
    /// Its refusal; `not_found` where none is named.
    pub(super) async fn orders(&self, query: &str) -> Result<Json, Box<Problem>> {
        let Some(orders) = &self.orders else {
            let detail = "no order service is named here; its list is `GET /v1/merchant/orders` at the engine";
            return Err(Problem::new(Code::NotFound, detail).into());
        };
        orders.orders(&self.asker, query).await
    }

    pub(super) fn db(&self) -> &dyn Reading {
        self.source.db()
    }

    /// What the ledger has of these offers.
    ///
    /// # Errors
    /// [`Refused::Sql`].
    pub(super) async fn offers(&self, offers: &[i64]) -> Result<Vec<OfferRow>, Refused> {
        let broken = |error: domain::id::InvalidId| Refused::Broken(error.to_string());
        let tenant = TenantId::new(self.tenant().into()).map_err(broken)?;
        let offers = offers.iter().map(|offer| OfferId::new(offer.cast_unsigned()).map_err(broken));
        let offers = offers.collect::<Result<Vec<_>, _>>()?;
        Ok(self.source.offers(tenant, &offers).await?)
    }
}

impl From<Refused> for Error {
    /// As a problem is told: its detail, its code, and each wrong argument.
    fn from(refused: Refused) -> Self {
        let problem = refused.into_problem(true);
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", problem.code.as_str());
        if let Some(after) = problem.retry_after {
            extensions.set("retry_after_s", after.as_secs().max(1));
        }
        let errors = serde_json::to_value(&problem.field_errors).ok().and_then(|errors| Value::from_json(errors).ok());
        if let Some(errors) = errors.filter(|_| !problem.field_errors.is_empty()) {
            extensions.set("errors", errors);
        }
        Self { message: problem.detail.into_owned(), source: None, extensions: Some(extensions) }
    }
}

/// What a field answers by this read.
pub(super) async fn field<T>(read: impl Future<Output = Result<Option<T>, Error>>) -> Field<T> {
    read.await.transpose()
}

/// A whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Whole(pub(super) i64);

/// A whole number of up to 2^53 - 1: a JSON number, which may be larger than an `Int`.
#[Scalar]
impl ScalarType for Whole {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = if let Value::Number(number) = &value { number.as_i64() } else { None };
        number.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// The page that a list is asked for.
///
/// # Errors
/// `invalid_request` beyond the bounds of pages.
pub(super) fn page(first: u32, after: Option<String>) -> Result<PageAsked, Refused> {
    if !(1..=PAGE_LIMIT_MAX).contains(&first) {
        let problem = Problem::new(Code::InvalidRequest, "an argument is wrong; see `errors`");
        return Err(problem.with_field("first", format!("give 1 to {PAGE_LIMIT_MAX}")).into());
    }
    Ok(PageAsked { cursor: after, limit: first })
}

/// The number that an id stands for. What is no number stands for nothing.
pub(super) fn number(id: &ID) -> Option<i64> {
    id.0.parse().ok().filter(|number| *number > 0)
}

/// A thing of the schema. Its members are those that its route shows.
pub(super) trait Thing: OutputType + DeserializeOwned {
    /// Notes of things that they were read together.
    fn read_together(_things: Vec<&mut Self>) {}

    /// The thing that a route shows so.
    ///
    /// # Errors
    /// [`Refused::Broken`] where the two differ, which tests find.
    fn of(by_route: &impl Serialize) -> Result<Self, Refused> {
        let mut thing = shown(by_route)?;
        Self::read_together(vec![&mut thing]);
        Ok(thing)
    }
}

/// The same of a page.
pub(super) fn shown<T: DeserializeOwned>(by_route: &impl Serialize) -> Result<T, Refused> {
    let read = serde_json::to_value(by_route).and_then(serde_json::from_value);
    read.map_err(|error| Refused::Broken(format!("a route shows what the schema does not: {error}")))
}

/// A page of a list.
#[derive(Debug, Clone, SimpleObject, Deserialize)]
#[graphql(name_type)]
pub(super) struct Paged<T: OutputType> {
    pub(super) items: Vec<T>,
    /// `after` of the next page; null on the last one.
    pub(super) next_cursor: Option<String>,
}

impl<T: OutputType> TypeName for Paged<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Page", <T as OutputType>::type_name()).into()
    }
}

impl<T: Thing> Paged<T> {
    /// The page that a route shows so.
    ///
    /// # Errors
    /// As [`Thing::of`].
    pub(super) fn of<R: Serialize>(page: &Page<R>) -> Result<Self, Refused> {
        let mut page: Self = shown(page)?;
        T::read_together(page.items.iter_mut().collect());
        Ok(page)
    }

    /// Pages of several things with these ids, which were read in one go; empty where none is.
    ///
    /// # Errors
    /// As [`Thing::of`].
    pub(super) fn of_each<R: Serialize>(ids: &[i64], read: &Pages<R>) -> Result<HashMap<String, Arc<Self>>, Refused> {
        let empty = || Self { items: Vec::new(), next_cursor: None };
        let ids = ids.iter().map(i64::to_string);
        let pages = ids.map(|id| Ok((read.get(&id).map_or_else(|| Ok(empty()), shown)?, id)));
        let mut pages: Vec<(Self, String)> = pages.collect::<Result<_, Refused>>()?;
        T::read_together(pages.iter_mut().flat_map(|(page, _)| &mut page.items).collect());
        Ok(pages.into_iter().map(|(page, id)| (id, Arc::new(page))).collect())
    }
}

type Read<V> = Arc<OnceCell<Result<HashMap<String, V>, Error>>>;

/// Things that were read together. What belongs to them is read together too, for all of them when
/// the first one is asked, once for each choice of arguments.
pub(super) struct Together<A, V> {
    ids: Vec<i64>,
    read: Mutex<HashMap<A, Read<V>>>,
}

impl<A, V> Together<A, V> {
    /// Of the things with these ids.
    pub(super) fn of<'a>(ids: impl IntoIterator<Item = &'a ID>) -> Arc<Self> {
        let ids = ids.into_iter().filter_map(number).collect();
        Arc::new(Self { ids, read: Mutex::default() })
    }
}

impl<A, V> Default for Together<A, V> {
    fn default() -> Self {
        Self { ids: Vec::new(), read: Mutex::default() }
    }
}

impl<A: Clone + Eq + Hash, V: Clone> Together<A, V> {
    /// What belongs to one of them. `read` reads it for all of them, by their ids.
    ///
    /// # Errors
    /// Those of `read`, the same for all.
    pub(super) async fn belonging<'a, F>(
        &'a self,
        id: &str,
        asked: A,
        read: impl FnOnce(&'a [i64]) -> F,
    ) -> Result<Option<V>, Error>
    where
        F: Future<Output = Result<HashMap<String, V>, Error>>,
    {
        let cell = {
            let mut cells = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(asked).or_default())
        };
        let all = cell.get_or_init(|| read(&self.ids)).await;
        all.as_ref().map(|all| all.get(id).cloned()).map_err(Error::clone)
    }
}
