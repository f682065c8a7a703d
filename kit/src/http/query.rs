//! Query strings, for the few GET routes that have one. Names are plain, each may come once, values
//! are UTF-8.

use std::borrow::Cow;

use crate::problem::{Code, Problem};

/// Most parameters of a query; no route has a tenth of it.
const PARAMETERS_MAX: usize = 32;

/// Why a query string was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// What the percent-encoding says is not UTF-8.
    #[error("the query string is not percent-encoded UTF-8")]
    Encoding,
    /// A parameter came twice; which one counts would be a guess.
    #[error("the query parameter `{0}` came more than once")]
    Repeated(String),
    /// The route has no such parameter.
    #[error("there is no query parameter `{0}`")]
    Unknown(String),
    /// More parameters than any route has.
    #[error("the query string has more than {PARAMETERS_MAX} parameters")]
    TooMany,
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::new(Code::InvalidRequest, error.to_string())
    }
}

impl From<QueryError> for Box<Problem> {
    fn from(error: QueryError) -> Self {
        Self::new(error.into())
    }
}

/// The parameters of a query, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads what follows the `?`, as `request.uri().query()` gives it, for a route that has these
    /// parameters: a misspelt `limt` must not silently mean "no limit given". `+` is a space; `a`
    /// and `a=` are both the empty value; empty parts (`a=1&&b=2`) are passed over; a `%` without
    /// two hexadecimal digits stands for itself.
    ///
    /// # Errors
    ///
    /// When a parameter is not in `names` or repeats, when a value is not UTF-8, or when there are
    /// too many.
    pub fn parse(raw: Option<&'a str>, names: &[&str]) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            // The parser puts it in the place of what is not UTF-8; nobody means it.
            if [&name, &value].iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER)) {
                return Err(QueryError::Encoding);
            }
            if query.get(&name).is_some() {
                return Err(QueryError::Repeated(name.into_owned()));
            }
            if query.parameters.len() == PARAMETERS_MAX {
                return Err(QueryError::TooMany);
            }
            query.parameters.push((name, value));
        }
        match query.parameters.iter().find(|(name, _)| !names.contains(&name.as_ref())) {
            Some((name, _)) => Err(QueryError::Unknown(name.clone().into_owned())),
            None => Ok(query),
        }
    }

    /// The value of a parameter, if it came.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }
}

/// The refusal of a parameter's value; `message` says what would be right.
#[must_use]
pub fn wrong_parameter(name: &'static str, message: impl Into<Cow<'static, str>>) -> Box<Problem> {
    Box::new(Problem::new(Code::InvalidRequest, "the query cannot be understood").with_field(name, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_plain_ones_borrowed() {
        let raw = Some("cursor=abc&name=%E5%90%8D+a%2Bb%26c%3d&flag&empty=&&odd=%zz%");
        let query = Query::parse(raw, &["cursor", "name", "flag", "empty", "odd", "absent"]).unwrap();
        assert_eq!(query.get("cursor"), Some("abc"));
        assert_eq!(query.get("name"), Some("名 a+b&c="));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("odd"), Some("%zz%"));
        assert_eq!(query.get("absent"), None);
        assert!(matches!(query.parameters[0].1, Cow::Borrowed("abc")));
    }

    #[test]
    fn no_query_is_an_empty_one() {
        assert_eq!(Query::parse(None, &[]), Ok(Query::default()));
        assert_eq!(Query::parse(Some("&&"), &[]), Ok(Query::default()));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(Query::parse(Some("cursor=YQ=="), &["cursor"]).unwrap().get("cursor"), Some("YQ=="));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for raw in ["a=%ff", "a=%c3%28", "%ff=a"] {
            assert_eq!(Query::parse(Some(raw), &["a"]), Err(QueryError::Encoding), "{raw}");
        }
    }

    #[test]
    fn repeated_parameters_are_refused_however_they_are_spelt() {
        let repeated = Query::parse(Some("limit=1&%6Cimit=2"), &["limit"]);
        assert_eq!(repeated, Err(QueryError::Repeated("limit".to_owned())));
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        let names: Vec<String> = (0..=PARAMETERS_MAX).map(|index| format!("p{index}")).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(Query::parse(Some(&names.join("&")), &known), Err(QueryError::TooMany));
        assert!(Query::parse(Some(&names[1..].join("&")), &known).is_ok());
    }

    #[test]
    fn unknown_parameters_are_named() {
        let raw = Some("limit=1&limt=2");
        assert!(Query::parse(raw, &["limit", "limt"]).is_ok());
        assert_eq!(Query::parse(raw, &["limit"]), Err(QueryError::Unknown("limt".to_owned())));
    }
}
