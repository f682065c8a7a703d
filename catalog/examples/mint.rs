//! How many buyers' tokens a second one process mints, over HTTP, clients included: new buyers,
//! then the same ones again.
//!
//! ```text
//! cargo run --release --all-features -p catalog --example mint
//! cargo run --release --all-features -p catalog --example mint -- mysql
//! ```
//!
//! On SQLite, in a folder that goes away; or on `FLASHSALE_MYSQL_URL`, in a database that does.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures, and tells what it saw")]

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use catalog::{
    database,
    ports::{Given, Selling},
    service::{Catalog, Secrets},
    vault::Vault,
};
use domain::sale::Sale;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kit::{
    api::Served,
    clock::SystemClock,
    http::{self, Bytes, Limits, Request, RequestMetrics, Router, Table},
    metrics::Registry,
    random::SystemRandom,
    token::{Tenants, TokenKey},
};
use store::{
    ledger::Ledger,
    log::{SalesPublisher, Unacknowledged},
    shards::{Namespace, drop_all},
    sql::{
        Server, Sql,
        mysql::{MySqlServer, Settings as MySqlSettings},
        sqlite::{Settings, SqliteServer},
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const OPERATOR: &str = "operator-of-the-measurement";
/// Buyers of a call: as many as one may name.
const BUYERS: usize = 100;
/// Calls of a phase.
const CALLS: usize = 400;
/// Clients that ask at the same time.
const CLIENTS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let namespace = Namespace::new(&format!("mint_{nanos}"))?;
    if std::env::args().nth(1).as_deref() == Some("mysql") {
        let server = MySqlServer::new(&std::env::var("FLASHSALE_MYSQL_URL")?, MySqlSettings::default())?;
        let measured = measure(&server, &namespace).await;
        drop_all(&server, &namespace).await?;
        return measured;
    }
    let folder = tempfile::TempDir::new()?;
    let now_ms =
        Arc::new(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |at| at.as_millis() as u64));
    let server = SqliteServer::new(folder.path().join("data"), now_ms, Settings::default())?;
    measure(&server, &namespace).await
}

async fn measure<V: Server>(server: &V, namespace: &Namespace) -> Result<(), Failed> {
    let url = serve(database::open(server, namespace).await?)?;
    let shop = r#"{"code":"shop","name":"Shop","plan":"unlimited"}"#;
    let made = post(&client(), &format!("{url}/v1/tenants"), ("idempotency-key", "shop"), shop.to_owned()).await?;
    let made: serde_json::Value = serde_json::from_slice(&made)?;
    let tenant = made["id"].as_str().ok_or("no tenant")?.to_owned();
    for phase in ["new", "known"] {
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(ask(format!("{url}/v1/buyer-tokens"), tenant.clone(), client));
        }
        while let Some(asked) = clients.join_next().await {
            asked??;
        }
        let (tokens, took) = (CALLS / CLIENTS * CLIENTS * BUYERS, begun.elapsed());
        println!("{phase} buyers: {tokens} tokens in {took:.2?}, {:.0}/s", tokens as f64 / took.as_secs_f64());
    }
    Ok(())
}

/// Nothing is published here.
struct NoTopic;

impl SalesPublisher for NoTopic {
    async fn publish(&self, _sale: &Sale) -> Result<(), Unacknowledged> {
        Err(Unacknowledged("there is no topic".into()))
    }
}

fn serve<S: Sql>(sql: S) -> Result<String, Failed> {
    let secrets = Secrets {
        operator: Some(OPERATOR.to_owned()),
        vault: Vault::new(&[5; 32])?,
        buyer_tokens: Some(TokenKey::new("k", &TokenKey::fresh_secret()?, Tenants::All)?),
    };
    let clock = SystemClock::new();
    let selling = Arc::new(Selling { ledger: Ledger::new(sql.clone()), topic: NoTopic, partitions: 1 });
    let catalog = Arc::new(Catalog::new(Given { sql, clock, random: SystemRandom::default(), selling }, secrets));
    let table = Arc::new(Table::of::<Served<Catalog<Given<S, SystemClock, SystemRandom, NoTopic>>>>()?);
    let requests = Arc::new(RequestMetrics::register(&Registry::new()?, table.names())?);
    let listener = http::bind(([127, 0, 0, 1], 0).into(), false)?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new(Served(catalog), table, clock, requests);
    tokio::spawn(http::serve(listener, router, Limits::default(), CancellationToken::new()));
    Ok(url)
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn ask(url: String, tenant: String, client: usize) -> Result<(), Failed> {
    let http = self::client();
    for call in 0..CALLS / CLIENTS {
        let buyers: Vec<_> = (0..BUYERS).map(|n| format!("{{\"id\":\"user-{client}-{call}-{n}\"}}")).collect();
        let body = format!("{{\"buyers\":[{}]}}", buyers.join(","));
        post(&http, &url, ("flashsale-tenant", &tenant), body).await?;
    }
    Ok(())
}

async fn post(http: &HttpClient, url: &str, (name, value): (&str, &str), body: String) -> Result<Bytes, Failed> {
    let request = Request::post(url)
        .header("authorization", format!("Bearer {OPERATOR}"))
        .header("content-type", "application/json")
        .header(name, value);
    let response = http.request(request.body(Full::new(body.into()))?).await?;
    let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
    if status.is_success() { Ok(body) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()) }
}
