//! One data folder and the process that works on it: its databases are read by us, from their files
//! and read only, so that the process does not bear witness for itself; what only its memory and
//! its log hold is read from the pages of its admin port.

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::id::{BatchId, BuyerId, InvalidId, LaneId, OfferId, OrderId};
use kit::{
    clock::{Clock, SystemClock},
    token::{Tenants, TokenKey, TokenSigner},
};
use serde::{Deserialize, de::DeserializeOwned};
use store::{
    ledger::Ledger,
    log::{Watermarks, sqlite::SqliteLogView},
    shards::{self, Namespace},
    sql::sqlite::{Settings, Sqlite, SqliteServer},
};

use super::{Backends, BackendsError, LaneSeen, LaneWitness};
use crate::{audit::EntryEvidence, durable::Snapshot, probe};

/// What the names of the folder's databases begin with.
const NAMESPACE: &str = "shop";
/// The order log.
const LOG_FILE: &str = "log.db";

/// The stores of the embedded deployment.
pub type EmbeddedBackends = Backends<Sqlite, PageWitness>;

fn of<E: Into<super::Cause>>(store: &'static str) -> impl Fn(E) -> BackendsError {
    super::of::<PageWitness, E>(store)
}

/// A data folder, as other processes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
}

/// Who works on a folder: its `server.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// Where buyers come to.
    pub listen: SocketAddr,
    /// Where metrics, probes and the pages are.
    pub admin: SocketAddr,
}

/// `token.key`.
#[derive(Deserialize)]
struct KeyFile {
    kid: String,
    secret: String,
}

impl DataFolder {
    /// The folder at this path; nothing is looked at yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self, file: &'static str) -> Result<String, BackendsError> {
        std::fs::read_to_string(self.path.join(file)).map_err(of(file))
    }

    /// The server that works on it.
    ///
    /// # Errors
    /// [`BackendsError`] when none does.
    pub fn running(&self) -> Result<Running, BackendsError> {
        serde_json::from_str(&self.text("server.json")?).map_err(of("server.json"))
    }

    /// Signs tokens as its server expects them.
    ///
    /// # Errors
    /// [`BackendsError`] when the key is not there or not fit for use.
    pub fn signer(&self) -> Result<TokenSigner, BackendsError> {
        let KeyFile { kid, secret } = toml::from_str(&self.text("token.key")?).map_err(of("token.key"))?;
        Ok(TokenSigner::new(TokenKey::new(&kid, &secret, Tenants::All).map_err(of("token.key"))?))
    }

    fn control_key(&self) -> Result<String, BackendsError> {
        Ok(self.text("control.key")?.trim().to_owned())
    }
}

impl EmbeddedBackends {
    /// Opens the folder's databases, read only, and asks the server at `admin` for the rest.
    /// Without a server no lane is open.
    ///
    /// # Errors
    /// [`BackendsError`] of what cannot be read.
    pub async fn open(
        folder: &DataFolder,
        admin: Option<SocketAddr>,
        lanes: Vec<LaneId>,
    ) -> Result<Self, BackendsError> {
        let server = server(folder)?;
        let namespace = Namespace::new(NAMESPACE).map_err(of("namespace"))?;
        let store = shards::look(&server, &namespace).await.map_err(of(PageWitness::DATABASE))?;
        let pages = match admin {
            Some(admin) => Some(Pages { admin, key: folder.control_key()? }),
            None => None,
        };
        let witness = PageWitness { pages, log: folder.path().join(LOG_FILE), ledger: store.ledger.clone() };
        Ok(Self::new(store, witness, lanes))
    }
}

/// The folder's files. We only ever ask for rows, and a handle that is asked for nothing else opens
/// its file for reading only.
fn server(folder: &DataFolder) -> Result<SqliteServer, BackendsError> {
    let clock = SystemClock::new();
    let settings = Settings { readers: 1, ..Settings::default() };
    SqliteServer::new(folder.path().to_owned(), Arc::new(move || clock.now_ms()), settings)
        .map_err(of(PageWitness::DATABASE))
}

/// The admin port of a running server for lanes, journals and log. Without one there are no lanes,
/// and the log is read from its file.
#[derive(Debug)]
pub struct PageWitness {
    pages: Option<Pages>,
    log: PathBuf,
    ledger: Ledger<Sqlite>,
}

#[derive(Debug)]
struct Pages {
    admin: SocketAddr,
    key: String,
}

/// A lane of the page `/lanes`.
#[derive(Deserialize)]
struct LanePage {
    lane: String,
    mode: String,
    journal: Vec<String>,
    offers: Vec<OfferPage>,
}

#[derive(Deserialize)]
struct OfferPage {
    offer: String,
    left: u64,
}

impl TryFrom<LanePage> for LaneSeen {
    type Error = InvalidId;
    fn try_from(page: LanePage) -> Result<Self, InvalidId> {
        let left = page.offers.iter().map(|offer| Ok((offer.offer.parse::<OfferId>()?, offer.left)));
        let journal = page.journal.iter().map(|batch| batch.parse::<BatchId>());
        Ok(Self {
            open: page.mode == "open",
            left: left.collect::<Result<_, _>>()?,
            journal: journal.collect::<Result<_, _>>()?,
        })
    }
}

impl Pages {
    async fn text(&self, path: &str) -> Result<String, BackendsError> {
        let reply = probe::get_long(self.admin, path, Some(&self.key)).await;
        let reply = reply.map_err(|error| of("admin port")(format!("GET {path}: {error}")))?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(of("admin port")(format!("GET {path}: {status} {}", reply.body.trim_end()))),
        }
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, BackendsError> {
        serde_json::from_str(&self.text(path).await?).map_err(|error| of("admin port")(format!("GET {path}: {error}")))
    }
}

impl PageWitness {
    /// A server that was killed may have left records that only the next one decides.
    async fn at_rest(&self) -> Result<Snapshot, BackendsError> {
        let marks = SqliteLogView::open(&self.log).and_then(|view| view.partitions()).map_err(of("log"))?;
        let mut snapshot = Snapshot::default();
        for (partition, Watermarks { high, .. }) in marks {
            let lag = self.ledger.lag(partition, high).await.map_err(of(Self::DATABASE))?;
            snapshot.lag += lag;
            if lag > 0 {
                let left = "are not decided: start the server, it will decide them";
                snapshot.outstanding.push(format!("partition {partition}: {lag} of {high} records {left}"));
            }
        }
        Ok(snapshot)
    }
}

impl LaneWitness for PageWitness {
    const DATABASE: &'static str = "SQLite";
    const ADVICE: &'static str = "does `flashsale serve` work on this data folder? the last lines of its log tell";

    async fn under_way(&mut self, _: &[LaneId]) -> Result<Snapshot, BackendsError> {
        match &self.pages {
            Some(pages) => pages.json("/standing").await,
            None => self.at_rest().await,
        }
    }

    async fn lanes(&self, lanes: &[LaneId]) -> Result<Vec<LaneSeen>, BackendsError> {
        let Some(pages) = &self.pages else { return Ok(vec![LaneSeen::default(); lanes.len()]) };
        seen(pages.json("/lanes").await?, lanes).map_err(of("admin port"))
    }

    async fn entries(&self, lane: LaneId) -> Result<Vec<EntryEvidence>, BackendsError> {
        let Some(pages) = &self.pages else { return Ok(Vec::new()) };
        entries(&pages.text(&format!("/lanes/{lane}/buyers")).await?, lane)
            .map_err(|line| of("admin port")(format!("GET /lanes/{lane}/buyers: {line:?} is no purchase")))
    }
}

/// Of all lanes those asked for; one that is missing is not open.
fn seen(pages: Vec<LanePage>, lanes: &[LaneId]) -> Result<Vec<LaneSeen>, InvalidId> {
    let known = pages.into_iter().map(|page| Ok((page.lane.parse::<LaneId>()?, LaneSeen::try_from(page)?)));
    let mut known: std::collections::HashMap<LaneId, LaneSeen> = known.collect::<Result<_, InvalidId>>()?;
    Ok(lanes.iter().map(|lane| known.remove(lane).unwrap_or_default()).collect())
}

/// The live ones of the purchases in this text, a line each: buyer, order, offer, quantity, number
/// (0: released).
///
/// # Errors
/// The first line that is none.
fn entries(text: &str, lane: LaneId) -> Result<Vec<EntryEvidence>, &str> {
    let live = text.lines().filter_map(|line| entry(line, lane).ok_or(line).transpose());
    live.collect()
}

/// `None`: no purchase; `Some(None)`: a released one.
fn entry(line: &str, lane: LaneId) -> Option<Option<EntryEvidence>> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    let (buyer, order, offer) = (next()?.parse::<BuyerId>(), next()?.parse::<OrderId>(), next()?.parse::<OfferId>());
    let (quantity, number) = (next()?.parse::<u32>().ok()?, next()?.parse::<u8>().ok()?);
    if words.next().is_some() {
        return None;
    }
    let entry = EntryEvidence { lane, buyer: buyer.ok()?, order: order.ok()?, offer: offer.ok()?, quantity };
    Some((number > 0).then_some(entry))
}
