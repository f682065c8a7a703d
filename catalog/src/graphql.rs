//! What merchants read by GraphQL, beside the routes and by the same reads: products with their
//! SKUs and what there is of these in each warehouse, sales with the standing of their offers, and
//! the orders that the order service lists. Queries only. Each level of a query is one statement
//! for all that stands above it, and what a query asks for is bounded before anything is read.

/// What the fields of a request share.
mod asking;

/// What a query may ask for.
mod limits;

/// Orders.
mod orders;

/// Products and SKUs.
mod products;

/// Where a query begins.
mod query;

/// Sales and offers.
mod sales;

/// Levels and warehouses.
mod stock;

use std::{collections::HashSet, sync::LazyLock};

use async_graphql::{
    EmptyMutation, EmptySubscription, Request, Response as Answered, SDLExportOptions, Schema, ServerError, Variables,
};
use kit::{
    api::{Access, Call, Route},
    http::{Body, Mount, Response, StatusCode, reply},
    problem::Code,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::{OpenApi, ToSchema};

use self::{asking::Asking, query::Query};
use crate::{document::Asked, ports::Ports, refused::Refused, service::Catalog};

static SCHEMA: LazyLock<Schema<Query, EmptyMutation, EmptySubscription>> =
    LazyLock::new(|| Schema::new(Query, EmptyMutation, EmptySubscription));

/// The schema in GraphQL's own language; `catalog/schema.graphql` is it: `cargo run -p catalog --
/// graphql-schema`.
#[must_use]
pub fn schema() -> String {
    SCHEMA.sdl_with_options(SDLExportOptions::new().prefer_single_line_descriptions().use_space_ident())
}

/// A request of GraphQL.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct GraphqlRequest {
    /// The document: queries, and fragments of them.
    #[schema(max_length = 10_000, example = "{ products(first: 10) { items { code title } } }")]
    query: String,
    /// Which of the document's queries, where it has several.
    #[schema(max_length = 200)]
    operation_name: Option<String>,
    /// Values of the query's variables.
    #[schema(value_type = Option<Object>)]
    variables: Option<Map<String, Json>>,
    /// Taken, and not read.
    #[schema(value_type = Option<Object>)]
    #[serde(rename = "extensions")]
    _extensions: Option<Map<String, Json>>,
}

/// What became of it: GraphQL tells of a refusal in `errors`, under the status 200.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GraphqlAnswer {
    /// What was asked for; missing where the query itself was refused. A field that was refused is
    /// null, and `errors` says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    data: Option<async_graphql::Value>,
    /// What was refused: `message`, `path`, `locations`, and in `extensions` the `code` of a
    /// problem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<Object>>, nullable = false)]
    errors: Vec<ServerError>,
}

#[derive(OpenApi)]
#[openapi(paths(ask))]
struct Document;

/// Its part of the OpenAPI document.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes<P: Ports>() -> Vec<Mount<Route<Catalog<P>>>> {
    let route = Route::new(Access::Known, |catalog, call| Box::pin(ask(catalog, call)));
    vec![Mount::post("/v1/graphql", "graphql", route.that_reads())]
}

/// Answers a query of GraphQL: products, stock, sales and orders, by the schema of
/// `catalog/schema.graphql`.
///
/// Each field needs the permission of the route that shows the same.
#[utoipa::path(
    post, path = "/v1/graphql", operation_id = "graphql", tag = "graphql", security(("merchant" = [])),
    request_body = GraphqlRequest, responses((status = 200, body = GraphqlAnswer), Asked)
)]
async fn ask<P: Ports>(catalog: &Catalog<P>, call: &Call<'_>) -> Result<Response<Body>, Refused> {
    let asked: GraphqlRequest = call.json()?;
    let asking = Asking::new(catalog, call);
    let variables = Variables::from_json(Json::Object(asked.variables.unwrap_or_default()));
    let mut request = Request::new(asked.query).variables(variables.clone()).data(asking);
    request.operation_name = asked.operation_name;
    let allowed = request.parsed_query().and_then(|query| limits::check(query, &variables));
    let answered = match allowed {
        Ok(()) => SCHEMA.execute(request).await,
        Err(refused) => Answered::from_errors(vec![refused]),
    };
    Ok(reply::json(StatusCode::OK, &GraphqlAnswer::of(answered)))
}

impl GraphqlAnswer {
    fn of(answered: Answered) -> Self {
        let Answered { data, errors, .. } = answered;
        let mut seen = HashSet::new();
        // What is wrong with a field of a list is told once, for the first of its things.
        let errors = errors.into_iter().filter(|error| seen.insert((error.message.clone(), fields(error))));
        let data = Some(data).filter(|data| *data != async_graphql::Value::Null);
        Self { data, errors: errors.map(coded).collect() }
    }
}

/// The path of an error without the places in lists.
fn fields(error: &ServerError) -> Vec<String> {
    let field = |segment: &async_graphql::PathSegment| match segment {
        async_graphql::PathSegment::Field(name) => Some(name.clone()),
        async_graphql::PathSegment::Index(_) => None,
    };
    error.path.iter().filter_map(field).collect()
}

/// An error with the code of a problem. What has none was refused by GraphQL's own rules.
fn coded(mut error: ServerError) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", Code::InvalidRequest.as_str());
    }
    error
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_schema_is_up_to_date() {
        let committed = include_str!("../schema.graphql");
        let told = "run: cargo run -p catalog -- graphql-schema > catalog/schema.graphql";
        assert!(super::schema() == committed, "{told}");
    }
}
