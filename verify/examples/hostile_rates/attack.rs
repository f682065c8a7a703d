//! The attacks: each cheap for whoever makes it. They run on a thread of their own, whose CPU time
//! is known.

use std::{io, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use domain::id::{OfferId, SaleId};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// Between two bytes of a slow client.
const TRICKLE: Duration = Duration::from_secs(1);
/// Between two attempts to connect again.
const AGAIN: Duration = Duration::from_millis(200);
/// An attacker who asks often does so every so many milliseconds.
const TICK: Duration = Duration::from_millis(10);
/// Connections from one source address.
const PER_ADDRESS: usize = 5_000;
/// The attacker's thread, as the kernel knows it.
const THREAD: &str = "attacker";

/// Whom it hits.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The engine.
    pub(super) address: SocketAddr,
    /// A good token.
    pub(super) token: String,
    /// What is on sale.
    pub(super) offer: OfferId,
    /// A good token of a buyer of the same number in another shop.
    pub(super) stranger: String,
    /// Good tokens of buyers who come for nothing but their limit: [`HOLDERS`] of them.
    pub(super) holders: Arc<[String]>,
    /// A sale with a large page; the one on sale, for attacks that need none.
    pub(super) large: SaleId,
}

/// Buyers at their limit.
pub(super) const HOLDERS: u32 = 200;

/// What one hostile client does with a connection, again and again.
#[derive(Debug, Clone, Copy)]
enum Conduct {
    /// Says nothing.
    Silent,
    /// Asks once, and says nothing more.
    Idle,
    /// Sends this head, and then a byte now and then.
    Trickle(fn(&Target) -> String),
    /// Pipelines these, many at once, and never reads.
    Unread(fn(&Target) -> String),
    /// Sends this, so many times a second, each on a connection of its own, and reads until the
    /// end.
    Each(fn(&Target) -> String, u32),
    /// The same on connections that are kept.
    Kept(fn(&Target) -> String, u32),
    /// Sends this, reads all of the answer, and again, as fast as it can.
    Read(fn(&Target) -> String),
    /// Buys once, and then so many times a second with another key, each client for a buyer of its
    /// own.
    AtLimit(u32),
    /// Connects and resets, so many times a second.
    Reset(u32),
}

/// An attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    /// Its name on the command line and in the table.
    pub(super) name: &'static str,
    clients: usize,
    conduct: Conduct,
}

/// All of them. `none` shows how much two equal measures differ.
pub(super) const ALL: &[Attack] = &[
    Attack { name: "none", clients: 0, conduct: Conduct::Silent },
    Attack { name: "silent_10000", clients: 10_000, conduct: Conduct::Silent },
    Attack { name: "idle_10000", clients: 10_000, conduct: Conduct::Idle },
    Attack { name: "slow_headers_1000", clients: 1_000, conduct: Conduct::Trickle(slow_headers) },
    Attack { name: "slow_bodies_1000", clients: 1_000, conduct: Conduct::Trickle(slow_body) },
    Attack { name: "unread_answers_100", clients: 100, conduct: Conduct::Unread(sales) },
    Attack { name: "malformed_500/s", clients: 1, conduct: Conduct::Each(malformed, 500) },
    Attack { name: "header_flood_100/s", clients: 1, conduct: Conduct::Each(header_flood, 100) },
    Attack { name: "megabyte_bodies_20/s", clients: 1, conduct: Conduct::Each(megabyte, 20) },
    Attack { name: "forged_tokens_1000/s", clients: 8, conduct: Conduct::Kept(forged, 1_000) },
    Attack { name: "bad_bodies_1000/s", clients: 8, conduct: Conduct::Kept(bad_body, 1_000) },
    Attack { name: "order_pages_500/s", clients: 8, conduct: Conduct::Kept(pages, 500) },
    Attack { name: "strangers_pages_500/s", clients: 8, conduct: Conduct::Kept(strangers_pages, 500) },
    Attack { name: "at_limit_2000/s", clients: HOLDERS as usize, conduct: Conduct::AtLimit(2_000) },
    Attack { name: "large_page_32", clients: 32, conduct: Conduct::Read(large_page) },
    Attack { name: "large_page_known_32", clients: 32, conduct: Conduct::Read(large_page_known) },
    Attack { name: "large_page_unread_300", clients: 300, conduct: Conduct::Unread(large_page) },
    Attack { name: "resets_500/s", clients: 1, conduct: Conduct::Reset(500) },
];

fn head(target: &Target, token: &str) -> String {
    let offer = target.offer;
    format!("POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nidempotency-key: k-{offer}\r\n")
}

fn slow_headers(target: &Target) -> String {
    format!("{}x-slow: ", head(target, &target.token))
}

fn slow_body(target: &Target) -> String {
    format!("{}content-length: 4000\r\n\r\n{{", head(target, &target.token))
}

fn sales(_target: &Target) -> String {
    "GET /v1/time HTTP/1.1\r\nhost: shop\r\n\r\n".repeat(1_000)
}

fn malformed(target: &Target) -> String {
    format!("{}transfer-encoding: chunked\r\n\r\nzz\r\n", head(target, &target.token))
}

fn header_flood(target: &Target) -> String {
    format!("{}x-flood: {}\r\n\r\n", head(target, &target.token), "x".repeat(32 << 10))
}

fn megabyte(target: &Target) -> String {
    format!("{}content-length: 1048576\r\n\r\n{}", head(target, &target.token), " ".repeat(1 << 20))
}

fn forged(target: &Target) -> String {
    let forged = format!("{}AAAA", &target.token[..target.token.len() - 4]);
    whole(target, &forged, &format!(r#"{{"offer_id":"{}","quantity":1}}"#, target.offer))
}

fn bad_body(target: &Target) -> String {
    whole(
        target,
        &target.token,
        &format!(r#"{{"offer_id":"{}","quantity":9223372036854775808,"quantity":0}}"#, target.offer),
    )
}

fn whole(target: &Target, token: &str, body: &str) -> String {
    format!("{}content-length: {}\r\n\r\n{body}", head(target, token), body.len())
}

fn pages(target: &Target) -> String {
    format!("GET /v1/orders?limit=100 HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {}\r\n\r\n", target.token)
}

fn strangers_pages(target: &Target) -> String {
    pages(&Target { token: target.stranger.clone(), ..target.clone() })
}

fn large_page(target: &Target) -> String {
    format!("GET /v1/sales/{} HTTP/1.1\r\nhost: shop\r\n\r\n", target.large)
}

fn large_page_known(target: &Target) -> String {
    format!("GET /v1/sales/{} HTTP/1.1\r\nhost: shop\r\nif-none-match: *\r\n\r\n", target.large)
}

/// An attack under way.
#[derive(Debug)]
pub(super) struct Running {
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it.
    pub(super) fn stop(self) {
        self.stop.notify_one();
        drop(self.thread.join());
    }
}

impl Attack {
    /// Whether it needs a sale with a large page.
    pub(super) fn needs_large(self) -> bool {
        self.name.starts_with("large_page")
    }

    /// Begins it.
    pub(super) fn start(self, target: Target) -> Running {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let work = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for number in 0..self.clients {
                    clients.spawn(self.client(number, target.clone()));
                }
                stopped.notified().await;
            });
        };
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(work);
        let thread = thread.unwrap_or_else(|error| std::thread::spawn(move || eprintln!("no attack: {error}")));
        Running { stop, thread }
    }

    async fn client(self, number: usize, target: Target) {
        loop {
            // However it ends, it comes again.
            let _ended = self.once(number, &target).await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn once(self, number: usize, target: &Target) -> io::Result<()> {
        if let Conduct::Each(request, per_s) = self.conduct {
            return each(target, request(target).into_bytes().into(), per_s).await;
        }
        if let Conduct::Reset(per_s) = self.conduct {
            return resets(target, per_s).await;
        }
        let mut stream = connect(number, target.address).await?;
        match self.conduct {
            Conduct::Silent => read_to_end(&mut stream).await,
            Conduct::Idle => {
                stream.write_all(b"GET /v1/time HTTP/1.1\r\nhost: shop\r\n\r\n").await?;
                read_to_end(&mut stream).await
            }
            Conduct::Trickle(head) => {
                stream.write_all(head(target).as_bytes()).await?;
                loop {
                    tokio::time::sleep(TRICKLE).await;
                    stream.write_all(b" ").await?;
                }
            }
            Conduct::Unread(requests) => {
                let requests = requests(target);
                loop {
                    stream.write_all(requests.as_bytes()).await?;
                }
            }
            Conduct::Kept(request, per_s) => {
                let (request, share) = (request(target), per_s / u32::try_from(self.clients).unwrap_or(1));
                let mut ticks = tokio::time::interval(Duration::from_secs(1) / share.max(1));
                let mut answer = vec![0; 64 << 10];
                loop {
                    ticks.tick().await;
                    stream.write_all(request.as_bytes()).await?;
                    if stream.read(&mut answer).await? == 0 {
                        return Ok(());
                    }
                }
            }
            Conduct::Read(request) => read_all(stream, request(target).as_bytes()).await,
            Conduct::AtLimit(per_s) => {
                let token = target.holders.get(number).unwrap_or(&target.token);
                at_limit(stream, target, token, per_s / u32::try_from(self.clients).unwrap_or(1)).await
            }
            Conduct::Each(..) | Conduct::Reset(_) => Ok(()),
        }
    }
}

/// Asks and reads, again and again.
async fn read_all(stream: TcpStream, request: &[u8]) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        stream.write_all(request).await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await?;
    }
}

/// Buys with another key each time.
async fn at_limit(mut stream: TcpStream, target: &Target, token: &str, per_s: u32) -> io::Result<()> {
    let body = format!(r#"{{"offer_id":"{}","quantity":1}}"#, target.offer);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_s.max(1));
    let mut answer = vec![0; 4 << 10];
    for key in 0_u64.. {
        ticks.tick().await;
        let request = format!(
            "POST /v1/orders HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\nidempotency-key: k-{key}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        if stream.read(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn each(target: &Target, request: Arc<[u8]>, per_s: u32) -> io::Result<()> {
    let mut ticks = tokio::time::interval(TICK.max(Duration::from_secs(1) / per_s));
    let batch = (per_s / 100).max(1);
    let mut under_way = JoinSet::new();
    loop {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        for _ in 0..batch {
            let (request, address) = (Arc::clone(&request), target.address);
            under_way.spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(&request).await?;
                read_to_end(&mut stream).await
            });
        }
    }
}

async fn resets(target: &Target, per_s: u32) -> io::Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_s);
    loop {
        ticks.tick().await;
        let mut stream = TcpStream::connect(target.address).await?;
        stream.write_all(b"POST /v1/orders HTTP/1.1\r\n").await?;
        stream.set_zero_linger()?;
    }
}

async fn connect(number: usize, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(2 + number / PER_ADDRESS).unwrap_or(2);
    socket.bind(([127, 0, 0, host], 0).into())?;
    socket.connect(to).await
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 1_024];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

/// CPU time of the attacker's thread so far, in milliseconds: 0 while there is none.
pub(super) fn cpu_ms() -> u64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let of = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = name.ends_with(THREAD).then(|| fields.split(' ').collect())?;
        // User and system time, in hundredths of a second.
        Some((fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?) * 10)
    };
    tasks.flatten().filter_map(of).sum()
}
