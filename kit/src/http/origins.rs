//! Pages of tenants' shops that call us from their own domains (CORS, the Fetch standard). A
//! preflight has no token, so the origin alone decides it: it must be some tenant's. The answer
//! then names the origin only if what was asked for is that tenant's. A token is sent by the page
//! itself and never by the browser alone, so answers allow no credentials.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use domain::id::TenantId;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{Method, Response, StatusCode};

use super::{Body, reply};
use crate::problem::{Code, Problem};

/// What a page may send beyond what every page may.
const SENT: HeaderValue = HeaderValue::from_static("authorization, content-type, idempotency-key, traceparent");

/// What a page may read beyond what every page may.
const SHOWN: HeaderValue =
    HeaderValue::from_static("etag, location, ratelimit, ratelimit-policy, retry-after, traceparent");

/// Seconds for which a browser asks no second time: a domain that was taken away ends so late, for
/// pages that are open.
const KEPT_S: HeaderValue = HeaderValue::from_static("600");

const VARIES: HeaderValue = HeaderValue::from_static("Origin");

/// The origins whose pages may call, each with its tenant. Reading takes no lock.
#[derive(Debug, Default)]
pub struct Origins(ArcSwap<HashMap<String, TenantId>>);

/// Whose thing a response shows; services leave it in responses to pages of other origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whose(TenantId);

/// A request of a page.
#[derive(Debug)]
pub(super) struct Calling {
    origin: HeaderValue,
    /// Whose page it is; `None`: no tenant's.
    tenant: Option<TenantId>,
}

impl Origins {
    /// The origins of the pages at these domains: `https` on its usual port.
    pub fn put(&self, domains: impl IntoIterator<Item = (String, TenantId)>) {
        let origins = domains.into_iter().map(|(domain, tenant)| (format!("https://{domain}"), tenant));
        self.0.store(std::sync::Arc::new(origins.collect()));
    }

    /// The page that sent the request; `None` when none did.
    pub(super) fn calling(&self, headers: &HeaderMap) -> Option<Calling> {
        let origin = headers.get(ORIGIN)?;
        // A browser names one.
        let named = origin.to_str().ok().filter(|_| headers.get_all(ORIGIN).iter().nth(1).is_none());
        let tenant = named.and_then(|origin| self.0.load().get(origin).copied());
        Some(Calling { origin: origin.clone(), tenant })
    }
}

/// Notes in the answer to a page's request whose thing it shows: a page of another tenant may not
/// read it. Costs requests of no page a look at their headers.
pub fn of_tenant(headers: &HeaderMap, tenant: TenantId, mut response: Response<Body>) -> Response<Body> {
    if headers.contains_key(ORIGIN) {
        response.extensions_mut().insert(Whose(tenant));
    }
    response
}

/// Whether the request only asks whether another one may come.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Calling {
    /// The answer to a preflight of a path that has these methods for pages.
    pub(super) fn preflight(&self, methods: &HeaderValue) -> (Option<Code>, Response<Body>) {
        if self.tenant.is_none() {
            let refused = "this origin is no tenant's: give its host as `domain` in the tenant's branding, \
                           and open the page by https";
            let mut response = Problem::new(Code::Forbidden, refused).to_response();
            response.headers_mut().insert(VARY, VARIES);
            return (Some(Code::Forbidden), response);
        }
        let mut response = reply::empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        headers.insert(ACCESS_CONTROL_MAX_AGE, KEPT_S);
        headers.insert(VARY, VARIES);
        (None, response)
    }

    /// Lets the page read the answer, if it may. What shows no tenant's thing, such as the time or
    /// a refused token, every tenant's page reads.
    pub(super) fn admit(&self, response: &mut Response<Body>) {
        let whose = response.extensions_mut().remove::<Whose>();
        let headers = response.headers_mut();
        // A cache must not give one page what was said to another. What caches may keep says so in
        // any case; its service sees to that.
        let varies = headers.get_all(VARY).iter().filter_map(|sent| sent.to_str().ok());
        if !varies.flat_map(|sent| sent.split(',')).any(|name| name.trim().eq_ignore_ascii_case("origin")) {
            headers.append(VARY, VARIES);
        }
        if self.tenant.is_some_and(|tenant| whose.is_none_or(|Whose(of)| of == tenant)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        let origins = Origins::default();
        let tenant = |n| TenantId::new(n).unwrap();
        origins.put([("shop.example".to_owned(), tenant(7)), ("kettles.example".to_owned(), tenant(8))]);
        origins
    }

    fn from(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, HeaderValue::try_from(origin).unwrap())])
    }

    #[test]
    fn only_the_exact_origin_of_a_domain_is_its_tenants() {
        let of = |origin: &str| origins().calling(&from(origin)).unwrap().tenant.map(TenantId::get);
        assert_eq!((of("https://shop.example"), of("https://kettles.example")), (Some(7), Some(8)));
        for other in [
            "http://shop.example",
            "https://shop.example:8443",
            "https://shop.example.evil.example",
            "https://evil-shop.example",
            "https://www.shop.example",
            "HTTPS://shop.example",
            "https://shop.example/",
            "shop.example",
            "null",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let mut two = from("https://shop.example");
        two.append(ORIGIN, HeaderValue::from_static("https://kettles.example"));
        assert_eq!(origins().calling(&two).unwrap().tenant, None, "two origins are none");
        assert!(origins().calling(&HeaderMap::new()).is_none());
    }

    #[test]
    fn an_answer_names_the_origin_of_its_own_tenant_alone() {
        let admitted = |origin: &str, whose: Option<u64>| {
            let headers = from(origin);
            let mut response = reply::empty(StatusCode::OK);
            if let Some(whose) = whose {
                response = of_tenant(&headers, TenantId::new(whose).unwrap(), response);
            }
            origins().calling(&headers).unwrap().admit(&mut response);
            assert_eq!(response.headers()[VARY], "Origin");
            assert!(response.extensions().get::<Whose>().is_none());
            response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
        };
        let allowed = Some(HeaderValue::from_static("https://shop.example"));
        assert_eq!(admitted("https://shop.example", Some(7)), allowed);
        assert_eq!(admitted("https://shop.example", None), allowed, "nobody's, such as the time");
        assert_eq!(admitted("https://shop.example", Some(8)), None, "another tenant's");
        assert_eq!(admitted("https://evil.example", Some(7)), None);
        assert_eq!(admitted("https://evil.example", None), None);
    }

    #[test]
    fn what_an_answer_varies_by_already_stays() {
        let mut response = reply::empty(StatusCode::OK);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding, Origin"));
        origins().calling(&from("https://shop.example")).unwrap().admit(&mut response);
        assert_eq!(response.headers().get_all(VARY).iter().count(), 1);
        assert!(response.headers().get(super::super::header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }
}
