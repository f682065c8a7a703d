//! How a command comes to the merchants' service: by a URL and a key; to the server that runs on
//! the data folder; or to the folder at rest, whose service then runs for as long as the command.

use std::time::Duration;

use kit::{
    client::{Ask, Client, ClientError, ClientLimits},
    exit::Exit,
    http::HeaderName,
};
use serde_json::Value;

use super::{ManageError, Place};
use crate::{
    config::ConfigError,
    folder::{self, FolderError},
    serve::{self, AtRest},
};

/// How long the service may take for one answer: a large file is read meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Says for which tenant the operator acts.
const ACT_FOR: HeaderName = HeaderName::from_static("flashsale-tenant");

/// Why the service does not answer a command.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The settings of the folder.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder's service does not start.
    #[error("{}", kit::exit::whole(.0.as_ref()))]
    Start(anyhow::Error),
    /// The URL is none that can be asked.
    #[error("{0}: give https://HOST, or http://HOST:PORT where the network is yours")]
    Url(String),
    /// A service elsewhere is asked with a key.
    #[error("--url needs an API key: FLASHSALE_API_KEY, or --key file:PATH")]
    NoKey,
    /// It refused.
    #[error("the service refused ({code}): {detail}")]
    Refused {
        /// The problem's code.
        code: String,
        /// For people: each wrong member too.
        detail: String,
    },
    /// It did not answer.
    #[error("the service does not answer: {0}")]
    Away(#[source] ClientError),
}

impl ConnectionError {
    /// The status with which the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Url(_) | Self::NoKey => Exit::Usage,
            Self::Folder(error) => error.exit(),
            Self::Start(error) => serve::exit_of(error),
            Self::Refused { .. } => Exit::No,
            Self::Away(_) => Exit::Unavailable,
        }
    }
}

impl From<ClientError> for ConnectionError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => {
                let code = if refusal.code.is_empty() { refusal.status.to_string() } else { refusal.code };
                let wrong = refusal.fields.iter().map(|(field, message)| format!("\n  {field}: {message}"));
                Self::Refused { code, detail: refusal.detail + &wrong.collect::<String>() }
            }
            error => Self::Away(error),
        }
    }
}

/// A service that can be asked.
pub(super) struct Connection {
    client: Client,
    token: String,
    tenant: Option<u32>,
    at_rest: Option<AtRest>,
}

impl Connection {
    /// To the service of this place; `tenant`: for which the folder's operator acts.
    pub(super) async fn open(place: &Place, tenant: Option<u32>) -> Result<Self, ManageError> {
        if let Some(url) = &place.url {
            if !["http://", "https://"].into_iter().any(|scheme| url.starts_with(scheme)) {
                return Err(ConnectionError::Url(url.clone()).into());
            }
            let key = place.key.as_ref().ok_or(ConnectionError::NoKey)?;
            return Ok(Self::to(url, key.expose(), None, None)?);
        }
        let config = place.folder.read().map_err(ConnectionError::Config)?;
        if let Some(note) = folder::running(&config.data).map_err(ConnectionError::Folder)? {
            let key = folder::control_key(&config.data).map_err(ConnectionError::Folder)?;
            return Ok(Self::to(&note.listen.to_string(), &key, tenant, None)?);
        }
        let at_rest = AtRest::start(&config).await.map_err(ConnectionError::Start)?;
        let (address, key) = (at_rest.address.to_string(), at_rest.key.clone());
        Ok(Self::to(&address, &key, tenant, Some(at_rest))?)
    }

    fn to(origin: &str, token: &str, tenant: Option<u32>, at_rest: Option<AtRest>) -> Result<Self, ConnectionError> {
        let limits =
            ClientLimits { answer_deadline: PATIENCE, body_bytes_max: ANSWER_BYTES_MAX, ..ClientLimits::default() };
        Ok(Self { client: Client::new(origin, limits)?, token: token.to_owned(), tenant, at_rest })
    }

    /// What the service answers; null for an answer without a body.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Value, ConnectionError> {
        let mut ask = ask.bearer(&self.token);
        if let Some(tenant) = self.tenant {
            ask = ask.header(ACT_FOR, &tenant.to_string());
        }
        let answer = self.client.ask(&ask).await?;
        if answer.body.is_empty() { Ok(Value::Null) } else { Ok(answer.json()?) }
    }

    /// Ends the service of a folder at rest, in order.
    pub(super) async fn close(self) -> Result<(), ConnectionError> {
        match self.at_rest {
            Some(at_rest) => at_rest.stop().await.map_err(ConnectionError::Start),
            None => Ok(()),
        }
    }
}
