//! Bytes on a socket, written by hand: no client library is between, which would put right what is
//! meant to be wrong.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Longest wait for an answer or a close: above every limit of the server but that for silence
/// between two requests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a service may take to be ready.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Answered {
        /// Three digits.
        status: u16,
        /// The problem's code, if it is a problem.
        code: Option<String>,
        /// Status line and headers, in lower case.
        head: String,
        /// The body.
        body: String,
    },
    /// The connection ended without another answer.
    Closed,
    /// Neither, for [`PATIENCE`].
    Hung,
}

impl Outcome {
    /// The status; 0 when there was no answer.
    pub fn status(&self) -> u16 {
        if let Self::Answered { status, .. } = self { *status } else { 0 }
    }

    /// Status and code.
    pub fn code(&self) -> (u16, &str) {
        match self {
            Self::Answered { status, code, .. } => (*status, code.as_deref().unwrap_or("none")),
            Self::Closed => (0, "closed"),
            Self::Hung => (0, "hung"),
        }
    }

    /// Status, head and body.
    ///
    /// # Errors
    /// When there was no answer.
    pub fn answered(self) -> anyhow::Result<(u16, String, String)> {
        match self {
            Self::Answered { status, head, body, .. } => Ok((status, head, body)),
            other => bail!("no answer: {other:?}"),
        }
    }
}

/// A request with a bearer token, as a good client writes it. `what`: method and path; `more`:
/// further headers, each with its end of line.
pub fn request(what: &str, token: &str, more: &str, body: &str) -> String {
    format!(
        "{what} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n{more}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A purchase under this idempotency key.
pub fn purchase(token: &str, key: &str, body: &str) -> String {
    request("POST /v1/orders", token, &format!("Idempotency-Key: {key}\r\n"), body)
}

/// Sends a request over a connection of its own, and waits for the answer.
///
/// # Errors
/// When nobody takes it.
pub fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> io::Result<Outcome> {
    let mut wire = Wire::connect(to)?;
    wire.send(request)?;
    Ok(wire.answer())
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// When it cannot.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(to)?)
    }

    /// Connects from one of the loopback's many addresses, each of which has ports of its own: an
    /// address has too few for a crowd.
    ///
    /// # Errors
    /// When it cannot.
    pub fn connect_from(host: u8, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0)).into())?;
        socket.connect(&to.into())?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Most connections of a crowd never read.
        Ok(Self { stream: BufReader::with_capacity(1_024, stream) })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Ends it with a reset, as a client whose process is killed.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn reset(self) -> io::Result<()> {
        Socket::from(self.stream.into_inner()).set_linger(Some(Duration::ZERO))
    }

    /// Waits for the next answer.
    pub fn answer(&mut self) -> Outcome {
        self.answer_with(true)
    }

    /// Waits for the answer to a HEAD: it tells of a body that does not come.
    pub fn answer_to_head(&mut self) -> Outcome {
        self.answer_with(false)
    }

    fn answer_with(&mut self, has_body: bool) -> Outcome {
        match self.read_answer(has_body) {
            Ok(outcome) => outcome,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Outcome::Hung,
            // A reset is an end too.
            Err(_ended) => Outcome::Closed,
        }
    }

    fn read_answer(&mut self, has_body: bool) -> io::Result<Outcome> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Ok(Outcome::Closed);
            }
        }
        let head = head.to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; if has_body { length } else { 0 }];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let is_problem = field("content-type") == Some("application/problem+json");
        let problem: Option<Value> = is_problem.then(|| serde_json::from_str(&body).ok()).flatten();
        let code = problem.and_then(|problem| Some(problem["code"].as_str()?.to_owned()));
        Ok(Outcome::Answered { status, code, head, body })
    }
}

/// Asks a loopback port with plain HTTP/1.1 and returns the whole answer.
///
/// # Errors
/// When nobody answers.
pub fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
