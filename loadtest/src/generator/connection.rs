//! One keep-alive connection: writes a request, reads its answer, and notices an end that came in
//! between. It decides nothing about retries.

use std::{io, net::SocketAddr};

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::response::{self, ANSWER_MAX, Answer, Flaw};

/// Room for the answers to be expected; longer ones grow it.
const INBOX_BYTES: usize = 4 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection failed.
    #[error("{}", fault(.0))]
    Io(#[from] io::Error),
    /// It ended, before or amid the answer.
    #[error("{}", if *.amid { "connection ended amid an answer" } else { "connection ended without an answer" })]
    Ended {
        /// Part of the answer was there.
        amid: bool,
    },
    /// These bytes are no answer.
    #[error("not an answer: {0}")]
    Flaw(#[from] Flaw),
}

/// A stable name, without addresses and numbers that differ from case to case.
fn fault(error: &io::Error) -> String {
    format!("connection failed: {}", error.kind())
}

#[derive(Debug)]
pub(super) struct Connection {
    target: SocketAddr,
    stream: Option<TcpStream>,
    inbox: Vec<u8>,
    filled: usize,
}

impl Connection {
    pub(super) fn to(target: SocketAddr) -> Self {
        Self { target, stream: None, inbox: vec![0; INBOX_BYTES], filled: 0 }
    }

    /// Whether a connection stands, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// Connects anew.
    pub(super) async fn connect(&mut self) -> io::Result<()> {
        self.close();
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Ends the connection in order (FIN).
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.filled = 0;
    }

    /// Ends the connection with a reset (RST).
    pub(super) fn reset(&mut self) {
        if let Some(stream) = &self.stream {
            // Without it the connection ends in order: also an abort.
            drop(stream.set_zero_linger());
        }
        self.close();
    }

    /// Closes a connection that the server has ended while nobody used it.
    pub(super) fn drop_if_ended(&mut self) {
        if let Some(stream) = &self.stream {
            // Between answers there is nothing to read: whatever comes but "not now" is an end.
            let quiet = matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if !quiet {
                self.close();
            }
        }
    }

    /// Writes a whole request.
    pub(super) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let mut rest = request;
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a whole answer. After an error the connection is of no use.
    pub(super) async fn answer(&mut self) -> Result<Answer<'_>, Broken> {
        let stream = self.stream.as_mut().ok_or(io::Error::from(io::ErrorKind::NotConnected))?;
        self.filled = 0;
        let shape = loop {
            if self.filled == self.inbox.len() {
                // One byte more than an answer may have shows that it is too long.
                self.inbox.resize((self.inbox.len() * 2).min(ANSWER_MAX + 1), 0);
            }
            // Not `try_read`: that one does not remember that a short read has emptied the socket,
            // and reads in vain next time.
            match stream.read(&mut self.inbox[self.filled..]).await? {
                0 => return Err(Broken::Ended { amid: self.filled > 0 }),
                read => self.filled += read,
            }
            if let Some(shape) = response::parse(&self.inbox[..self.filled])? {
                break shape;
            }
        };
        Ok(shape.of(&self.inbox[..self.filled]))
    }

    /// Connects and asks for the time, so often.
    pub(super) async fn warm(&mut self, requests: usize) -> Result<(), String> {
        self.connect().await.map_err(|error| format!("{}: {error}", self.target))?;
        let request = format!("GET /v1/time HTTP/1.1\r\nhost: {}\r\n\r\n", self.target);
        for _ in 0..requests {
            self.send(request.as_bytes()).await.map_err(|error| error.to_string())?;
            let answer = self.answer().await.map_err(|error| format!("GET /v1/time: {error}"))?;
            if answer.status != 200 {
                return Err(format!("GET /v1/time was answered {}", answer.status));
            }
            if answer.closes {
                return Err("the target closes its connections after one answer".into());
            }
        }
        Ok(())
    }
}
