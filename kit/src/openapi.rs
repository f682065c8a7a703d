//! The pieces that the OpenAPI documents of all services share: the head with its bearer tokens,
//! refusals by their codes, the `Idempotency-Key`. Parameters of pages stand in
//! [`PageAsked`](crate::http::PageAsked).

use std::collections::BTreeMap;

use hyper::StatusCode;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Required};

use utoipa::{IntoParams, OpenApi as _};

use crate::problem::{Code, FieldError, ProblemBody};

/// Responses by their status, as utoipa takes them.
pub type Responses = BTreeMap<String, RefOr<Response>>;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "",
        description = "Errors are application/problem+json with a stable `code`. Every answer carries `traceparent`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody, FieldError))
)]
struct Head;

/// A document of this title without routes. `bearers`: the names by which routes say in `security`
/// whose bearer token they take, and what each is.
#[must_use]
pub fn head(title: &str, bearers: &[(&str, &str)]) -> OpenApi {
    let mut document = Head::openapi();
    title.clone_into(&mut document.info.title);
    let components = document.components.get_or_insert_with(Components::new);
    for (name, description) in bearers {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some((*description).to_owned());
        components.add_security_scheme(*name, SecurityScheme::Http(scheme));
    }
    document
}

/// The refusals of a route: each code, and what it means there; empty where its title says it. The
/// document must have a [`head`].
#[must_use]
pub fn refusals(codes: &[(Code, &str)]) -> Responses {
    let mut by_status: BTreeMap<u16, Vec<(Code, &str)>> = BTreeMap::new();
    for (code, meaning) in codes {
        by_status.entry(code.status().as_u16()).or_default().push((*code, *meaning));
    }
    let responses = by_status.into_iter();
    responses.map(|(status, codes)| (status.to_string(), RefOr::T(refusal(&codes)))).collect()
}

fn refusal(codes: &[(Code, &str)]) -> Response {
    let described = codes.iter().map(|(code, meaning)| match *meaning {
        "" => format!("`{code}`"),
        meaning => format!("`{code}`: {meaning}"),
    });
    let description = described.collect::<Vec<_>>().join("; ");
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    let response = ResponseBuilder::new().description(description).content("application/problem+json", problem);
    let seconds = |meaning| header(Type::Integer, meaning);
    let status = codes.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |(code, _)| code.status());
    let response = match status {
        StatusCode::UNAUTHORIZED => response
            .header("WWW-Authenticate", header(Type::String, "RFC 6750: what is wrong with the token that came.")),
        StatusCode::TOO_MANY_REQUESTS => response
            .header("Retry-After", seconds("Seconds until there is more."))
            .header("RateLimit", header(Type::String, "What is left."))
            .header("RateLimit-Policy", header(Type::String, "Whose quota it is, and how large.")),
        StatusCode::SERVICE_UNAVAILABLE => {
            response.header("Retry-After", seconds("Seconds until a repeat may do better."))
        }
        _ if codes.iter().any(|(code, _)| *code == Code::NotStarted) => {
            // An answer of another code has none: then it is null.
            let seconds = SchemaType::from_iter([Type::Integer, Type::Null]);
            response.header("Retry-After", header(seconds, "Of not_started alone: seconds until the sale opens."))
        }
        _ => response,
    };
    response.build()
}

fn header(of: impl Into<SchemaType>, meaning: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(of).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some(meaning)).build()
}

/// The header that [`idempotency_key`](crate::http::idempotency_key) reads, as a parameter of a
/// route.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey;

/// What [`idempotency_key`](crate::http::idempotency_key) takes, bare or between quotes.
const IDEMPOTENCY_KEY_PATTERN: &str = r##"^("[!#-\[\]-~]{1,255}"|[!#-~][!-~]{0,254})$"##;

impl IntoParams for IdempotencyKey {
    fn into_params(_given: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let meaning = "Names this request: 1 to 255 visible ASCII characters. Between quotes it is the same key; \
                       a quoted one holds no quote and no backslash.";
        let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(IDEMPOTENCY_KEY_PATTERN));
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(meaning))
            .example(Some("8e03978e-40d5-43e8-bc93-6894a57f9324".into()))
            .schema(Some(schema.build()));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_one_status_are_one_response() {
        let codes = [
            (Code::SoldOut, ""),
            (Code::NotStarted, ""),
            (Code::Unauthenticated, ""),
            (Code::OutcomeUnknown, "ask again with the same key"),
        ];
        let responses = serde_json::to_value(refusals(&codes)).unwrap();
        assert_eq!(responses["409"]["description"], "`sold_out`; `not_started`");
        assert_eq!(responses["503"]["description"], "`outcome_unknown`: ask again with the same key");
        assert!(responses["401"]["headers"]["WWW-Authenticate"].is_object());
        let content = &responses["503"]["content"]["application/problem+json"];
        assert_eq!(content["schema"]["$ref"], "#/components/schemas/Problem");
        assert_eq!(responses.as_object().unwrap().len(), 3);
    }
}
