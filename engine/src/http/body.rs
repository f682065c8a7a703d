//! Small things that bodies are made of.

use jiff::Timestamp;
use kit::http::{HeaderMap, header};

/// A moment as RFC 3339, UTC, with milliseconds.
pub(super) fn rfc3339(epoch_ms: u64) -> String {
    let moment = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // Beyond the year 9999 there is no such text; nothing of ours lies there.
    format!("{:.3}", moment.unwrap_or(Timestamp::MAX))
}

/// Whether the body says that it is JSON, or nothing: what it is will be seen.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(sent) = all.next() else { return true };
    // Two readers must not see two different types.
    if all.next().is_some() {
        return false;
    }
    let media = sent.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use kit::http::HeaderValue;

    use super::*;

    #[test]
    fn times_have_milliseconds_always() {
        assert_eq!(rfc3339(1_735_689_600_000), "2025-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_735_689_600_120), "2025-01-01T00:00:00.120Z");
    }

    #[test]
    fn other_media_types_are_refused() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert!(is_json(&HeaderMap::new()));
        assert!(is_json(&with("application/json")) && is_json(&with("Application/JSON ; charset=utf-8")));
        let mut twice = with("application/json");
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(!is_json(&twice));
        assert!(!is_json(&with("text/plain")) && !is_json(&with("application/jsonp")) && !is_json(&with("")));
    }
}
