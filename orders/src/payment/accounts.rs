//! Merchants' accounts at WeChat Pay and Alipay, by a file that names them. Their keys stand in
//! files of their own. The file is read again while the service works, so that a key is changed
//! without a restart; one that has become wrong is told, and what was read before goes on.

/// What the file says.
mod file;

/// Its tables as fields.
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, fs, io};

use domain::id::TenantId;
use kit::client::{Client, ClientError, ClientLimits};
use kit::clock::Clock;
use kit::digest::Sha256;
use kit::exit::Exit;
use kit::metrics::{Kind, MetricsError, Registry};
use kit::random::Random;
use tokio_util::sync::CancellationToken;
use toml::de::{DeTable, DeValue};

use super::alipay::{self, Alipay};
use super::wechat::{self, Wechat, shipping::Uploader};
use super::{Forged, Notice, ProviderKind, Received};

pub use self::table::Flaw;

/// The file with every key explained, and no account.
pub const EXAMPLE: &str = include_str!("../../accounts.toml");

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Largest file of accounts, and largest key, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Why the accounts are not taken.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The file cannot be read.
    #[error("the accounts cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is wrong, at each of these places.
    #[error("{}: these accounts cannot work:{}", path.display(), Listed(flaws))]
    Flawed {
        /// Which file.
        path: PathBuf,
        /// All that is wrong, by line.
        flaws: Vec<Flaw>,
    },
    /// A provider's address cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl AccountsError {
    /// The status that a program ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { source, .. } => Exit::of_system(source).unwrap_or(Exit::NoInput),
            Self::Flawed { .. } | Self::Client(_) => Exit::Data,
        }
    }
}

struct Listed<'a>(&'a [Flaw]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|flaw| write!(f, "\n  {flaw}"))
    }
}

/// The texts of the file and of all files that it names, as they were at one look.
struct Texts {
    main: String,
    named: HashMap<String, Result<String, String>>,
    digest: [u8; 32],
}

impl Texts {
    fn read(path: &Path) -> Result<Self, AccountsError> {
        let main = bounded(path, FILE_BYTES_MAX);
        let main = main.map_err(|source| AccountsError::Unreadable { path: path.to_owned(), source })?;
        let mut names = Vec::new();
        let (root, _) = DeTable::parse_recoverable(&main);
        root.get_ref().values().for_each(|value| note(value.get_ref(), &mut names));
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut named, mut digest) = (HashMap::new(), Sha256::default());
        digest.update(main.as_bytes());
        for name in names {
            let content = bounded(&folder.join(&name), KEY_BYTES_MAX).map_err(|error| error.to_string());
            // The length keeps apart what two files hold.
            let bytes = content.as_ref().map_or_else(String::as_bytes, String::as_bytes);
            digest.update(&bytes.len().to_le_bytes());
            digest.update(bytes);
            named.insert(name, content);
        }
        Ok(Self { main, named, digest: digest.finish() })
    }
}

/// The files that a value names.
fn note(value: &DeValue<'_>, names: &mut Vec<String>) {
    match value {
        DeValue::String(text) => names.extend(text.strip_prefix(table::FILE).map(str::to_owned)),
        DeValue::Array(elements) => elements.iter().for_each(|element| note(element.get_ref(), names)),
        DeValue::Table(members) => members.values().for_each(|member| note(member.get_ref(), names)),
        _ => {}
    }
}

fn bounded(path: &Path, bytes_max: u64) -> io::Result<String> {
    let held = fs::metadata(path)?;
    if !held.is_file() || held.len() > bytes_max {
        let message = format!("it is no file of at most {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    fs::read_to_string(path)
}

/// Whether these accounts would be taken.
///
/// # Errors
/// [`AccountsError`], which tells all that is wrong at once.
pub fn check(path: &Path) -> Result<(), AccountsError> {
    said(path, &Texts::read(path)?).map(drop)
}

fn said(path: &Path, texts: &Texts) -> Result<file::Said, AccountsError> {
    let content = |name: &str| texts.named.get(name).cloned().unwrap_or_else(|| Err("it was not read".to_owned()));
    file::read(&texts.main, &content).map_err(|flaws| AccountsError::Flawed { path: path.to_owned(), flaws })
}

/// The accounts of one reading, each with its adapter.
struct Known<C, R> {
    wechat: HashMap<TenantId, Wechat<C, R>>,
    uploaders: HashMap<TenantId, Uploader>,
    alipay: HashMap<TenantId, Alipay<C>>,
    wechat_ring: Arc<wechat::Ring>,
    alipay_ring: Arc<alipay::Ring>,
}

impl<C, R> Default for Known<C, R> {
    fn default() -> Self {
        let (wechat_ring, alipay_ring) = (Arc::default(), Arc::default());
        Self { wechat: HashMap::new(), uploaders: HashMap::new(), alipay: HashMap::new(), wechat_ring, alipay_ring }
    }
}

/// What a file said, and the digest of its text.
type Read<C, R> = (Arc<Known<C, R>>, [u8; 32]);

/// The accounts at WeChat Pay and Alipay. Clones share what was read last.
pub struct FileAccounts<C, R> {
    path: Option<PathBuf>,
    clock: C,
    random: R,
    known: Arc<RwLock<Read<C, R>>>,
}

impl<C: Clone, R: Clone> Clone for FileAccounts<C, R> {
    fn clone(&self) -> Self {
        let (path, known) = (self.path.clone(), Arc::clone(&self.known));
        Self { path, clock: self.clock.clone(), random: self.random.clone(), known }
    }
}

impl<C, R> fmt::Debug for FileAccounts<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileAccounts").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<C: Clock, R: Random> FileAccounts<C, R> {
    /// Reads the file; `None`: nobody has an account. To be called within a runtime.
    ///
    /// # Errors
    /// [`AccountsError`], which tells all that is wrong at once.
    pub fn open(path: Option<PathBuf>, clock: C, random: R) -> Result<Self, AccountsError> {
        let accounts = Self { path, clock, random, known: Arc::default() };
        accounts.read_again()?;
        Ok(accounts)
    }

    /// Reads the files again where one has changed. Whether that changed anything; after an error
    /// what was read before stays.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn read_again(&self) -> Result<bool, AccountsError> {
        let Some(path) = &self.path else { return Ok(false) };
        self.take(path, &Texts::read(path)?)
    }

    fn take(&self, path: &Path, texts: &Texts) -> Result<bool, AccountsError> {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).1 == texts.digest {
            return Ok(false);
        }
        let known = self.known_of(said(path, texts)?)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(known), texts.digest);
        Ok(true)
    }

    fn known_of(&self, said: file::Said) -> Result<Known<C, R>, ClientError> {
        let (wechat_ring, alipay_ring) = (Arc::new(said.wechat_ring), Arc::new(said.alipay_ring));
        let platform = Client::new(&said.platform_url, ClientLimits::default())?;
        let uploader =
            |account: &Arc<wechat::Account>| Some((account.tenant, Uploader::new(account, platform.clone())?));
        let uploaders = said.wechat.iter().filter_map(uploader).collect();
        let client = Client::new(&said.wechat_url, ClientLimits::default())?;
        let wechat = said.wechat.into_iter().map(|account| {
            let (tenant, ring, clock) = (account.tenant, Arc::clone(&wechat_ring), self.clock.clone());
            (tenant, Wechat::new(account, ring, client.clone(), clock, self.random.clone()))
        });
        let wechat = wechat.collect();
        let client = Client::new(&said.alipay_url, ClientLimits::default())?;
        let alipay = said.alipay.into_iter().map(|account| {
            let (tenant, ring, clock) = (account.tenant, Arc::clone(&alipay_ring), self.clock.clone());
            (tenant, Alipay::new(account, ring, client.clone(), clock))
        });
        Ok(Known { wechat, uploaders, alipay: alipay.collect(), wechat_ring, alipay_ring })
    }

    /// Shows in this registry how long the first platform certificate is still valid; nothing where
    /// there is none.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn show(&self, registry: &Registry) -> Result<(), MetricsError> {
        let accounts = self.clone();
        registry.sampled(move |samples| {
            let Some(end_ms) = accounts.now().wechat_ring.first_end_ms() else { return };
            let left_s = end_ms.saturating_sub(accounts.clock.now_ms()) / 1_000;
            let help = "Seconds until the first certificate of a payment provider ends.";
            samples.add(Kind::Gauge, "payment_certificate_left_seconds", help, &[], left_s as f64);
        })
    }

    /// Looks at the files until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        let mut told = String::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let again = self.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || again.read_again()).await else { continue };
            match read {
                Ok(true) => tracing::info!("the accounts at payment providers were read again"),
                Ok(false) => told.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        tracing::error!(error = %text, "the accounts of before go on; mend the file");
                        told = text;
                    }
                }
            }
        }
    }

    fn now(&self) -> Arc<Known<C, R>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// A tenant's account at WeChat Pay.
    #[must_use]
    pub fn wechat(&self, tenant: TenantId) -> Option<Wechat<C, R>> {
        self.now().wechat.get(&tenant).cloned()
    }

    /// Who is told that goods of a tenant were sent, where its account at WeChat Pay waits for it.
    #[must_use]
    pub fn uploader(&self, tenant: TenantId) -> Option<Uploader> {
        self.now().uploaders.get(&tenant).cloned()
    }

    /// A tenant's account at Alipay.
    #[must_use]
    pub fn alipay(&self, tenant: TenantId) -> Option<Alipay<C>> {
        self.now().alipay.get(&tenant).cloned()
    }

    /// Who sent a notice, and what it says: the key that signed it finds the tenant.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn verify(&self, provider: ProviderKind, received: Received<'_>) -> Result<Notice, Forged> {
        let known = self.now();
        match provider {
            ProviderKind::Wechat => known.wechat_ring.verify(received),
            ProviderKind::Alipay => known.alipay_ring.verify(received),
            ProviderKind::Simulated => Err(Forged::UnknownKey),
        }
    }
}
