//! The few request headers that services read. None may come twice: two readers must not see two
//! different values.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};

use crate::problem::{Code, Problem};

/// Names a request, so that its repetition is recognised.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_LEN_MAX: usize = 255;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const BEARER_SCHEME: &str = "bearer ";

/// Why a request has no usable idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyKeyError {
    /// There is none.
    #[error("the Idempotency-Key header is missing")]
    Missing,
    /// There are several.
    #[error("the Idempotency-Key header came more than once")]
    Repeated,
    /// It is empty, too long, or has characters that cannot be seen.
    #[error("the Idempotency-Key header must be 1 to 255 visible ASCII characters, bare or between quotes")]
    Invalid,
}

impl From<IdempotencyKeyError> for Problem {
    fn from(error: IdempotencyKeyError) -> Self {
        let problem = Self::new(Code::InvalidRequest, error.to_string());
        problem.with_field("Idempotency-Key", error.to_string())
    }
}

/// The request's idempotency key: 1 to 255 visible ASCII characters. The draft
/// (draft-ietf-httpapi-idempotency-key-header) writes it as a string between quotes; quoted and
/// bare it is one key. A quoted one holds no quote and no backslash: each key has one spelling
/// between quotes, and it is borrowed as it stands.
///
/// # Errors
///
/// When there is none, more than one, or not such a one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<&str, IdempotencyKeyError> {
    let mut sent = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let value = sent.next().ok_or(IdempotencyKeyError::Missing)?;
    if sent.next().is_some() {
        return Err(IdempotencyKeyError::Repeated);
    }
    let key = value.to_str().map_err(|_invisible| IdempotencyKeyError::Invalid)?;
    let key = if key.starts_with('"') { quoted(key).ok_or(IdempotencyKeyError::Invalid)? } else { key };
    let fits = (1..=IDEMPOTENCY_KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(key) } else { Err(IdempotencyKeyError::Invalid) }
}

/// What stands between the quotes of a quoted key.
fn quoted(key: &str) -> Option<&str> {
    let inner = key.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}

/// The bearer token of the request. `None` when there is no `Authorization`, more than one, or
/// another scheme: all the same to the caller, who answers 401.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = sent.next()?.to_str().ok()?;
    if sent.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_at_checked(BEARER_SCHEME.len())?;
    (scheme.eq_ignore_ascii_case(BEARER_SCHEME) && !token.is_empty()).then_some(token)
}

/// Where a request comes from: its peer; or, where that is on this machine or in a private network
/// and so may be the proxy that ends TLS before us, whom it names last in `X-Forwarded-For`. What
/// stands before that entry the client may have written.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_near = match peer.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    let named = headers.get_all(FORWARDED_FOR).iter().next_back().filter(|_| is_near);
    let last = named.and_then(|list| list.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer).to_canonical()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn with(name: HeaderName, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_quoted_and_bare_is_one_key() {
        let longest = "k".repeat(255);
        for key in ["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", &longest] {
            for sent in [key.to_owned(), format!("\"{key}\"")] {
                assert_eq!(idempotency_key(&with(IDEMPOTENCY_KEY, &[sent.as_bytes()])), Ok(key), "{sent}");
            }
        }
        assert_eq!(idempotency_key(&with(IDEMPOTENCY_KEY, &[b"a\"b\\"])), Ok("a\"b\\"), "no quoted one");
    }

    #[test]
    fn keys_that_are_no_keys_are_refused() {
        use IdempotencyKeyError::{Invalid, Missing, Repeated};
        assert_eq!(idempotency_key(&HeaderMap::new()), Err(Missing));
        assert_eq!(idempotency_key(&with(IDEMPOTENCY_KEY, &[b"a", b"a"])), Err(Repeated));
        let too_long = "k".repeat(256);
        let half_quoted: [&[u8]; 6] = [b"\"", b"\"\"", b"\"a", b"\"a\"b\"", b"\"a\\\"b\"", b"\"a\";x=1"];
        let others = [b"".as_slice(), b"a b", b"a\tb", "é".as_bytes(), too_long.as_bytes()];
        for key in half_quoted.into_iter().chain(others) {
            assert_eq!(idempotency_key(&with(IDEMPOTENCY_KEY, &[key])), Err(Invalid));
        }
    }

    #[test]
    fn the_bearer_scheme_is_known_in_any_case() {
        assert_eq!(bearer(&with(AUTHORIZATION, &[b"Bearer abc.def"])), Some("abc.def"));
        assert_eq!(bearer(&with(AUTHORIZATION, &[b"bEARER abc"])), Some("abc"));
    }

    #[test]
    fn anything_else_is_no_token() {
        let none: [&[&[u8]]; 6] = [
            &[],
            &[b"Bearer "],
            &[b"Basic abc"],
            &[b"Bearer"],
            &[b"Bearer a", b"Bearer b"],
            &["Bearér abc".as_bytes()],
        ];
        for values in none {
            assert_eq!(bearer(&with(AUTHORIZATION, values)), None);
        }
    }

    #[test]
    fn only_a_near_peer_may_name_the_client_and_its_last_word_counts() {
        let forwarded = HeaderName::from_static("x-forwarded-for");
        let headers = with(forwarded, &[b"10.9.9.9", b"203.0.113.1, 198.51.100.7"]);
        let of = |peer: &str, headers: &HeaderMap| client_address(peer.parse().unwrap(), headers).to_string();
        assert_eq!(of("127.0.0.1", &headers), "198.51.100.7");
        assert_eq!(of("::ffff:10.0.0.2", &headers), "198.51.100.7");
        assert_eq!(of("203.0.113.9", &headers), "203.0.113.9", "a stranger's word is not taken");
        assert_eq!(of("127.0.0.1", &HeaderMap::new()), "127.0.0.1");
        assert_eq!(of("127.0.0.1", &with(HeaderName::from_static("x-forwarded-for"), &[b"me"])), "127.0.0.1");
    }
}
