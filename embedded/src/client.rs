//! Asks a running server over its second port. Each request is sent once: people type these
//! commands.

use std::time::Duration;

use kit::{
    client::{Ask, Client, ClientLimits},
    http::StatusCode,
};
use order_writer::{desk::Expiry, parked::ParkedCommand, progress::Progress};

use crate::{
    control::ExpiryTold,
    desk::{Done, Wish},
    folder::ServerNote,
    parked,
};

/// How long a server may take for anything that it is asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer: a list of parked records is the longest there is.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not there, or not well.
    #[error("the server at {address} (process {pid}) does not answer: {cause}; its log says more, and starting it again loses nothing", address = note.admin, pid = note.pid)]
    Away {
        /// Who was asked.
        note: Box<ServerNote>,
        /// Why.
        #[source]
        cause: kit::client::ClientError,
    },
    /// It answered something else.
    #[error("the server at {address} answered {status}: {text}", address = note.admin)]
    Refused {
        /// Who was asked.
        note: Box<ServerNote>,
        /// Its status.
        status: StatusCode,
        /// What it said.
        text: String,
    },
}

/// Publishes a sale file. The inner error: what is wrong with the file.
///
/// # Errors
/// [`ClientError`]; publishing the same file again is harmless.
pub async fn publish(note: &ServerNote, key: &str, text: String) -> Result<Result<String, String>, ClientError> {
    let (status, answer) = ask(note, key, Ask::post("/sales").body(text)).await?;
    match status {
        StatusCode::OK => Ok(Ok(answer)),
        StatusCode::BAD_REQUEST => Ok(Err(answer)),
        _ => Err(ClientError::Refused { note: Box::new(note.clone()), status, text: answer }),
    }
}

/// Asks for something at the desk, for an expiry again until nothing is left. The inner error: why
/// not.
///
/// # Errors
/// [`ClientError`]; asking again is harmless, and goes on with what is left.
pub async fn wish(note: &ServerNote, key: &str, wish: &Wish) -> Result<Result<String, String>, ClientError> {
    let (mut progress, mut sum) = (Progress::begin(), Expiry::default());
    loop {
        let (status, answer) = ask(note, key, Ask::post(wish.path())).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => return Ok(Err(answer)),
            _ => return Err(ClientError::Refused { note: Box::new(note.clone()), status, text: answer }),
        }
        // An order is cancelled in words.
        let Ok(step) = serde_json::from_str::<ExpiryTold>(&answer) else { return Ok(Ok(answer)) };
        let Expiry { expired, is_ended, kept, without_lane } = step.into();
        // What has no lane is met by each request.
        sum = Expiry { expired: sum.expired + expired, kept: sum.kept + kept, without_lane, is_ended };
        progress.show(&sum);
        if !is_ended {
            progress.end(&sum);
            return Ok(Ok(Done::Expired(sum).told()));
        }
    }
}

/// Asks about parked records. The inner error: why not.
///
/// # Errors
/// [`ClientError`]; asking again is harmless.
pub async fn parked(
    note: &ServerNote,
    key: &str,
    command: &ParkedCommand,
) -> Result<Result<String, String>, ClientError> {
    let is_read = matches!(command, ParkedCommand::List { .. });
    let path = parked::path(command);
    let (status, answer) = ask(note, key, if is_read { Ask::get(path) } else { Ask::post(path) }).await?;
    match status {
        StatusCode::OK => Ok(Ok(answer)),
        StatusCode::CONFLICT => Ok(Err(answer)),
        _ => Err(ClientError::Refused { note: Box::new(note.clone()), status, text: answer }),
    }
}

/// The status, and what was answered; of a refusal the part that is for people.
async fn ask(note: &ServerNote, key: &str, ask: Ask) -> Result<(StatusCode, String), ClientError> {
    let limits = ClientLimits {
        connect_deadline: PATIENCE,
        answer_deadline: PATIENCE,
        attempts_max: 1,
        body_bytes_max: ANSWER_BYTES_MAX,
    };
    let asked = async { Client::new(&note.admin.to_string(), limits)?.ask(&ask.bearer(key)).await };
    match asked.await {
        Ok(answer) => Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned())),
        Err(kit::client::ClientError::Refused(refusal)) => Ok((refusal.status, refusal.detail)),
        Err(cause) => Err(ClientError::Away { note: Box::new(note.clone()), cause }),
    }
}
