//! Asks a running server over its second port. One request a connection: people type these
//! commands.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use order_writer::{desk::Expiry, parked::ParkedCommand, progress::Progress};

use crate::{
    control::ExpiryTold,
    desk::{Done, Wish},
    folder::ServerNote,
    parked,
};

/// How long a server may take for anything that it is asked.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not there, or not well.
    #[error("the server at {address} (process {pid}) does not answer: {cause}; its log says more, and starting it again loses nothing", address = note.admin, pid = note.pid)]
    Away {
        /// Who was asked.
        note: Box<ServerNote>,
        /// Why.
        cause: String,
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
    let (status, answer) = ask(note, key, "POST", "/sales", text.into()).await?;
    match status {
        StatusCode::OK => Ok(Ok(answer)),
        StatusCode::BAD_REQUEST => Ok(Err(detail(&answer))),
        _ => Err(ClientError::Refused { note: Box::new(note.clone()), status, text: detail(&answer) }),
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
        let (status, answer) = ask(note, key, "POST", &wish.path(), Bytes::new()).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => return Ok(Err(detail(&answer))),
            _ => return Err(ClientError::Refused { note: Box::new(note.clone()), status, text: detail(&answer) }),
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
    let method = if matches!(command, ParkedCommand::List { .. }) { "GET" } else { "POST" };
    let (status, answer) = ask(note, key, method, &parked::path(command), Bytes::new()).await?;
    match status {
        StatusCode::OK => Ok(Ok(answer)),
        StatusCode::CONFLICT => Ok(Err(detail(&answer))),
        _ => Err(ClientError::Refused { note: Box::new(note.clone()), status, text: detail(&answer) }),
    }
}

/// The part of a problem that is for people.
fn detail(problem: &str) -> String {
    let told = serde_json::from_str::<serde_json::Value>(problem).ok();
    let detail = told.as_ref().and_then(|told| told.get("detail")).and_then(serde_json::Value::as_str);
    detail.unwrap_or(problem).to_owned()
}

async fn ask(
    note: &ServerNote,
    key: &str,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, String), ClientError> {
    let away = |cause: String| ClientError::Away { note: Box::new(note.clone()), cause };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, note.admin.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .body(Full::new(body))
        .map_err(|error| away(error.to_string()))?;
    let exchange = async {
        let stream = TcpStream::connect(note.admin).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driven = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        driven.abort();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("nothing within {PATIENCE:?}"))).map_err(away)
}
