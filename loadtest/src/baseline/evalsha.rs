//! Raw `EVALSHA`: what a usual seckill front asks of Redis, one reservation a call, each connection
//! waiting for its answer. By bare sockets and no client library: the yardstick should be as long
//! as it can be.

use std::{io, net::SocketAddr, time::Duration};

use kit::clock::{Clock, SystemClock};
use rand::RngExt;
use redis::{ConnectionAddr, IntoConnectionInfo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
};

/// Connections, each with one call under way.
pub const CONNECTIONS: usize = 50;
/// How long it calls.
const MEASURED: Duration = Duration::from_secs(3);
/// All that is not calling must be done by then.
const DEADLINE: Duration = Duration::from_secs(15);
/// More than can be sold in that time.
const STOCK: &str = "1000000000";
/// Digits of a buyer: all calls have one length.
const BUYER_FIRST: u64 = 100_000_000_000_000;
/// Room for an answer.
const INBOX_BYTES: usize = 512;

/// The naive reservation: the buyer's limit, the stock, both written at once. Nothing to recover
/// from, no journal, no key.
const SCRIPT: &str = "\
local held = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if held + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return 2 end
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < tonumber(ARGV[2]) then return 1 end
redis.call('DECRBY', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], held + tonumber(ARGV[2]))
return 0";

/// Why there is no rate.
#[derive(Debug, thiserror::Error)]
pub enum EvalshaError {
    /// A Redis that bare sockets do not reach.
    #[error("raw EVALSHA needs one Redis at redis://HOST:PORT, without TLS: measure there, or give --no-baselines")]
    Unsuited,
    /// The connection failed.
    #[error("raw EVALSHA: {0}; is Redis up?")]
    Io(#[from] io::Error),
    /// Redis answered something else than expected.
    #[error("raw EVALSHA: Redis answered {0:?}; --no-baselines leaves this out")]
    Answer(String),
    /// The thread is gone, or Redis is silent.
    #[error("raw EVALSHA: no answer in time; --no-baselines leaves this out")]
    Late,
}

/// Calls a second, on keys of its own, which are deleted afterwards.
///
/// # Errors
/// [`EvalshaError`] when there is no rate.
pub async fn evalsha(redis_url: &str, namespace: &str, clock: SystemClock) -> Result<f64, EvalshaError> {
    let login = Login::of(redis_url).await?;
    let keys = Keys::fresh(namespace);
    // On a thread of its own, as the generator: nothing stands between an answer and the next call.
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("evalsha".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let rate = runtime.map_err(EvalshaError::Io).and_then(|runtime| {
            let work = async { tokio::time::timeout(DEADLINE, measure(&login, &keys, clock)).await };
            runtime.block_on(work).unwrap_or(Err(EvalshaError::Late))
        });
        // Who waits for it may be gone; then nobody wants it.
        drop(sender.send(rate));
    })?;
    receiver.await.map_err(|_| EvalshaError::Late)?
}

/// Asked of Redis, whose own answer to INFO is long.
const MEMORY: &str = "return string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)')";

/// `1` while the append-only file is rewritten.
const REWRITING: &str = "return string.match(redis.call('INFO', 'persistence'), 'aof_rewrite_in_progress:(%d)')";
/// How long a rewrite may take.
const REWRITE_POLL: Duration = Duration::from_millis(250);
const REWRITE_LOOKS: u32 = 480;

/// Bytes that Redis holds.
///
/// # Errors
/// [`EvalshaError`] when it does not answer.
pub async fn redis_memory(redis_url: &str) -> Result<u64, EvalshaError> {
    let mut connection = RedisConnection::connect(&Login::of(redis_url).await?).await?;
    let answer = connection.ask(&[b"EVAL", MEMORY.as_bytes(), b"0"]).await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.parse().map_err(|_| EvalshaError::Answer(text))
}

/// Has Redis rewrite its append-only file, and waits until it has.
///
/// # Errors
/// [`EvalshaError`] when it does not say, or does not come to an end.
pub async fn rewrite_redis(redis_url: &str) -> Result<(), EvalshaError> {
    let mut connection = RedisConnection::connect(&Login::of(redis_url).await?).await?;
    connection.ask(&[b"BGREWRITEAOF"]).await?;
    for _ in 0..REWRITE_LOOKS {
        tokio::time::sleep(REWRITE_POLL).await;
        if connection.ask(&[b"EVAL", REWRITING.as_bytes(), b"0"]).await? == b"0" {
            return Ok(());
        }
    }
    Err(EvalshaError::Late)
}

async fn measure(login: &Login, keys: &Keys, clock: SystemClock) -> Result<f64, EvalshaError> {
    let mut setup = RedisConnection::connect(login).await?;
    let sha = setup.ask(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()]).await?;
    setup.ask(&[b"SET", keys.stock.as_bytes(), STOCK.as_bytes()]).await?;
    let called = call_all(login, keys, &sha, clock).await;
    // Whatever came of it.
    setup.ask(&[b"UNLINK", keys.stock.as_bytes(), keys.buyers.as_bytes()]).await?;
    called
}

async fn call_all(login: &Login, keys: &Keys, sha: &[u8], clock: SystemClock) -> Result<f64, EvalshaError> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(RedisConnection::connect(login).await?);
    }
    let buyer = BUYER_FIRST.to_string();
    let command =
        packed(&[b"EVALSHA", sha, b"2", keys.stock.as_bytes(), keys.buyers.as_bytes(), buyer.as_bytes(), b"1", b"1"]);
    // Behind the buyer stand twice "$1", the text "1" and four line ends.
    let buyer_at = command.len() - "\r\n$1\r\n1\r\n$1\r\n1\r\n".len() - buyer.len();
    let (start, mut callers) = (clock.monotonic(), JoinSet::new());
    for (connection, first) in connections.into_iter().zip(BUYER_FIRST..) {
        callers.spawn(call(connection, command.clone(), buyer_at, first, clock, start + MEASURED));
    }
    let mut calls = 0;
    while let Some(called) = callers.join_next().await {
        calls += called.map_err(|_| EvalshaError::Late)??;
    }
    Ok(calls as f64 / clock.monotonic().saturating_sub(start).as_secs_f64())
}

/// One connection: a buyer a call, until the time is over.
async fn call(
    mut connection: RedisConnection,
    mut command: Vec<u8>,
    buyer_at: usize,
    first: u64,
    clock: SystemClock,
    end: Duration,
) -> Result<u64, EvalshaError> {
    let mut calls = 0;
    while clock.monotonic() < end {
        let buyer = (first + calls * CONNECTIONS as u64).to_string();
        command[buyer_at..buyer_at + buyer.len()].copy_from_slice(buyer.as_bytes());
        connection.stream.write_all(&command).await?;
        match connection.answer().await? {
            b"0" => calls += 1,
            other => return Err(unexpected(other)),
        }
    }
    Ok(calls)
}

fn unexpected(answer: &[u8]) -> EvalshaError {
    EvalshaError::Answer(String::from_utf8_lossy(answer).into_owned())
}

/// A command as Redis reads it.
fn packed(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The text of a whole answer: a line, or what follows a length. `None` while bytes are missing.
fn unpacked(bytes: &[u8]) -> Option<&[u8]> {
    let line_end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let (kind, line) = bytes[..line_end].split_first()?;
    if *kind != b'$' {
        return Some(if *kind == b'-' { &bytes[..line_end] } else { line });
    }
    let length: usize = std::str::from_utf8(line).ok()?.parse().ok()?;
    bytes.get(line_end + 2..line_end + 2 + length).filter(|_| bytes.len() >= line_end + 4 + length)
}

/// Keys that nobody else has, in one slot.
struct Keys {
    stock: String,
    buyers: String,
}

impl Keys {
    fn fresh(namespace: &str) -> Self {
        let run: u64 = rand::rng().random();
        let key = |what| format!("{namespace}:{{baseline-{run:016x}}}:{what}");
        Self { stock: key("stock"), buyers: key("buyers") }
    }
}

/// How Redis lets us in.
struct Login {
    address: SocketAddr,
    /// `AUTH` and `SELECT`, as needed.
    greetings: Vec<Vec<u8>>,
}

impl Login {
    async fn of(redis_url: &str) -> Result<Self, EvalshaError> {
        let info = redis_url.into_connection_info().map_err(|_| EvalshaError::Unsuited)?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(EvalshaError::Unsuited) };
        let address = tokio::net::lookup_host((host.as_str(), *port)).await?.next().ok_or(EvalshaError::Unsuited)?;
        let (redis, mut greetings) = (info.redis_settings(), Vec::new());
        match (redis.username(), redis.password()) {
            (Some(user), Some(password)) => {
                greetings.push(packed(&[b"AUTH", user.as_bytes(), password.as_bytes()]));
            }
            (None, Some(password)) => greetings.push(packed(&[b"AUTH", password.as_bytes()])),
            (_, None) => {}
        }
        if redis.db() != 0 {
            greetings.push(packed(&[b"SELECT", redis.db().to_string().as_bytes()]));
        }
        Ok(Self { address, greetings })
    }
}

struct RedisConnection {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl RedisConnection {
    async fn connect(login: &Login) -> Result<Self, EvalshaError> {
        let stream = TcpStream::connect(login.address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, inbox: Vec::with_capacity(INBOX_BYTES) };
        for greeting in &login.greetings {
            connection.stream.write_all(greeting).await?;
            connection.answer().await?;
        }
        Ok(connection)
    }

    async fn ask(&mut self, words: &[&[u8]]) -> Result<Vec<u8>, EvalshaError> {
        self.stream.write_all(&packed(words)).await?;
        self.answer().await.map(<[u8]>::to_vec)
    }

    /// Reads one answer; an error of Redis is an error.
    async fn answer(&mut self) -> Result<&[u8], EvalshaError> {
        self.inbox.clear();
        while unpacked(&self.inbox).is_none() {
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        match unpacked(&self.inbox) {
            Some(answer) if !answer.starts_with(b"-") => Ok(answer),
            other => Err(unexpected(other.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_lengths_and_words() {
        assert_eq!(packed(&[b"GET", b"stock"]), b"*2\r\n$3\r\nGET\r\n$5\r\nstock\r\n");
    }

    #[test]
    fn answers_are_lines_and_texts_and_never_half_of_one() {
        assert_eq!(unpacked(b":0\r\n"), Some(&b"0"[..]));
        assert_eq!(unpacked(b"+OK\r\n"), Some(&b"OK"[..]));
        assert_eq!(unpacked(b"-ERR no\r\n"), Some(&b"-ERR no"[..]), "an error stays to be seen");
        assert_eq!(unpacked(b"$3\r\nabc\r\n"), Some(&b"abc"[..]));
        for half in [&b""[..], b":0", b"$3\r\n", b"$3\r\nabc", b"$3\r\nabc\r"] {
            assert_eq!(unpacked(half), None);
        }
    }

    #[tokio::test]
    async fn how_to_get_in_is_read_from_the_url() {
        let login = Login::of("redis://user:secret@127.0.0.1:7/3").await.unwrap();
        assert_eq!(login.address.port(), 7);
        assert_eq!(login.greetings, [packed(&[b"AUTH", b"user", b"secret"]), packed(&[b"SELECT", b"3"])]);
        assert!(Login::of("redis://127.0.0.1:7").await.unwrap().greetings.is_empty());
        assert!(matches!(Login::of("unix:///x").await, Err(EvalshaError::Unsuited)));
    }

    #[test]
    fn keys_are_in_the_namespace_and_never_twice_the_same() {
        let (one, other) = (Keys::fresh("here"), Keys::fresh("here"));
        assert!(one.stock.starts_with("here:{baseline-") && one.stock != other.stock);
    }
}
