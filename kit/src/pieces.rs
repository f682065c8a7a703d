//! The body of a response: bytes that many responses may share, sent piece by piece, or a stream of
//! events. hyper copies what it is handed into the connection's buffer; handed a page of megabytes
//! whole, it would copy all of it for each client that does not read.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Most bytes handed over at a time: larger than any everyday answer, which goes out in one piece.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Pieces that are made while they are sent.
pub(crate) trait Stream: fmt::Debug + Send {
    /// The next piece; `None` at the end. hyper asks only while the client reads.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

/// The body of a response.
#[derive(Debug, Default)]
pub struct Body {
    content: Content,
}

enum Content {
    /// The rest of what is known.
    Bytes(Bytes),
    /// Boxed: everyday bodies stay small.
    Stream(Box<Streamed>),
}

struct Streamed {
    pieces: Box<dyn Stream>,
    /// Done with each piece.
    on_piece: Option<Box<dyn Fn() + Send>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(rest) => rest.fmt(formatter),
            Self::Stream(streamed) => streamed.pieces.fmt(formatter),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { content: Content::Bytes(bytes) }
    }

    /// A body whose pieces are made while it is sent, each when the client has read the one before:
    /// `next` makes a piece, and what the one after it is made from; `None` ends the body. A piece
    /// MUST NOT be empty. A body that cannot go on ends like one that is whole: announce its
    /// length, or have its last piece show that it is the last.
    pub fn of_pieces<S, N, F>(from: S, next: N) -> Self
    where
        S: Send + 'static,
        N: Fn(S) -> F + Send + 'static,
        F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
    {
        Self::of_stream(Pieces { making: Some(Box::pin(next(from))), next })
    }

    pub(crate) fn of_stream(pieces: impl Stream + 'static) -> Self {
        let streamed = Streamed { pieces: Box::new(pieces), on_piece: None };
        Self { content: Content::Stream(Box::new(streamed)) }
    }

    /// Has something done with each piece of a stream; nothing where all bytes are known.
    pub(crate) fn on_piece<F: Fn() + Send + 'static>(&mut self, make: impl FnOnce() -> F) {
        if let Content::Stream(streamed) = &mut self.content {
            streamed.on_piece = Some(Box::new(make()));
        }
    }
}

impl Streamed {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = self.pieces.poll_next(context);
        if let (Poll::Ready(_), Some(on_piece)) = (&next, &self.on_piece) {
            on_piece();
        }
        next
    }
}

/// See [`Body::of_pieces`].
struct Pieces<N, F> {
    making: Option<Pin<Box<F>>>,
    next: N,
}

impl<N, F> fmt::Debug for Pieces<N, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pieces").field("has_ended", &self.making.is_none()).finish_non_exhaustive()
    }
}

impl<S, N, F> Stream for Pieces<N, F>
where
    N: Fn(S) -> F + Send,
    F: Future<Output = Option<(Bytes, S)>> + Send,
{
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(making) = &mut self.making else { return Poll::Ready(None) };
        let made = ready!(making.as_mut().poll(context));
        let (piece, from) = made.unzip();
        self.making = from.map(|from| Box::pin((self.next)(from)));
        Poll::Ready(piece)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = match &mut self.content {
            Content::Bytes(rest) => rest,
            Content::Stream(pieces) => {
                return pieces.poll_next(context).map(|next| next.map(|piece| Ok(Frame::data(piece))));
            }
        };
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = rest.len().min(PIECE_BYTES_MAX);
        let piece = rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Bytes(rest) if rest.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(rest) => SizeHint::with_exact(u64::try_from(rest.len()).unwrap_or(u64::MAX)),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn a_large_body_goes_out_in_pieces_of_the_same_memory() {
        let bytes = Bytes::from(vec![7; 2 * PIECE_BYTES_MAX + 1]);
        let mut body = Body::new(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        let mut sent = 0;
        for length in [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 1] {
            assert!(!body.is_end_stream());
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((piece.len(), piece.as_ptr()), (length, bytes[sent..].as_ptr()));
            sent += length;
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(Body::default().is_end_stream());
    }

    #[tokio::test]
    async fn pieces_are_made_one_after_the_other_until_there_are_no_more() {
        let next = |from: u8| async move { (from < 3).then(|| (Bytes::from(vec![from]), from + 1)) };
        let mut body = Body::of_pieces(1, next);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (None, false));
        for expected in [1, 2] {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap()[..], [expected]);
        }
        assert!(body.frame().await.is_none() && body.frame().await.is_none());
    }
}
