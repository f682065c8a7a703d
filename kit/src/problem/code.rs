//! The stable codes: what a client program may act on. Their spelling, once published, never
//! changes.

use std::fmt;

use hyper::StatusCode;

macro_rules! codes {
    ($($(#[$docs:meta])* $variant:ident = $code:literal, $status:ident, $title:literal;)*) => {
        /// What kind of problem, for programs. Titles may be reworded; codes may not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$docs])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of declaration; for metrics and documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as sent, in `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The problem type: `urn:flashsale:problem:` and the code.
            #[must_use]
            pub const fn type_uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("urn:flashsale:problem:", $code),)* }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// A short sentence for people, the same at every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// Business outcome: no unit left to promise.
    SoldOut = "sold_out", CONFLICT, "Sold out";
    /// Business outcome: the buyer has as many as one buyer may have.
    LimitReached = "limit_reached", CONFLICT, "Limit per buyer reached";
    /// Business outcome: the sale opens later.
    NotStarted = "not_started", CONFLICT, "The sale has not started";
    /// Business outcome: the sale is over.
    Ended = "ended", CONFLICT, "The sale has ended";
    /// Business outcome: the merchant has stopped the sale for now.
    Paused = "paused", CONFLICT, "The sale is paused";
    /// This client asks too often.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// All clients together ask too much.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Overloaded";
    /// The lane is closed while its stock is rebuilt, or something behind the service is away. Not
    /// a "no".
    TemporarilyUnavailable = "temporarily_unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable";
    /// Something behind the service did not answer: the request may have been carried out or not.
    /// Its idempotency key finds out.
    OutcomeUnknown = "outcome_unknown", SERVICE_UNAVAILABLE, "Outcome unknown";
    /// The same idempotency key came before with another request.
    IdempotencyMismatch = "idempotency_mismatch", UNPROCESSABLE_ENTITY, "Idempotency key used for another request";
    /// No token, or not a valid one.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Authentication required";
    /// A valid token that may not do this.
    Forbidden = "forbidden", FORBIDDEN, "Forbidden";
    /// Business outcome: the sale counts another kind of subject than the token's.
    WrongSubject = "wrong_subject", FORBIDDEN, "Another kind of buyer";
    /// Business outcome: the sale is for members, and the token is none's.
    MembersOnly = "members_only", FORBIDDEN, "Members only";
    /// Business outcome: the price is not the one that the buyer expected. `current` shows it.
    PriceChanged = "price_changed", CONFLICT, "Another price";
    /// Nothing here, or nothing this caller may know of.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// The path exists, the method does not. Goes with an `Allow` header.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The request cannot be understood, or a field is wrong.
    InvalidRequest = "invalid_request", BAD_REQUEST, "Invalid request";
    /// The state of the thing does not allow it, or the same request is still in flight.
    Conflict = "conflict", CONFLICT, "Conflict";
    /// The thing has another version than the one that the client last saw. The answer shows it.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Changed meanwhile";
    /// The tenant's plan allows no more of this.
    QuotaExceeded = "quota_exceeded", FORBIDDEN, "Quota exceeded";
    /// The body is larger than allowed.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "Request too large";
    /// The body is of another media type, charset or content coding than the route reads.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// A fault of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_statuses_are_those_of_the_published_table() {
        let table: Vec<(&str, u16)> = Code::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
        let published = [
            ("sold_out", 409),
            ("limit_reached", 409),
            ("not_started", 409),
            ("ended", 409),
            ("paused", 409),
            ("rate_limited", 429),
            ("overloaded", 503),
            ("temporarily_unavailable", 503),
            ("outcome_unknown", 503),
            ("idempotency_mismatch", 422),
            ("unauthenticated", 401),
            ("forbidden", 403),
            ("wrong_subject", 403),
            ("members_only", 403),
            ("price_changed", 409),
            ("not_found", 404),
            ("method_not_allowed", 405),
            ("invalid_request", 400),
            ("conflict", 409),
            ("precondition_failed", 412),
            ("quota_exceeded", 403),
            ("too_large", 413),
            ("unsupported_media_type", 415),
            ("internal", 500),
        ];
        assert_eq!(table, published);
    }

    #[test]
    fn codes_are_distinct_snake_case_and_part_of_their_type() {
        let distinct: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
            assert_eq!(code.type_uri(), format!("urn:flashsale:problem:{code}"));
            assert!(!code.title().is_empty());
        }
    }
}
