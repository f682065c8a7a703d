//! The shop's pages on the buyers' port, as `web/` builds them: compiled in, so that the program
//! needs no other file. And the demo's login, by which a browser of this machine is a new buyer of
//! the demo's shop; every other shop's buyers log in with the merchants' service.

use std::net::{IpAddr, SocketAddr};

use kit::{
    clock::{Clock, SystemClock, rfc3339},
    http::{Asked, Body, HeaderMap, HeaderValue, Mount, Response, Service, StatusCode, Uri, header, reply},
    problem::{Code, Problem},
    random::{Random, SystemRandom},
    token::{BuyerClaims, TokenKey, TokenSigner},
};
use pages::coding::{Accepted, Coding};
use serde::Serialize;

use crate::demo::DEMO_TENANT;

/// A built file, plain and packed.
struct File {
    path: &'static str,
    media: &'static str,
    /// Of each form its own (RFC 9110, 8.8.3.3).
    tag: &'static str,
    tag_br: &'static str,
    plain: &'static [u8],
    br: &'static [u8],
}

/// All of them.
const FILES: &[File] = &include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/files.rs"));

/// Scripts, styles and requests of this origin alone, nothing inline; a logo may come from
/// elsewhere; no other page may frame the shop.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' https:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
/// Of files whose name changes with what they hold.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Of all others: asked for again each time, by their tag.
const EACH_TIME: &str = "no-cache";

/// How long a login of the demo holds.
const LOGIN_TTL_MS: u64 = 24 * 3_600_000;
/// Buyers of the demo's login have numbers from here on, far from those that count from 1.
const BUYERS_FROM: u64 = 1 << 62;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    File,
    Login,
}

/// The pages, and who signs for the demo's buyers.
#[derive(Clone)]
pub(super) struct ShopPages {
    /// `None`: this deployment has no demo, and no login here.
    signer: Option<TokenSigner>,
    clock: SystemClock,
    random: SystemRandom,
}

/// As the merchants' service answers a login.
#[derive(Debug, Serialize)]
struct LoggedIn {
    buyer: String,
    token: String,
    expires_at: String,
}

impl ShopPages {
    pub(super) fn new(key: TokenKey, demo: bool, clock: SystemClock) -> Self {
        Self { signer: demo.then(|| TokenSigner::new(key)), clock, random: SystemRandom::default() }
    }

    fn login(&self, headers: &HeaderMap, peer: &SocketAddr) -> Response<Body> {
        let told = match is_of_this_machine(headers, peer) {
            true => self.new_buyer(self.clock.now_ms()),
            false => None,
        };
        let Some(told) = told else {
            let detail = "only browsers of the machine on which the demo runs log in here; \
                          other shops have their own login";
            return Problem::new(Code::NotFound, detail).to_response();
        };
        let mut response = reply::json(StatusCode::OK, &told);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Another buyer at each call: a repeat after a lost answer leaves one behind who bought
    /// nothing. `None` where this folder has no demo, or its key signs for none.
    fn new_buyer(&self, now_ms: u64) -> Option<LoggedIn> {
        let buyer = BUYERS_FROM | (u64::from_le_bytes(self.random.bytes::<8>().ok()?) >> 2);
        let expires_ms = now_ms + LOGIN_TTL_MS;
        let token = self.signer.as_ref()?.sign(&BuyerClaims::new(DEMO_TENANT, buyer, expires_ms), now_ms).ok()?;
        Some(LoggedIn { buyer: buyer.to_string(), token, expires_at: rfc3339(expires_ms) })
    }
}

impl Service for ShopPages {
    type Route = Route;

    fn mounts() -> Vec<Mount<Route>> {
        vec![
            Mount::get("/", "shop_page", Route::File),
            Mount::get("/assets/{file}", "shop_asset", Route::File),
            Mount::get("/favicon.svg", "shop_icon", Route::File),
            Mount::get("/licences.txt", "shop_licences", Route::File),
            Mount::post("/demo/login", "demo_login", Route::Login),
        ]
    }

    async fn answer(&self, route: Route, asked: Asked<'_>) -> Response<Body> {
        match route {
            Route::File => file(&asked.head.uri, asked.headers()),
            Route::Login => self.login(asked.headers(), asked.peer),
        }
    }
}

fn file(uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let Some(file) = FILES.iter().find(|file| file.path == uri.path()) else {
        return Problem::new(Code::NotFound, "there is no such file: load the page again").to_response();
    };
    let is_packed = Accepted::of(headers).best_first().find(|coding| *coding != Coding::Gzip) == Some(Coding::Br);
    let (bytes, tag) = if is_packed { (file.br, file.tag_br) } else { (file.plain, file.tag) };
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|sent| sent.to_str().ok());
    let is_known = sent.flat_map(|sent| sent.split(',')).any(|sent| sent.trim().trim_start_matches("W/") == tag);
    let mut response = match is_known {
        true => reply::empty(StatusCode::NOT_MODIFIED),
        false => reply::raw(StatusCode::OK, HeaderValue::from_static(file.media), bytes),
    };
    let cache = if file.path.starts_with("/assets/") { FOR_EVER } else { EACH_TIME };
    let all = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "Accept-Encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    response.headers_mut().extend(all.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if is_packed && !is_known {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

/// Whether a browser of this machine asks, by a name that only this machine has: neither a proxy
/// for others nor a page that leads a name of its own here (DNS rebinding) gets in.
fn is_of_this_machine(headers: &HeaderMap, peer: &SocketAddr) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let Some(uri) = host.to_str().ok().and_then(|host| format!("http://{host}/").parse::<Uri>().ok()) else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    peer.ip().is_loopback() && (is_loopback || host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests;
