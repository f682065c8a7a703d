//! Reads one HTTP/1.1 answer: no more than the engine may send, and strictly, for a generator that
//! overlooks a wrong answer measures nothing. It knows no connection.

use std::mem::MaybeUninit;

use domain::id::OrderId;
use httparse::{Header, ParserConfig, Response, Status};

/// Bytes of an answer, head and body, at most.
pub const ANSWER_MAX: usize = 64 * 1024;
/// Headers of an answer at most: the engine sends fewer than ten.
const HEADERS_MAX: usize = 32;
/// `HTTP/1.1`, as `httparse` numbers versions.
const HTTP_1_1: u8 = 1;

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The first line is not `HTTP/1.1` and a status.
    #[error("bad status line")]
    StatusLine,
    /// A 1xx: the generator asks for none.
    #[error("interim status")]
    Interim,
    /// A header line that is none.
    #[error("bad header")]
    Header,
    /// No `content-length`, two of them, or one that is no number.
    #[error("bad content-length")]
    Length,
    /// A body of chunks: everything here is short enough to be counted.
    #[error("transfer-encoding")]
    Chunked,
    /// Longer than it may be.
    #[error("answer too long")]
    TooLong,
    /// Bytes after the answer: nobody asked for them.
    #[error("bytes after the answer")]
    Excess,
}

impl From<httparse::Error> for Flaw {
    fn from(error: httparse::Error) -> Self {
        use httparse::Error;
        match error {
            Error::Version | Error::Status | Error::Token => Self::StatusLine,
            Error::TooManyHeaders => Self::TooLong,
            Error::HeaderName | Error::HeaderValue | Error::NewLine => Self::Header,
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Three digits.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
    /// The server ends the connection after it.
    pub closes: bool,
}

/// Where the parts of a whole answer stand: it borrows nothing, so that a buffer can go on filling
/// in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    status: u16,
    body_at: usize,
    closes: bool,
}

impl Shape {
    /// The answer in the bytes that were parsed.
    pub fn of(self, bytes: &[u8]) -> Answer<'_> {
        Answer { status: self.status, body: &bytes[self.body_at..], closes: self.closes }
    }
}

/// Reads the answer that these bytes are; `None` while some are missing.
///
/// # Errors
/// [`Flaw`] for anything else.
pub fn parse(bytes: &[u8]) -> Result<Option<Shape>, Flaw> {
    parse_within(bytes, ANSWER_MAX)
}

/// The same for an answer of at most `bytes_max` bytes; its head may have [`ANSWER_MAX`].
///
/// # Errors
/// [`Flaw`] for anything else.
pub fn parse_within(bytes: &[u8], bytes_max: usize) -> Result<Option<Shape>, Flaw> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut head = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut headers)?;
    let Status::Complete(body_at) = parsed else {
        return if bytes.len() > ANSWER_MAX { Err(Flaw::TooLong) } else { Ok(None) };
    };
    let status = status_of(&head)?;
    let (mut length, mut closes) = (None, false);
    for Header { name, value } in &*head.headers {
        // The lengths separate most headers before their letters are compared.
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => match (length, number(value)) {
                (None, Some(bytes)) => length = Some(bytes),
                _ => return Err(Flaw::Length),
            },
            17 if name.eq_ignore_ascii_case("transfer-encoding") => return Err(Flaw::Chunked),
            10 if name.eq_ignore_ascii_case("connection") => closes |= value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
    }
    let whole = body_at + length.ok_or(Flaw::Length)?;
    if whole > bytes_max {
        return Err(Flaw::TooLong);
    }
    match bytes.len() {
        len if len < whole => Ok(None),
        len if len > whole => Err(Flaw::Excess),
        _ => Ok(Some(Shape { status, body_at, closes })),
    }
}

fn status_of(head: &Response<'_, '_>) -> Result<u16, Flaw> {
    match (head.version, head.code) {
        (Some(HTTP_1_1), Some(100..=199)) => Err(Flaw::Interim),
        (Some(HTTP_1_1), Some(status @ 200..=599)) => Ok(status),
        _ => Err(Flaw::StatusLine),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == first) {
        from += at + 1;
        if bytes[from..].starts_with(rest) {
            return Some(from - 1);
        }
    }
    None
}

/// The text of a JSON member, whose value must be a string without escapes: enough for ids, codes
/// and states.
pub fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let mut from = 0;
    while let Some(at) = find(&body[from..], name.as_bytes()) {
        let (start, end) = (from + at, from + at + name.len());
        from = end;
        let quoted = start > 0 && body[start - 1] == b'"' && body.get(end) == Some(&b'"');
        let Some(after) = quoted.then(|| body[end + 1..].trim_ascii_start()) else { continue };
        let Some(value) = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else { continue };
        let value = value.strip_prefix(b"\"")?;
        let close = value.iter().position(|&byte| byte == b'"' || byte == b'\\')?;
        return if value[close] == b'"' { std::str::from_utf8(&value[..close]).ok() } else { None };
    }
    None
}

/// What an answer to a purchase says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// `202`, and the log has it.
    Accepted(OrderId),
    /// `202`, and nobody can know yet.
    Pending(OrderId),
    /// No, and for this buyer it stays no.
    Refused(&'a str),
    /// Come back later: the purchase is undecided.
    Deferred(&'a str),
    /// Anything else: `what` names it.
    Unexpected {
        /// The status.
        status: u16,
        /// The problem's code, or what is wrong.
        what: &'a str,
    },
}

/// Reads an answer to `POST /v1/orders`.
pub fn verdict<'a>(answer: &Answer<'a>) -> Verdict<'a> {
    let unexpected = |what| Verdict::Unexpected { status: answer.status, what };
    if answer.status == 202 {
        let Some(order) = member(answer.body, "order_id").and_then(|id| id.parse().ok()) else {
            return unexpected("no order id");
        };
        return match member(answer.body, "status") {
            Some("accepted") => Verdict::Accepted(order),
            Some("pending") => Verdict::Pending(order),
            _ => unexpected("neither accepted nor pending"),
        };
    }
    match (answer.status, member(answer.body, "code")) {
        (409, Some(code @ "conflict")) | (429 | 503, Some(code)) => Verdict::Deferred(code),
        (409, Some(code)) => Verdict::Refused(code),
        (_, Some(code)) => unexpected(code),
        (_, None) => unexpected("no code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\
        \r\n{\"order_id\":\"7\",\"status\":\"accepted\"}";

    #[test]
    fn an_answer_is_read_however_it_is_split() {
        for cut in 0..ACCEPTED.len() {
            assert_eq!(parse(&ACCEPTED[..cut]), Ok(None), "{cut} bytes");
        }
        let answer = parse(ACCEPTED).unwrap().unwrap().of(ACCEPTED);
        assert_eq!((answer.status, answer.closes), (202, false));
        assert_eq!(verdict(&answer), Verdict::Accepted(OrderId::new(7).unwrap()));
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let flaw = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(flaw("HTTP/1.0 200 OK\r\n\r\n"), Flaw::StatusLine);
        assert_eq!(flaw("HTTP/1.1 2000 OK\r\n\r\n"), Flaw::StatusLine);
        assert_eq!(flaw("HTTP/1.1 100 Continue\r\n\r\n"), Flaw::Interim);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), Flaw::Header);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\n\r\n"), Flaw::Length);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), Flaw::Length);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx"), Flaw::Length);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Flaw::Chunked);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy"), Flaw::Excess);
        assert_eq!(flaw("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n"), Flaw::TooLong);
        assert_eq!(flaw(&format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(ANSWER_MAX))), Flaw::TooLong);
        assert_eq!(flaw(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(HEADERS_MAX + 1))), Flaw::TooLong);
        let closing = parse(b"HTTP/1.1 204\r\nCONNECTION: Close\r\ncontent-length: 0\r\n\r\n").unwrap().unwrap();
        assert_eq!((closing.status, closing.closes), (204, true));
    }

    #[test]
    fn verdicts_follow_status_and_code() {
        let of = |status, body: &'static str| verdict(&Answer { status, body: body.as_bytes(), closes: false });
        assert_eq!(
            of(202, r#"{ "status" : "pending", "order_id" : "9" }"#),
            Verdict::Pending(OrderId::new(9).unwrap())
        );
        assert_eq!(of(409, r#"{"title":"Sold out","code":"sold_out"}"#), Verdict::Refused("sold_out"));
        assert_eq!(of(409, r#"{"code":"conflict"}"#), Verdict::Deferred("conflict"));
        assert_eq!(of(503, r#"{"code":"overloaded"}"#), Verdict::Deferred("overloaded"));
        assert_eq!(of(503, r#"{"code":"outcome_unknown"}"#), Verdict::Deferred("outcome_unknown"), "asked again");
        assert_eq!(of(429, r#"{"code":"rate_limited"}"#), Verdict::Deferred("rate_limited"));
        assert_eq!(of(401, r#"{"code":"forbidden"}"#), Verdict::Unexpected { status: 401, what: "forbidden" });
        assert_eq!(of(409, "sold out"), Verdict::Unexpected { status: 409, what: "no code" });
        assert_eq!(
            of(202, r#"{"order_id":"","status":"accepted"}"#),
            Verdict::Unexpected { status: 202, what: "no order id" }
        );
        assert_eq!(
            of(202, r#"{"order_id":"9","status":"sold"}"#),
            Verdict::Unexpected { status: 202, what: "neither accepted nor pending" }
        );
    }

    #[test]
    fn a_member_is_a_quoted_name_with_a_plain_text() {
        assert_eq!(member(br#"{"a":"code","code":"x"}"#, "code"), Some("x"));
        assert_eq!(member(br#"{"encode":"y","code":"x"}"#, "code"), Some("x"));
        assert_eq!(member(br#"{"code":7}"#, "code"), None);
        assert_eq!(member(br#"{"code":"a\"b"}"#, "code"), None);
        assert_eq!(member(br#"{"code":"open"#, "code"), None);
        assert_eq!(member(b"", "code"), None);
    }
}
