//! Why a call to a store failed, in words for an operator, with the error of the store's client
//! behind them.

use std::{error::Error, fmt, sync::Arc};

/// What happened, and the client's error that says so, if there is one. The words hold what that
/// error says, so that a line of the log that shows no sources lacks nothing.
#[derive(Clone)]
pub struct Cause {
    what: Arc<str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// What happened, by an error of the client.
    pub fn new(what: impl Into<Arc<str>>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { what: what.into(), source: Some(Arc::new(source)) }
    }

    /// What an error of the client says.
    pub fn of(source: impl Error + Send + Sync + 'static) -> Self {
        Self::new(source.to_string(), source)
    }
}

impl From<String> for Cause {
    fn from(what: String) -> Self {
        Self { what: what.into(), source: None }
    }
}

impl From<&str> for Cause {
    fn from(what: &str) -> Self {
        Self { what: what.into(), source: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.what, formatter)
    }
}

/// Of two that say the same it does not matter which error said it first.
impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.what == other.what
    }
}

impl Eq for Cause {}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::sql::SqlError;

    /// The client's error is found behind ours, whoever asks along the chain.
    #[test]
    fn the_clients_error_is_the_source() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = SqlError::Unreachable(Cause::of(refused));
        let chain = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let found = chain.filter_map(|error| error.downcast_ref::<io::Error>()).next();
        assert_eq!(found.map(io::Error::kind), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(error, SqlError::Unreachable(io::Error::from(io::ErrorKind::ConnectionRefused).to_string().into()));
    }
}
