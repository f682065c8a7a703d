//! Server-sent events: a response that stays open. Bounded: a client that does not read is let go,
//! and comes again with the last id it saw. A heartbeat finds connections that are gone, and keeps
//! proxies from closing those that are quiet. Ends when the service drains.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::pieces::{Body, Stream};

/// Time between two heartbeats: below the 60 s after which proxies commonly close what is quiet,
/// and far below the deadline of an idle connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A comment, which clients pass over.
const BEAT: Bytes = Bytes::from_static(b":\n\n");

/// One event, as the client's `EventSource` gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// What a client that comes again sends as `Last-Event-ID`: no line break.
    pub id: &'a str,
    /// Its type: no line break.
    pub name: &'a str,
    /// Any text.
    pub data: &'a str,
}

impl Event<'_> {
    fn render(&self) -> Bytes {
        let mut text = format!("id: {}\nevent: {}\n", plain(self.id), plain(self.name));
        for line in self.data.split(['\r', '\n']) {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text.into()
    }
}

/// A line break would begin another field.
fn plain(field: &str) -> String {
    field.replace(['\r', '\n', '\0'], " ")
}

/// The client is gone, or reads so slowly that its events do not fit any more: it comes again by
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client does not take events any more; drop its sender, and it comes again")]
pub struct EventsEnded;

/// Where the events of one response go in. Dropping it ends the response.
#[derive(Debug)]
pub struct EventSender {
    events: mpsc::Sender<Bytes>,
}

impl EventSender {
    /// Sends an event, without waiting.
    ///
    /// # Errors
    ///
    /// When the client is gone, or as many events wait for it as may.
    pub fn send(&self, event: &Event<'_>) -> Result<(), EventsEnded> {
        self.events.try_send(event.render()).map_err(|_gone_or_full| EventsEnded)
    }

    /// Whether the client is gone, as far as is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Waits until the client is gone or the service drains.
    pub async fn closed(&self) {
        self.events.closed().await;
    }
}

/// A response of events, of which at most `waiting_max` (at least one) wait for their client. It
/// ends when the sender is dropped or `stop` is cancelled.
#[must_use]
pub fn events(waiting_max: usize, stop: CancellationToken) -> (EventSender, Response<Body>) {
    let (sender, waiting) = mpsc::channel(waiting_max.max(1));
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = EventBody { waiting, heartbeat, stop: Box::pin(stop.cancelled_owned()) };
    let mut response = Response::new(Body::of_stream(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (EventSender { events: sender }, response)
}

/// The body of such a response. Its first frame is a heartbeat, which sends the head at once.
struct EventBody {
    waiting: mpsc::Receiver<Bytes>,
    heartbeat: Interval,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl fmt::Debug for EventBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventBody").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Stream for EventBody {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.stop.as_mut().poll(context).is_ready() {
            // What waits goes out; nothing is added.
            self.waiting.close();
        }
        match self.waiting.poll_recv(context) {
            Poll::Ready(next) => Poll::Ready(next),
            Poll::Pending if self.heartbeat.poll_tick(context).is_ready() => Poll::Ready(Some(BEAT)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const EVENT: Event<'static> = Event { id: "7", name: "stock", data: "low" };

    async fn next(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_in_order_and_heartbeats_between() {
        let (sender, response) = events(4, CancellationToken::new());
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await.unwrap(), ":\n\n", "the head goes out at once");
        sender.send(&EVENT).unwrap();
        sender.send(&Event { id: "8\nevent: forged", data: "a\nb", ..EVENT }).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "id: 7\nevent: stock\ndata: low\n\n");
        let second = "id: 8 event: forged\nevent: stock\ndata: a\ndata: b\n\n";
        assert_eq!(next(&mut body).await.unwrap(), second);
        let quiet_since = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
        assert!(quiet_since.elapsed() <= HEARTBEAT);
        drop(sender);
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        let (sender, response) = events(2, CancellationToken::new());
        assert_eq!((sender.send(&EVENT), sender.send(&EVENT)), (Ok(()), Ok(())));
        assert_eq!(sender.send(&EVENT), Err(EventsEnded));
        drop(response);
        assert_eq!(sender.send(&EVENT), Err(EventsEnded));
        assert!(sender.is_closed());
        sender.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_the_stream_and_tells_the_sender() {
        let stop = CancellationToken::new();
        let (sender, response) = events(2, stop.clone());
        let mut body = response.into_body();
        sender.send(&EVENT).unwrap();
        stop.cancel();
        assert!(next(&mut body).await.unwrap().starts_with("id: 7\n"), "what waits goes out");
        assert_eq!(sender.send(&EVENT), Err(EventsEnded));
        assert_eq!(next(&mut body).await, None);
        sender.closed().await;
    }
}
