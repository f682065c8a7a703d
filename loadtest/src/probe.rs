//! Single questions over HTTP, before and around the load: is it ready, is the sale open. Slow and
//! simple on purpose.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::response::{self, ANSWER_MAX};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a page that lists all buyers of a lane, and how long that may be: a million take
/// about 60 MB.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);
const LONG_MAX: usize = 900_000_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// These bytes are no answer.
    #[error(transparent)]
    Flaw(#[from] response::Flaw),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It ended amid the answer.
    #[error("the connection ended amid the answer")]
    Ended,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub status: u16,
    /// The body, as far as it is text.
    pub body: String,
}

/// `GET path`, on a connection of its own. `token`: a bearer's, if any.
///
/// # Errors
/// [`ProbeError`] for whatever is not an answer.
pub async fn get(target: SocketAddr, path: &str, token: Option<&str>) -> Result<Reply, ProbeError> {
    within(TIMEOUT, ask(target, path, token, ANSWER_MAX)).await
}

/// The same for a page that may be long.
///
/// # Errors
/// [`ProbeError`] for whatever is not an answer.
pub async fn get_long(target: SocketAddr, path: &str, token: Option<&str>) -> Result<Reply, ProbeError> {
    within(LONG_TIMEOUT, ask(target, path, token, LONG_MAX)).await
}

async fn within(time: Duration, answer: impl Future<Output = Result<Reply, ProbeError>>) -> Result<Reply, ProbeError> {
    tokio::time::timeout(time, answer).await.map_err(|_| ProbeError::Timeout(time))?
}

async fn ask(target: SocketAddr, path: &str, token: Option<&str>, bytes_max: usize) -> Result<Reply, ProbeError> {
    let mut stream = TcpStream::connect(target).await?;
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {target}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(4 * 1024);
    loop {
        if let Some(shape) = response::parse_within(&bytes, bytes_max)? {
            let answer = shape.of(&bytes);
            return Ok(Reply { status: answer.status, body: String::from_utf8_lossy(answer.body).into_owned() });
        }
        if bytes.len() > bytes_max || stream.read_buf(&mut bytes).await? == 0 {
            return Err(ProbeError::Ended);
        }
    }
}
