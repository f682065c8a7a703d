//! Query strings, for the few GET routes that have one. Names are plain, each may come once, values
//! are UTF-8.

use std::borrow::Cow;

use crate::problem::{Code, Problem};

/// Most parameters of a query; no route has a tenth of it.
const PARAMETERS_MAX: usize = 32;

/// Why a query string was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `%` is not followed by two hexadecimal digits, or what they say is not UTF-8.
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

/// The parameters of a query, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads what follows the `?`, as `request.uri().query()` gives it. `+` is a space; `a` and
    /// `a=` are both the empty value; empty parts (`a=1&&b=2`) are passed over.
    ///
    /// # Errors
    ///
    /// When the encoding is broken, a parameter repeats, or there are too many.
    pub fn parse(raw: Option<&'a str>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if query.get(&name).is_some() {
                return Err(QueryError::Repeated(name.into_owned()));
            }
            if query.parameters.len() == PARAMETERS_MAX {
                return Err(QueryError::TooMany);
            }
            query.parameters.push((name, value));
        }
        Ok(query)
    }

    /// The value of a parameter, if it came.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// Refuses parameters the route does not have: a misspelt `limt` must not silently mean "no
    /// limit given".
    ///
    /// # Errors
    ///
    /// Names the first parameter that is not in `names`.
    pub fn only(&self, names: &[&str]) -> Result<(), QueryError> {
        let stranger = self.parameters.iter().find(|(name, _)| !names.contains(&name.as_ref()));
        stranger.map_or(Ok(()), |(name, _)| Err(QueryError::Unknown(name.clone().into_owned())))
    }
}

fn decode(raw: &str) -> Result<Cow<'_, str>, QueryError> {
    if !raw.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = nibble(rest.next())?;
                (high << 4) | nibble(rest.next())?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_not_utf8| QueryError::Encoding)
}

fn nibble(digit: Option<u8>) -> Result<u8, QueryError> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(QueryError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_plain_ones_borrowed() {
        let query = Query::parse(Some("cursor=abc&name=%E5%90%8D+a%2Bb%26c%3d&flag&empty=")).unwrap();
        assert_eq!(query.get("cursor"), Some("abc"));
        assert_eq!(query.get("name"), Some("名 a+b&c="));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("absent"), None);
        assert!(matches!(query.parameters[0].1, Cow::Borrowed("abc")));
    }

    #[test]
    fn no_query_is_an_empty_one() {
        assert_eq!(Query::parse(None), Query::parse(Some("")));
        assert_eq!(Query::parse(Some("&&")), Ok(Query::default()));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(Query::parse(Some("cursor=YQ==")).unwrap().get("cursor"), Some("YQ=="));
    }

    #[test]
    fn broken_encodings_are_refused() {
        for raw in ["a=%", "a=%4", "a=%zz", "a=%+1", "%=a", "a=%ff", "a=%c3%28"] {
            assert_eq!(Query::parse(Some(raw)), Err(QueryError::Encoding), "{raw}");
        }
    }

    #[test]
    fn repeated_parameters_are_refused_however_they_are_spelt() {
        assert_eq!(Query::parse(Some("limit=1&%6Cimit=2")), Err(QueryError::Repeated("limit".to_owned())));
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        let names: Vec<String> = (0..=PARAMETERS_MAX).map(|index| format!("p{index}")).collect();
        assert_eq!(Query::parse(Some(&names.join("&"))), Err(QueryError::TooMany));
        assert!(Query::parse(Some(&names[1..].join("&"))).is_ok());
    }

    #[test]
    fn unknown_parameters_are_named() {
        let query = Query::parse(Some("limit=1&limt=2")).unwrap();
        assert_eq!(query.only(&["limit", "limt"]), Ok(()));
        assert_eq!(query.only(&["limit"]), Err(QueryError::Unknown("limt".to_owned())));
    }
}
