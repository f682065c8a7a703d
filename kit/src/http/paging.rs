//! Lists in pages: where the last one ended, and how many items the next one has. Never by offset:
//! what is added meanwhile would shift the items.

use utoipa::IntoParams;

use super::query::{Query, wrong_parameter};
use crate::problem::Problem;

/// Most items of a page.
pub const PAGE_LIMIT_MAX: u32 = 100;

/// Items of a page, where the client does not say.
pub const PAGE_LIMIT_DEFAULT: u32 = 20;

/// Most characters of a cursor.
const CURSOR_LEN_MAX: usize = 256;

/// The page that is asked for; also its part of an OpenAPI document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageAsked {
    /// `next_cursor` of the page before, as it came: opaque, and its receiver's alone.
    #[param(nullable = false, min_length = 1, max_length = 256)]
    pub cursor: Option<String>,
    /// Items of the page.
    #[param(required = false, minimum = 1, maximum = 100, default = 20)]
    pub limit: u32,
}

impl PageAsked {
    /// Reads the query of a route that has no other parameters.
    ///
    /// # Errors
    ///
    /// A problem that names the parameter that is wrong.
    pub fn read(query: Option<&str>) -> Result<Self, Box<Problem>> {
        Self::of(&Query::parse(query, &["cursor", "limit"])?)
    }

    /// Reads it from the query of a route that has `cursor` and `limit` among its parameters.
    ///
    /// # Errors
    ///
    /// As [`PageAsked::read`].
    pub fn of(query: &Query<'_>) -> Result<Self, Box<Problem>> {
        let cursor = query.get("cursor").map(str::to_owned);
        if cursor.as_ref().is_some_and(|cursor| !(1..=CURSOR_LEN_MAX).contains(&cursor.chars().count())) {
            return Err(Self::wrong_cursor());
        }
        let limit = query.get("limit").map_or(Some(PAGE_LIMIT_DEFAULT), number);
        let limit = limit.filter(|limit| (1..=PAGE_LIMIT_MAX).contains(limit));
        let limit = limit.ok_or_else(|| wrong_parameter("limit", format!("give 1 to {PAGE_LIMIT_MAX}")))?;
        Ok(Self { cursor, limit })
    }

    /// The refusal of a cursor that the service did not write for this caller.
    #[must_use]
    pub fn wrong_cursor() -> Box<Problem> {
        wrong_parameter("cursor", "give the next_cursor of an earlier page of this caller")
    }
}

/// A number in its one spelling: digits, no sign, no leading zero.
fn number(sent: &str) -> Option<u32> {
    let is_plain = sent.bytes().all(|byte| byte.is_ascii_digit()) && !sent.starts_with('0');
    sent.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::ParameterIn;

    use super::*;

    #[test]
    fn a_page_is_asked_for_within_bounds() {
        assert_eq!(PageAsked::read(None), Ok(PageAsked { cursor: None, limit: PAGE_LIMIT_DEFAULT }));
        let asked = PageAsked::read(Some("cursor=a-b&limit=100")).unwrap();
        assert_eq!(asked, PageAsked { cursor: Some("a-b".to_owned()), limit: PAGE_LIMIT_MAX });
        let wrong_field = |query: &str| PageAsked::read(Some(query)).unwrap_err().field_errors[0].field.clone();
        for bad in ["limit=0", "limit=101", "limit=x", "limit=%2B5", "limit=+5", "limit=05", "limit=", "limit=5%20"] {
            assert_eq!(wrong_field(bad), "limit", "{bad}");
        }
        assert_eq!(wrong_field("cursor="), "cursor");
        assert_eq!(wrong_field(&format!("cursor={}", "x".repeat(CURSOR_LEN_MAX + 1))), "cursor");
        assert!(PageAsked::read(Some("limt=1")).is_err());
    }

    /// The attributes above are literals; they say what the constants say.
    #[test]
    fn the_document_says_the_same_bounds() {
        let parameters = serde_json::to_value(PageAsked::into_params(|| Some(ParameterIn::Query))).unwrap();
        assert_eq!(parameters[0]["schema"]["maxLength"], CURSOR_LEN_MAX);
        assert_eq!(parameters[1]["schema"]["maximum"], PAGE_LIMIT_MAX);
        assert_eq!(parameters[1]["schema"]["default"], PAGE_LIMIT_DEFAULT);
        assert_eq!((&parameters[0]["required"], &parameters[1]["required"]), (&false.into(), &false.into()));
    }
}
