//! Values that pass through settings, logs and error messages without being shown. Parsing a value
//! never fails: clap would quote it in its message. Whoever uses it judges it. What can fail is
//! reading the file that is named in its place.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

const HIDDEN: &str = "***";

/// Before the path of a file whose content is the value.
const FILE: &str = "file:";

/// The file that was named in place of a value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read: {source}")]
pub struct FileValueError {
    path: String,
    source: io::Error,
}

/// The value itself, or the content of the file that is named in its place, without the end of its
/// last line.
fn value_of(text: &str) -> Result<String, FileValueError> {
    let Some(path) = text.strip_prefix(FILE) else { return Ok(text.to_owned()) };
    let content = fs::read_to_string(path).map_err(|source| FileValueError { path: path.to_owned(), source })?;
    Ok(content.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a value names a file, which everybody may know.
pub(super) fn is_file(text: &str) -> bool {
    text.starts_with(FILE)
}

/// A secret. It has no `Display`, and Debug shows that there is one. It has no `From<String>`
/// either: clap would take that instead of `FromStr`, which reads a file that is named.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, to hand on and not to print.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = FileValueError;

    fn from_str(text: &str) -> Result<Self, FileValueError> {
        value_of(text).map(Self)
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

    /// Whether it says what is hidden when it is shown: a password, or options, among which one may
    /// be.
    pub(super) fn hides_something(&self) -> bool {
        self.to_string() != self.0
    }
}

impl ServiceUrl {
    /// This very URL.
    pub(super) fn plain(url: String) -> Self {
        Self(url)
    }
}

impl FromStr for ServiceUrl {
    type Err = FileValueError;

    fn from_str(text: &str) -> Result<Self, FileValueError> {
        value_of(text).map(Self)
    }
}

impl fmt::Display for ServiceUrl {
    /// Hides what stands between the first `:` behind the scheme and the last `@`: rather too much
    /// than too little, since a password that was not escaped may hold `@`, `/` or `:` itself. What
    /// follows a `?` is hidden too.
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
        assert_eq!(format!("{:?}", "hunter2".parse::<Secret>().unwrap()), "***");
    }

    #[test]
    fn a_file_stands_for_its_content() {
        let path = std::env::temp_dir().join(format!("kit-secret-{}", std::process::id()));
        fs::write(&path, "hunter2\n").unwrap();
        let named = format!("file:{}", path.display());
        assert_eq!(named.parse::<Secret>().unwrap().expose(), "hunter2");
        assert_eq!(named.parse::<ServiceUrl>().unwrap().expose(), "hunter2");
        fs::remove_file(&path).unwrap();
        let told = named.parse::<Secret>().unwrap_err().to_string();
        assert!(told.contains(&path.display().to_string()), "{told}");
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
            let url = ServiceUrl::plain(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }
}
