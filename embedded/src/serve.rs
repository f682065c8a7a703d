//! `flashsale serve`: all services in one process. Folder, listeners, stores, order-writer, engine;
//! and the same backwards at the end.

mod commissions;
mod merchants;
mod order_service;
mod shop_pages;

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Write},
    net::{SocketAddr, TcpListener},
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use catalog::{confirm, people::FirstOwner, publish::PublishError};
use domain::{sale::Sale, stock::RunId};
use engine::service::{Engine, Options, REQUESTS_DEADLINE};
use kit::{
    admin::{self, Hosts, Readiness},
    clock::{Clock, SystemClock},
    exit::Exit,
    http::{self, Both, Limits},
    metrics::Registry,
    shutdown::on_signals,
    token::{TokenKey, TokenVerifier},
};
use order_writer::{
    desk::{DeskError, Expiry},
    failpoint::Failpoint,
    metrics::Metrics,
    parked::{ParkedCommand, ParkedError},
    ports::{Pace, Shared},
    progress::Progress,
    rhythm::Busy,
    service,
    stalls::Stalls,
};
use orders::payment::accounts::AccountsError;
use store::{
    consumer,
    log::{OrderLog, ReadError, sqlite::SoleMember},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::Config,
    control::Control,
    demo,
    deployment::{Deployment, DeploymentError},
    desk::{Done, Wish},
    folder::{self, Folder, ServerNote, Watched},
    parked, welcome,
};

use commissions::Commissions;
use merchants::Merchants;
use order_service::OrderService;
use shop_pages::ShopPages;

pub use merchants::AtRest;

/// All consumers of topics in this process.
const CONSUMERS: [&str; 3] = [catalog::funnel::CONSUMER, orders::follow::CONSUMER, distribution::intake::CONSUMER];

/// The status with which a program ends that could not serve, or not go on.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<DeploymentError>() {
        return error.exit();
    }
    if let Some(error) = error.downcast_ref::<AccountsError>() {
        return error.exit();
    }
    Exit::of_chain(error.as_ref()).unwrap_or(Exit::Software)
}

/// How long the log may take to write what waits when the service ends.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// Shows what came to consumers of topics.
fn show_consumers(registry: &Registry) -> anyhow::Result<()> {
    registry.sampled(|samples| samples.add_all(consumer::figures(&CONSUMERS)))?;
    Ok(())
}

/// Serves until a signal, then drains.
///
/// # Errors
/// What a person can do about each stands in its text.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = on_signals()?;
    let folder = Folder::open(&config.data)?;
    let (listeners, admin_listener) = listen(&config)?;
    let note = ServerNote {
        pid: std::process::id(),
        listen: address_of(listeners.first())?,
        admin: admin_listener.local_addr()?,
    };
    let descriptors = http::raise_descriptor_limit().context("raising the limit of open files")?;
    let limits = Limits { drain_deadline: REQUESTS_DEADLINE, ..Limits::sharing(descriptors, listeners.len()) };
    let (registry, readiness, admin_stop) = (Registry::new()?, Readiness::new(), CancellationToken::new());

    let run = RunId(Uuid::new_v4().as_u64_pair().0);
    let deployment = open(&folder, &config, run).await?;
    let on_sale = demo::on_sale(&deployment, config.demo).await;
    let on_sale = on_sale.map_err(|error| folder::cause_of(folder.path(), error))?;
    // The process has one probe. A partition that stands still shows there, and its buyers are
    // served all the same.
    let stalls = Stalls::new(readiness.clone());
    let control = Control::new(deployment.clone(), stalls.clone(), &folder.control_key()?);
    let (hosts, stop_pages) = (Hosts::default(), admin_stop.clone());
    let pages = admin::serve_with(admin_listener, hosts, registry.clone(), readiness.clone(), control, stop_pages);
    let pages = tokio::spawn(pages);
    folder.note_server(&note)?;

    let settling = Duration::from_secs(config.lanes.settling_s.into());
    let pace = Pace { settling: Some(settling), ..Pace::default() };
    let writer = Writer::start(&deployment, &registry, (stalls, pace), stop.clone()).await?;
    let options = Options {
        permits: config.front.permits,
        tenant_permits: config.tenant_permits(),
        tenant_rate_per_s: config.front.tenant_rate_per_s,
        payment_window_s: config.front.payment_window_s,
        journal_max: config.lanes.journal_max,
    };
    let key = folder.token_key()?;
    let verifier = TokenVerifier::new(vec![key.clone()])?;
    let stores = (deployment.clone(), deployment.databases.ledger.clone(), deployment.follow_sales());
    let is_demo = folder.is_new() && config.demo;
    let merchants = Merchants::start(&deployment, &folder, (&config, is_demo), stop.clone()).await?;
    merchants.show_alarms(&registry)?;
    show_consumers(&registry)?;
    let (place, watching) = ((&folder, note.listen, &config), (&registry, stop.clone()));
    let orders = OrderService::start(&deployment, place, merchants.service(), watching)?;
    let commissions = Commissions::start(&deployment, &folder, merchants.service(), &registry)?;
    let shop = ShopPages::new(key.clone(), config.demo, deployment.clock);
    let beside = Both(merchants.served(), Both(orders.served(), Both(commissions.served(), shop)));
    let engine = Engine::start(beside, stores, (options, verifier), &registry, readiness.clone()).await?;
    // A token is printed with the demo only, and with that once: on a shop's terminal it would be a
    // secret for all to see.
    let key = is_demo.then_some(key);
    let secrets = (key, merchants.owner.clone());
    let welcoming = tokio::spawn(greet(deployment.clone(), (note, config.data), secrets, on_sale, readiness));
    let watched = Watched::of(folder.path())?;

    let served = tokio::select! {
        // At once and without a drain: what would still be answered "accepted" has no file to be
        // in.
        gone = watched.until_gone() => {
            let _status = gone.exit().tell("flashsale", &gone);
            gone.exit().now()
        }
        served = engine.serve(listeners, limits, stop) => served,
    };
    welcoming.abort();
    orders.stop().await;
    commissions.stop().await;
    writer.stop().await?;
    merchants.stop().await;
    let unacknowledged = deployment.log.flush(FLUSH_DEADLINE).await;
    tracing::info!(unacknowledged, "drained");
    deployment.close().await;
    admin_stop.cancel();
    pages.await??;
    Ok(served?)
}

/// Tells the person at the terminal, as soon as there is something to tell.
async fn greet(
    deployment: Deployment<SystemClock>,
    (note, folder): (ServerNote, PathBuf),
    (key, owner): (Option<TokenKey>, Option<FirstOwner>),
    on_sale: Option<Sale>,
    readiness: Readiness,
) {
    let place = (&note, &*folder.to_string_lossy());
    let secrets = (key.as_ref(), owner.as_ref());
    let text = welcome::when_selling(&deployment, place, secrets, on_sale.as_ref(), &readiness).await;
    // Nobody may read it; the shop sells all the same.
    drop(text.map(|text| io::stdout().lock().write_all(text.as_bytes())));
}

/// Publishes a sale file on a folder that no server works on. The inner error: what is wrong with
/// the file.
///
/// # Errors
/// As [`serve`].
pub async fn publish_at_rest(config: &Config, text: &str) -> anyhow::Result<Result<String, String>> {
    let published = at_rest(config, async |deployment| demo::from_text(deployment, text, false).await).await?;
    match published {
        Ok(announced) => {
            let told = confirm::describe(&announced.publication, false, SystemClock::new().now_ms());
            Ok(Ok(told + &announced.note()))
        }
        Err(PublishError::Flawed(flaws)) => {
            Ok(Err(flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Does something at the desk of a folder that no server works on; the next server decides what
/// follows from it.
///
/// # Errors
/// As [`serve`].
pub async fn wish_at_rest(config: &Config, wish: Wish) -> anyhow::Result<Result<String, String>> {
    let mut progress = Progress::begin();
    let watch = |done: &Expiry| {
        progress.show(done);
        ControlFlow::Continue(())
    };
    let done = at_rest(config, async |deployment| wish.carry_out(deployment, watch).await).await?;
    match done {
        Err(error @ (DeskError::NotFound(_) | DeskError::Conflict { .. } | DeskError::Held(_))) => {
            Ok(Err(error.to_string()))
        }
        done => {
            let done = done?;
            if let Done::Expired(expiry) = &done {
                progress.end(expiry);
            }
            Ok(Ok(done.told()))
        }
    }
}

/// Does something about the parked records of a folder that no server works on; the next server
/// decides what follows from it.
///
/// # Errors
/// As [`serve`].
pub async fn parked_at_rest(config: &Config, command: ParkedCommand) -> anyhow::Result<Result<String, String>> {
    match at_rest(config, async |deployment| parked::carry_out(deployment, command).await).await? {
        Err(ParkedError::Refused(why)) => Ok(Err(why)),
        done => Ok(Ok(done?)),
    }
}

/// Opens the stores of a folder without serving. No lane is open.
async fn at_rest<T>(config: &Config, work: impl AsyncFnOnce(&Deployment<SystemClock>) -> T) -> anyhow::Result<T> {
    let folder = Folder::open(&config.data)?;
    let deployment = open(&folder, config, RunId(0)).await?;
    let done = work(&deployment).await;
    deployment.close().await;
    Ok(done)
}

async fn open(folder: &Folder, config: &Config, run: RunId) -> anyhow::Result<Deployment<SystemClock>> {
    let opened = Deployment::open(folder.path(), config, run, SystemClock::new()).await;
    opened.map_err(|error| folder::cause_of(folder.path(), error.into()))
}

/// Both ports, before anything is opened: a port that is taken is the most frequent mistake.
fn listen(config: &Config) -> anyhow::Result<(Vec<TcpListener>, TcpListener)> {
    let on = |address: SocketAddr, other: &'static str| move |error| cannot_listen(address, other, error);
    // Shared addresses are for our own threads: another process on this port must be noticed.
    drop(http::bind(config.listen, false).map_err(on(config.listen, "--port N"))?);
    let buyers = engine::service::bind(config.listen, config.front_threads());
    let buyers = buyers.map_err(on(config.listen, "--port N"))?;
    let admin = http::bind(config.admin, false).map_err(on(config.admin, "--admin-port N"))?;
    Ok((buyers, admin))
}

/// `other`: how to choose another port.
fn cannot_listen(address: SocketAddr, other: &str, error: io::Error) -> anyhow::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => format!("another program is there, `{other}` chooses another port"),
        ErrorKind::PermissionDenied => format!("this user may not use that port, `{other}` chooses another one"),
        ErrorKind::AddrNotAvailable => "this machine has no such address, the settings file chooses another one".into(),
        _ => "the settings file chooses another address".into(),
    };
    anyhow::Error::new(error).context(format!("cannot listen on {address}: {why}"))
}

fn address_of(listener: Option<&TcpListener>) -> io::Result<SocketAddr> {
    listener.ok_or_else(|| io::Error::other("no front thread"))?.local_addr()
}

/// The order-writer's part, at work.
struct Writer {
    stop: CancellationToken,
    work: JoinHandle<Result<(), ReadError>>,
}

impl Writer {
    /// Should it ever end by itself, `ends_all` is cancelled: a shop that promises and never
    /// decides must not go on.
    async fn start(
        deployment: &Deployment<SystemClock>,
        registry: &Registry,
        (stalls, pace): (Stalls, Pace),
        ends_all: CancellationToken,
    ) -> anyhow::Result<Self> {
        let (sales_sender, sales) = watch::channel(Default::default());
        let (told_sender, mut told) = watch::channel(false);
        let (metrics, ledger) = (Arc::new(Metrics::register(registry)?), deployment.databases.ledger.clone());
        let following = (deployment.follow_sales(), ledger, Arc::clone(&metrics));
        tokio::spawn(service::follow_sales(following, sales_sender, told_sender));
        // Lanes of sales that ended are left alone: which ones these are must be known before the
        // first look.
        told.wait_for(|told| *told).await.context("the sales cannot be read")?;
        let shared = Arc::new(Shared::<Deployment<SystemClock>> {
            orders: deployment.databases.orders.clone(),
            ledger: deployment.databases.ledger.clone(),
            stock: deployment.keeping.clone(),
            log: deployment.log.clone(),
            source: deployment.source.clone(),
            clock: deployment.clock,
            sales,
            decided: Mutex::new(BTreeMap::new()),
            stalls,
            metrics,
            failpoint: Failpoint::none(),
            busy: Busy::default(),
            pace,
        });
        let (stop, members) = (CancellationToken::new(), SoleMember::new(&deployment.log));
        // The engine's readiness is the process's: who buys needs an engine, and is told when a
        // lane is not open.
        let (running, ends_all) =
            (service::run(shared, members, Readiness::new(), stop.clone()), ends_all.drop_guard());
        let work = tokio::spawn(async move {
            let _ends_all = ends_all;
            running.await
        });
        Ok(Self { stop, work })
    }

    /// Lets every worker finish what it decides.
    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.work.await??)
    }
}
