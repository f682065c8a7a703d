//! What a body says that it is.

use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};

use crate::problem::{Code, Problem};

/// Checks that the body says that it is plain JSON in UTF-8, or says nothing: what it is will be
/// seen.
///
/// # Errors
///
/// 415 for another media type, charset or content coding; 400 for a header that came twice.
pub fn check_json(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    if let Some(coding) = only_one(headers, header::CONTENT_ENCODING, "Content-Encoding")?
        && !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported("Content-Encoding", "leave it out: bodies are read as they are"));
    }
    let Some(sent) = only_one(headers, header::CONTENT_TYPE, "Content-Type")? else { return Ok(()) };
    let mut parts = sent.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case(b"application/json")) {
        return Err(unsupported("Content-Type", "must be application/json"));
    }
    // RFC 8259 knows no charset; clients that name it anyhow mean the one there is.
    let is_utf8 = |part: &[u8]| match part.split_at_checked(CHARSET.len()) {
        Some((name, charset)) if name.eq_ignore_ascii_case(CHARSET) => {
            charset.trim_ascii().eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"\"utf-8\"")
        }
        _ => true,
    };
    if parts.all(is_utf8) { Ok(()) } else { Err(unsupported("Content-Type", "the charset must be utf-8")) }
}

const CHARSET: &[u8] = b"charset=";

/// Two readers must not see two different values.
fn only_one<'a>(
    headers: &'a HeaderMap,
    name: header::HeaderName,
    shown: &'static str,
) -> Result<Option<&'a HeaderValue>, Box<Problem>> {
    let mut all = headers.get_all(name).iter();
    let first = all.next();
    if all.next().is_none() {
        return Ok(first);
    }
    let problem = Problem::new(Code::InvalidRequest, "a header came more than once");
    Err(Box::new(problem.with_field(shown, "came more than once")))
}

fn unsupported(field: &'static str, message: &'static str) -> Box<Problem> {
    let problem = Problem::new(Code::UnsupportedMediaType, "the body must be JSON in UTF-8, without a content coding");
    Box::new(problem.with_field(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110: 415 is for what cannot be read as it is meant; a header that came twice is a
    /// broken request.
    #[test]
    fn other_media_types_charsets_and_codings_are_refused() {
        let with = |name, value: &'static str| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        let code = |headers: &HeaderMap| check_json(headers).err().map(|problem| problem.code);
        let media = |value| code(&with(header::CONTENT_TYPE, value));
        assert_eq!(code(&HeaderMap::new()), None);
        for good in [
            "application/json",
            "Application/JSON ; charset=utf-8",
            "application/json;CHARSET=UTF-8",
            "application/json; charset=\"utf-8\"; q=1",
        ] {
            assert_eq!(media(good), None, "{good}");
        }
        for bad in
            ["text/plain", "application/jsonp", "", "application/json; charset=gbk", "application/json;charset=utf-16"]
        {
            assert_eq!(media(bad), Some(Code::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(code(&with(header::CONTENT_ENCODING, "identity")), None);
        for bad in ["gzip", "br", "identity, gzip", ""] {
            assert_eq!(code(&with(header::CONTENT_ENCODING, bad)), Some(Code::UnsupportedMediaType), "{bad}");
        }
        let mut twice = with(header::CONTENT_TYPE, "application/json");
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(code(&twice), Some(Code::InvalidRequest));
    }
}
