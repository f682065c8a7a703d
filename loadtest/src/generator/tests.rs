//! The generator against a tiny server of its own, which answers, stalls and hangs up as each test
//! says.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
};

use domain::id::BuyerId;
use rand::{SeedableRng, rngs::SmallRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    plan::{self, Conduct},
    sale::LoadSale,
};

/// What the server does with a request.
enum Reply {
    Whole(String),
    ByteByByte(String),
    After(Duration, String),
    HangUp,
    HalfOf(String),
    Never,
}

fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Whatever\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn accepted(order: u64) -> String {
    answer(202, "", &format!(r#"{{"order_id":"{order}","status":"accepted"}}"#))
}

/// Serves on a free port until the test's runtime ends. `reply` gets the number of the purchase and
/// its text.
async fn server(reply: impl Fn(u64, &str) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reply, purchases) = (Arc::new(reply), Arc::new(AtomicU64::new(0)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reply, purchases) = (reply.clone(), purchases.clone());
            tokio::spawn(async move { serve(stream, &*reply, &purchases).await });
        }
    });
    address
}

async fn serve(
    mut stream: TcpStream,
    reply: &(impl Fn(u64, &str) -> Reply + Sync),
    purchases: &AtomicU64,
) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let reply = if request.starts_with("GET /v1/time ") {
            Reply::Whole(answer(200, "", "{}"))
        } else {
            reply(purchases.fetch_add(1, Ordering::SeqCst), &request)
        };
        match reply {
            Reply::Whole(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Reply::ByteByByte(text) => {
                for byte in text.as_bytes() {
                    stream.write_all(&[*byte]).await.ok()?;
                    tokio::task::yield_now().await;
                }
            }
            Reply::After(delay, text) => {
                tokio::time::sleep(delay).await;
                stream.write_all(text.as_bytes()).await.ok()?;
            }
            Reply::HangUp => return None,
            Reply::HalfOf(text) => {
                stream.write_all(&text.as_bytes()[..text.len() / 2]).await.ok()?;
                return None;
            }
            Reply::Never => {
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|&read| read > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |l| l.parse().unwrap());
        if body.len() >= length {
            return Some(text);
        }
    }
}

fn load(target: SocketAddr, sends: Vec<Attempt>) -> Load {
    let sale = LoadSale::fresh(10, 2, Some(4), 1_800_000_000_000, &mut SmallRng::seed_from_u64(1)).unwrap();
    let sign = |buyer: BuyerId| Ok::<_, Infallible>(format!("token-{buyer}"));
    let buyers = sends.iter().map(|send| send.buyer + 1).max().unwrap_or(1);
    let requests = Requests::build(&sale, "localhost", 0..buyers, 1, &sign, &AtomicU64::new(0)).unwrap();
    Load {
        target,
        requests: requests.into(),
        sends: sends.into(),
        connections: 4,
        threads: 1,
        rate: None,
        sending: Duration::from_secs(20),
        grace: Duration::from_secs(20),
        warm_up: 8,
        persistent: false,
    }
}

async fn run(load: Load) -> (Run, Reading) {
    let (meters, clock) = (Arc::new(Meters::default()), SystemClock::new());
    let generator = warm_up(load, &meters, clock).await.unwrap();
    let run = generator.run(clock.monotonic()).await.unwrap();
    (run, meters.read())
}

fn count(run: &Run, kind: Kind, text: &str) -> usize {
    let is = |note: &&Note| run.names[usize::from(note.name)] == Name { kind, text: text.to_owned() };
    run.notes.iter().filter(is).count()
}

/// As real clients: the same purchase again, until its outcome is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persistent_buyer_comes_back_until_the_outcome_is_known() {
    let target = server(|number, _| match number {
        0 => Reply::Whole(answer(503, "retry-after: 1\r\n", r#"{"code":"overloaded"}"#)),
        1 => Reply::HangUp,
        2 => Reply::Whole(accepted(7)),
        _ => Reply::Whole(answer(409, "", r#"{"code":"sold_out"}"#)),
    })
    .await;
    let load = Load { connections: 1, persistent: true, ..load(target, plan::ordinary(0..2)) };
    let (run, _) = run(load).await;
    let sends: Vec<u32> = run.notes.iter().map(|note| note.send).collect();
    assert_eq!(sends, [0, 0, 0, 1], "a final answer is not asked for again");
    assert_eq!((run.notes[2].order, count(&run, Kind::Accepted, "accepted")), (7, 1));
    assert!(run.notes[2].latency_us >= run.notes[0].latency_us, "a buyer waits from the first attempt on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_send_is_made_once_and_its_answer_noted() {
    let target = server(|number, _| match number % 4 {
        0 => Reply::ByteByByte(accepted(number + 1)),
        1 => Reply::Whole(answer(202, "", r#"{"order_id":"5","status":"pending"}"#)),
        2 => Reply::Whole(answer(409, "content-type: application/problem+json\r\n", r#"{"code":"sold_out"}"#)),
        _ => Reply::Whole(answer(503, "connection: close\r\n", r#"{"code":"overloaded"}"#)),
    })
    .await;
    for threads in [1, 2] {
        let (run, meters) = run(Load { threads, ..load(target, plan::ordinary(0..400)) }).await;
        assert_eq!((run.notes.len(), run.unsent), (400, 0));
        let mut sends: Vec<u32> = run.notes.iter().map(|note| note.send).collect();
        sends.sort_unstable();
        assert!(sends.into_iter().eq(0..400));
        assert_eq!(count(&run, Kind::Accepted, "accepted"), 100);
        assert_eq!(count(&run, Kind::Pending, "pending"), 100);
        assert_eq!(count(&run, Kind::Refused, "sold_out"), 100);
        assert_eq!(count(&run, Kind::Deferred, "overloaded"), 100);
        let expected = Reading { sent: 400, accepted: 100, pending: 100, refused: 200, ..Reading::default() };
        assert_eq!(meters, expected);
        assert!(run.cpu.is_some_and(|cpu| cpu > Duration::ZERO));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_counted_by_name_and_the_load_goes_on() {
    let target = server(|number, _| match number {
        0 => Reply::HangUp,
        1 => Reply::HalfOf(accepted(1)),
        2 => Reply::Whole("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into()),
        3 => Reply::Whole(answer(401, "", r#"{"code":"unauthenticated"}"#)),
        4 => Reply::Whole(answer(202, "", r#"{"order_id":"no number","status":"accepted"}"#)),
        _ => Reply::Whole(accepted(number)),
    })
    .await;
    let (run, meters) = run(Load { connections: 1, ..load(target, plan::ordinary(0..50)) }).await;
    assert_eq!(run.notes.len(), 50);
    for text in [
        "connection ended without an answer",
        "connection ended amid an answer",
        "not an answer: transfer-encoding",
        "401 unauthenticated",
        "202 no order id",
    ] {
        assert_eq!(count(&run, Kind::Unexpected, text), 1, "{text} in {:?}", run.names);
    }
    assert_eq!((meters.accepted, meters.unexpected), (45, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborting_client_writes_the_whole_request_and_reads_nothing() {
    let seen = Arc::new(AtomicU64::new(0));
    let target = server({
        let seen = seen.clone();
        move |number, request| {
            seen.fetch_add(u64::from(request.ends_with("\"quantity\":1}")), Ordering::SeqCst);
            Reply::Whole(accepted(number + 1))
        }
    })
    .await;
    let conduct = |buyer| match buyer % 3 {
        0 => Conduct::Read,
        1 => Conduct::Abort { reset: false, after_ms: 0 },
        _ => Conduct::Abort { reset: true, after_ms: 3 },
    };
    let sends = (0..60).map(|buyer| Attempt { buyer, conduct: conduct(buyer) }).collect();
    let (run, meters) = run(load(target, sends)).await;
    assert_eq!(count(&run, Kind::Accepted, "accepted"), 20);
    assert_eq!(count(&run, Kind::Aborted, "closed"), 20);
    assert_eq!(count(&run, Kind::Aborted, "reset"), 20);
    assert_eq!((meters.aborted, meters.sent, meters.unexpected), (40, 60, 0));
    // A reset may overtake its request; what ended in order arrives.
    while seen.load(Ordering::SeqCst) < 40 {
        tokio::task::yield_now().await;
    }
}

/// One answer of 200 ms on the only connection. Meanwhile two hundred sends of the open loop were
/// due: each has waited, and each says so. The closed loop sent none of them, and saw one slow
/// answer: that is coordinated omission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_counts_from_the_intended_time() {
    let stall = Duration::from_millis(200);
    let slow = |run: &Run| run.notes.iter().filter(|note| note.latency_us >= 100_000).count();
    let serve = move |number, _: &str| match number {
        100 => Reply::After(stall, accepted(1)),
        _ => Reply::Whole(accepted(1)),
    };
    let plan = || plan::ordinary(0..500);
    let open = Load { connections: 1, rate: Some(1_000.0), ..load(server(serve).await, plan()) };
    let (open, _) = run(open).await;
    let closed = Load { connections: 1, ..load(server(serve).await, plan()) };
    let (closed, _) = run(closed).await;
    assert!(slow(&open) >= 90, "{} sends of the open loop waited 100 ms or more", slow(&open));
    assert!(slow(&closed) < slow(&open), "{} in the closed loop", slow(&closed));
    let last = open.notes.iter().map(|note| note.at_us).max().unwrap();
    // Less half a millisecond: see `AIM_EARLY`.
    assert!(last >= 498_500, "500 sends at 1,000 a second take half a second, not {last} µs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_without_an_answer_is_noted_when_patience_ends() {
    let target = server(|number, _| if number == 3 { Reply::Never } else { Reply::Whole(accepted(1)) }).await;
    let short = Duration::from_millis(300);
    let load = Load { sending: short, grace: short, ..load(target, plan::ordinary(0..1_000_000)) };
    let (run, _) = run(load).await;
    assert_eq!(count(&run, Kind::Unexpected, "no answer in time"), 1);
    assert_eq!(run.notes.len() + run.unsent, 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_does_not_answer_is_told_before_the_clock_starts() {
    let nobody = kit::http::free_address().unwrap();
    let (meters, clock) = (Arc::new(Meters::default()), SystemClock::new());
    let refused = warm_up(load(nobody, plan::ordinary(0..10)), &meters, clock).await;
    assert!(matches!(refused, Err(GeneratorError::WarmUp(_))));
}

/// An engine that is restarted under load: its port is closed for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_goes_away_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let (meters, clock) = (Arc::new(Meters::default()), SystemClock::new());
    let first = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        serve(stream, &|_, _: &str| Reply::HangUp, &AtomicU64::new(0)).await
    });
    let load = Load { connections: 1, ..load(target, plan::ordinary(0..10)) };
    let generator = warm_up(load, &meters, clock).await.unwrap();
    let running = tokio::spawn(generator.run(clock.monotonic()));
    first.await.unwrap();
    while meters.read().connect_failures < 3 {
        tokio::task::yield_now().await;
    }
    let listener = TcpListener::bind(target).await.unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, &|_, _: &str| Reply::Whole(accepted(1)), &AtomicU64::new(0)).await
    });
    let run = running.await.unwrap().unwrap();
    assert_eq!(count(&run, Kind::Unexpected, "connection ended without an answer"), 1);
    assert_eq!(count(&run, Kind::Accepted, "accepted"), 9);
}
