//! Request bodies, whole and bounded in size and time. The common small body, which came with its
//! headers, costs no copy and no timer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::Sleep;

use crate::problem::{Code, Problem};

/// Why there is no body. The connection is closed after the answer: what follows on it cannot be
/// told from the rest of this body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed, or says that it will be.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// It was not here in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// The client broke it off, or its chunks make no sense.
    #[error("the body broke off or is malformed")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge => Code::TooLarge,
            BodyError::Timeout | BodyError::Broken => Code::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

/// Reads a whole body of at most `bytes_max`, waiting at most `deadline` for it. A `Content-Length`
/// beyond the limit is refused before a byte is read. The usual bounds are
/// [`BODY_BYTES_MAX`](super::BODY_BYTES_MAX) and [`BODY_DEADLINE`](super::BODY_DEADLINE).
///
/// # Errors
///
/// When the body is too large, too slow or broken.
pub async fn read_body<B>(body: B, bytes_max: usize, deadline: Duration) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge);
    }
    let mut reading = pin!(collect(body, bytes_max));
    // A small body came in the same packet as its headers: look before setting a timer.
    let at_hand = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
    match at_hand {
        Poll::Ready(result) => result,
        Poll::Pending => tokio::time::timeout(deadline, reading).await.unwrap_or(Err(BodyError::Timeout)),
    }
}

async fn collect<B>(mut body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let first = next_piece(&mut body).await?.unwrap_or_default();
    if first.len() > bytes_max {
        return Err(BodyError::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next_piece(&mut body).await? else { return Ok(first) };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity((first.len() + second.len()).saturating_add(announced).min(bytes_max));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&bytes);
        piece = next_piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// A body that is read piece by piece, bounded in size and time like a whole one: no more of it
/// than a piece is held here.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    left: usize,
    deadline: Pin<Box<Sleep>>,
    is_over: bool,
}

impl Upload {
    /// Of at most `bytes_max`, all of which must be here within `deadline`.
    pub(crate) fn new(body: Incoming, bytes_max: usize, deadline: Duration) -> Self {
        Self { body, left: bytes_max, deadline: Box::pin(tokio::time::sleep(deadline)), is_over: false }
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    ///
    /// When the body is too large, too slow or broken.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.body.size_hint().lower() > u64::try_from(self.left).unwrap_or(u64::MAX) {
            return Err(BodyError::TooLarge);
        }
        let piece = tokio::select! {
            piece = next_piece(&mut self.body) => piece?,
            () = &mut self.deadline => return Err(BodyError::Timeout),
        };
        self.is_over = piece.is_none();
        let length = piece.as_ref().map_or(0, Bytes::len);
        self.left = self.left.checked_sub(length).ok_or(BodyError::TooLarge)?;
        Ok(piece)
    }

    /// Whether all of it was read.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }
}

/// The next data of the body; trailers are passed over.
async fn next_piece<B>(body: &mut B) -> Result<Option<Bytes>, BodyError>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_transport| BodyError::Broken)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::Context;

    use http_body_util::{Empty, Full};
    use hyper::body::Frame;

    use super::*;

    const NO_TIME: Duration = Duration::from_millis(20);

    /// A body of unknown length, in pieces; `None` is a piece that never comes.
    struct Pieces(VecDeque<Option<Result<Frame<Bytes>, std::io::Error>>>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            if let Some(None) = self.0.front() {
                return Poll::Pending;
            }
            Poll::Ready(self.0.pop_front().flatten())
        }
    }

    fn data(text: &'static str) -> Option<Result<Frame<Bytes>, std::io::Error>> {
        Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![7; 64]);
        let read = read_body(Full::new(bytes.clone()), 64, NO_TIME).await.unwrap();
        assert_eq!(read.as_ptr(), bytes.as_ptr());
        let read = read_body(Pieces([data("only")].into()), 64, NO_TIME).await.unwrap();
        assert_eq!(read, "only");
    }

    #[tokio::test]
    async fn no_body_is_an_empty_one() {
        assert_eq!(read_body(Empty::new(), 0, NO_TIME).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn pieces_are_joined_and_trailers_passed_over() {
        let trailers = Some(Ok(Frame::trailers(hyper::HeaderMap::new())));
        let body = Pieces([data("ab"), data("cd"), trailers, data("ef")].into());
        assert_eq!(read_body(body, 6, NO_TIME).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn a_body_may_be_exactly_as_large_as_allowed() {
        assert!(read_body(Full::new(Bytes::from_static(b"abcd")), 4, NO_TIME).await.is_ok());
        assert_eq!(read_body(Full::new(Bytes::from_static(b"abcde")), 4, NO_TIME).await, Err(BodyError::TooLarge));
        assert!(read_body(Pieces([data("ab"), data("cd")].into()), 4, NO_TIME).await.is_ok());
        assert_eq!(read_body(Pieces([data("ab"), data("cde")].into()), 4, NO_TIME).await, Err(BodyError::TooLarge));
        assert_eq!(read_body(Pieces([data("abcde")].into()), 4, NO_TIME).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let body = Pieces([data("ab"), None].into());
        assert_eq!(read_body(body, 64, NO_TIME).await, Err(BodyError::Timeout));
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_told_from_one_that_ends() {
        let body = Pieces([data("ab"), Some(Err(std::io::Error::other("reset")))].into());
        assert_eq!(read_body(body, 64, NO_TIME).await, Err(BodyError::Broken));
    }
}
