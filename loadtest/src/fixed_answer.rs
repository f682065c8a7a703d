//! A server that knows one answer: what HTTP itself costs on this machine, and so the most that an
//! engine can reach. Plain hyper, one single-threaded runtime and listener for each thread as in
//! the engine, and nothing else of it. A process of its own, so that its CPU time is not the
//! generator's: `loadtest fixed-answer ADDRESS THREADS`.

use std::{convert::Infallible, io, net::SocketAddr, thread};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kit::{
    exit::Exit,
    http::Body,
    problem::{Code, Problem},
};
use tokio::{net::TcpListener, runtime::Builder, task::LocalSet};

/// The word on the command line that makes a server of this program. It is no scenario, and the
/// help leaves it out.
pub const COMMAND: &str = "fixed-answer";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum FixedAnswerError {
    /// The command line is not `fixed-answer ADDRESS THREADS`.
    #[error("give an address and a number of threads: {COMMAND} 127.0.0.1:8081 2")]
    Usage,
    /// The system refuses.
    #[error("the fixed answer could not be served: {0}; is the address free?")]
    Io(#[from] io::Error),
}

impl FixedAnswerError {
    /// The status with which a program ends that could not serve it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage => Exit::Usage,
            Self::Io(error) => Exit::of_system(error).unwrap_or(Exit::Software),
        }
    }
}

/// Serves until the process is killed. `arguments`: what stands behind [`COMMAND`].
///
/// # Errors
/// [`FixedAnswerError`] when it cannot begin.
pub fn run(arguments: impl IntoIterator<Item = String>) -> Result<Infallible, FixedAnswerError> {
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().ok_or(FixedAnswerError::Usage);
    let address: SocketAddr = next()?.parse().map_err(|_| FixedAnswerError::Usage)?;
    let threads: usize = next()?.parse().map_err(|_| FixedAnswerError::Usage)?;
    // All of them before any is served, or early connections crowd the first.
    let listeners = (0..threads).map(|_| kit::http::bind(address, true)).collect::<io::Result<Vec<_>>>()?;
    let servers: Vec<_> = listeners.into_iter().map(|listener| thread::spawn(|| serve(listener))).collect();
    for server in servers {
        server.join().map_err(|_| io::Error::other("a thread ended"))??;
    }
    Err(FixedAnswerError::Usage)
}

fn serve(listener: std::net::TcpListener) -> io::Result<Infallible> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::from_std(listener)?;
        // The same bytes as the engine's refusal.
        let refusal = Problem::new(Code::SoldOut, "fewer units are left than asked for").to_response();
        let Ok(body) = refusal.into_body().collect().await;
        let bytes = body.to_bytes();
        loop {
            let (stream, _peer) = listener.accept().await?;
            let bytes = bytes.clone();
            tokio::task::spawn_local(async move {
                let answer = service_fn(|request| answer(request, Body::new(bytes.clone())));
                // A connection that breaks is the client's business: it counts what it got.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
            });
        }
    })
}

async fn answer(request: Request<Incoming>, body: Body) -> Result<Response<Body>, hyper::Error> {
    // Read and forgotten, for a request that is not read is no request.
    let mut incoming = request.into_body();
    while let Some(frame) = incoming.frame().await {
        frame?;
    }
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::CONFLICT;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use kit::http::free_address;

    use super::*;
    use crate::response::{self, Verdict};

    /// What the generator counts as a refusal of the engine it must count as one here, request
    /// after request on one connection.
    #[test]
    fn every_request_is_refused_as_the_engine_refuses() {
        let address = free_address().unwrap();
        let arguments = [address.to_string(), "2".to_owned()];
        // It serves until the process ends.
        thread::spawn(move || run(arguments));
        let mut stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) => thread::yield_now(),
            }
        };
        let request = format!("POST /v1/orders HTTP/1.1\r\nhost: {address}\r\ncontent-length: 4\r\n\r\nbody");
        for _ in 0..3 {
            stream.write_all(request.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            let shape = loop {
                if let Some(shape) = response::parse(&bytes).unwrap() {
                    break shape;
                }
                let mut some = [0; 512];
                let read = stream.read(&mut some).unwrap();
                assert!(read > 0, "it keeps connections alive");
                bytes.extend_from_slice(&some[..read]);
            };
            assert_eq!(response::verdict(&shape.of(&bytes)), Verdict::Refused("sold_out"));
        }
    }

    #[test]
    fn it_says_how_it_is_called() {
        for arguments in [&[][..], &["127.0.0.1:1"], &["here", "2"], &["127.0.0.1:1", "two"]] {
            let error = run(arguments.iter().map(|argument| (*argument).to_owned())).unwrap_err();
            assert!(error.to_string().contains("fixed-answer 127"), "{error}");
        }
    }
}
