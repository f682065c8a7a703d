//! By which names the second port may be asked for. It asks for no token, so a page in the browser
//! of somebody on this network must not read it: such a page can lead a name of its own here (DNS
//! rebinding), but it cannot make its own address ours.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// The names by which the second port may be asked for, beside IP addresses and `localhost`.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// These names too, in any case, without a port.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.into())
    }

    /// Whether the request asks for one of them. A request that names nobody (HTTP/1.0) comes from
    /// no browser.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> bool {
        let mut named = request.headers().get_all(HOST).iter();
        let header = match (named.next(), named.next()) {
            (None, _) => true,
            (Some(host), None) => host.to_str().is_ok_and(|host| self.is_ours(host)),
            (Some(_), Some(_)) => false,
        };
        header && request.uri().authority().is_none_or(|authority| self.is_ours(authority.as_str()))
    }

    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = Authority::from_str(host) else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = Ipv4Addr::from_str(host).is_ok() || bare.is_some_and(|bare| Ipv6Addr::from_str(bare).is_ok());
        let is_named =
            || self.0.iter().map(String::as_str).chain(["localhost"]).any(|name| name.eq_ignore_ascii_case(host));
        !authority.as_str().contains('@') && (is_address || is_named())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(hosts: &[&str]) -> bool {
        let mut request = Request::get("/metrics");
        for host in hosts {
            request = request.header(HOST, *host);
        }
        Hosts::new(&["engine.shop".to_owned()]).admit(&request.body(()).unwrap())
    }

    #[test]
    fn addresses_localhost_and_given_names_may_ask() {
        for host in
            ["127.0.0.1", "127.0.0.1:9464", "10.1.2.3:9464", "[::1]:9464", "[fd00::7]", "localhost:1", "LocalHost"]
        {
            assert!(admits(&[host]), "{host}");
        }
        assert!(admits(&["engine.shop:9464"]) && admits(&["ENGINE.shop"]));
        assert!(admits(&[]), "HTTP/1.0");
    }

    #[test]
    fn a_name_that_somebody_else_may_lead_here_may_not() {
        for host in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil@127.0.0.1",
            "2130706433",
            "0x7f.1",
            "shop",
            "",
            "[::1",
            "127.0.0.1 evil",
        ] {
            assert!(!admits(&[host]), "{host}");
        }
        assert!(!admits(&["127.0.0.1", "evil.example"]) && !admits(&["127.0.0.1", "127.0.0.1"]));
    }

    #[test]
    fn an_absolute_uri_counts_as_the_header_does() {
        let asked = |uri: &str| Request::get(uri).header(HOST, "127.0.0.1").body(()).unwrap();
        assert!(Hosts::default().admit(&asked("http://127.0.0.1:1/metrics")));
        assert!(!Hosts::default().admit(&asked("http://evil.example/metrics")));
    }
}
