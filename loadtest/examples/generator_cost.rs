//! What the generator itself costs: CPU per request against the most trivial server there is, in a
//! closed loop.
//!
//!     cargo run --release -p loadtest --example generator_cost [REQUESTS [CONNECTIONS]]

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64, mpsc},
    time::Duration,
};

use domain::id::BuyerId;
use kit::clock::{Clock, SystemClock};
use loadtest::{
    generator::{Load, Meters, warm_up},
    plan,
    requests::Requests,
    sale::LoadSale,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIME: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n\
    location: /v1/orders/1234567890123456789?offer_id=123456789012345\r\ncontent-length: 54\r\n\
    date: Sat, 21 Nov 2026 04:00:00 GMT\r\n\r\n{\"order_id\":\"1234567890123456789\",\"status\":\"accepted\"}";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let buyers: u32 = arguments.next().as_deref().unwrap_or("400000").parse()?;
    let connections: usize = arguments.next().as_deref().unwrap_or("512").parse()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || serve(&sender));
    let target = receiver.recv()?;
    let clock = SystemClock::new();
    let sale = LoadSale::fresh(1, 1, None, clock.now_ms(), &mut rand::rng())?;
    let sign = |buyer: BuyerId| Ok::<_, Infallible>(format!("{}{buyer}", "x".repeat(285)));
    let requests = Requests::build(&sale, "127.0.0.1:8080", 0..buyers, 2, &sign, &AtomicU64::new(0))?;
    let load = Load {
        target,
        requests: requests.into(),
        sends: plan::ordinary(0..buyers).into(),
        connections,
        threads: 1,
        rate: None,
        sending: Duration::from_secs(60),
        grace: Duration::from_secs(5),
        warm_up: 1_000,
        persistent: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (run, wall) = runtime.block_on(async {
        let generator = warm_up(load, &Arc::new(Meters::default()), clock).await?;
        let start = clock.monotonic();
        let run = generator.run(start).await?;
        Ok::<_, loadtest::generator::GeneratorError>((run, clock.monotonic() - start))
    })?;
    let answers = run.notes.iter().filter(|note| note.order != 0).count();
    let cpu = run.cpu.unwrap_or_default().as_secs_f64() * 1e6 / answers as f64;
    eprintln!("{answers} answers, {:.0}/s, generator {cpu:.2} µs of CPU each", answers as f64 / wall.as_secs_f64());
    Ok(())
}

fn serve(sender: &mpsc::Sender<SocketAddr>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let outcome: std::io::Result<()> = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        sender.send(listener.local_addr()?).map_err(std::io::Error::other)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(answer(stream));
        }
    });
    eprintln!("server: {outcome:?}");
}

/// Every read is taken for one whole request: the generator writes one at a time.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {
        stream.write_all(if buffer.starts_with(b"GET") { TIME } else { ACCEPTED }).await?;
    }
    Ok(())
}
