//! Values that pass through settings, logs and error messages without being shown. Parsing them never fails: clap would
//! quote the value in its message. Whoever uses them judges them.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

const HIDDEN: &str = "***";

/// A secret. It has no `Display`, and Debug shows that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, to hand on and not to print.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(secret: &str) -> Result<Self, Infallible> {
        Ok(Self(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HIDDEN)
    }
}

/// The URL of a service, which may hold a password. Debug and Display show it without.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// The whole URL, password and all, to connect with and not to print.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ServiceUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl FromStr for ServiceUrl {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Display for ServiceUrl {
    /// Hides what stands between the first `:` behind the scheme and the last `@`: rather too much than too little,
    /// since a password that was not escaped may hold `@`, `/` or `:` itself. What follows a `?` is hidden too.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("", self.0.as_str()),
        };
        if !scheme.is_empty() {
            write!(formatter, "{scheme}://")?;
        }
        let place = match rest.rsplit_once('@') {
            Some((login, place)) => {
                match login.split_once(':') {
                    Some((user, _password)) => write!(formatter, "{user}:{HIDDEN}@")?,
                    None => write!(formatter, "{login}@")?,
                }
                place
            }
            None => rest,
        };
        match place.split_once('?') {
            Some((place, _options)) => write!(formatter, "{place}?{HIDDEN}"),
            None => formatter.write_str(place),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "***");
    }

    #[test]
    fn urls_are_shown_without_their_password() {
        for (url, shown) in [
            ("mysql://root:hunter2@db:3306", "mysql://root:***@db:3306"),
            ("mysql://root@db:3306/x", "mysql://root@db:3306/x"),
            ("redis://:hunter2@r:6379/0", "redis://:***@r:6379/0"),
            ("redis://r:6379", "redis://r:6379"),
            ("mysql://root:hun@ter/2:x@db", "mysql://root:***@db"),
            ("mysql://db/x?password=hunter2", "mysql://db/x?***"),
            ("root:hunter2@db", "root:***@db"),
            ("redis://:a@r1,redis://:b@r2", "redis://:***@r2"),
            ("", ""),
        ] {
            let url = ServiceUrl::from(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
