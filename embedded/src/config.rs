//! The settings: the file `flashsale.toml`, which is also the manual, and what the command line
//! says before it. What contradicts itself does not boot. It opens nothing.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use domain::sale::{PAYMENT_WINDOW_S, PAYMENT_WINDOW_S_DEFAULT};
use engine::service;
use serde::Deserialize;

use crate::input;

/// The file with every key at its default, each explained.
pub const DEFAULT: &str = include_str!("../flashsale.toml");

/// What `serve` is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The buyers' address.
    pub listen: SocketAddr,
    /// The second port's address.
    pub admin: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// Whether an empty folder gets a demo sale.
    pub demo: bool,
    /// The front tier.
    pub front: Front,
    /// The lanes.
    pub lanes: Lanes,
    /// The order log.
    pub log: Log,
    /// The order rows.
    pub databases: Databases,
    /// Where buyers of a shop's own pages log in.
    pub logins: Logins,
    /// Where orders are paid.
    pub payments: Payments,
}

/// The front tier.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Front {
    /// Threads that answer buyers; 0: one per core.
    pub threads: u16,
    /// Purchases under way at one time.
    pub permits: u32,
    /// How much of them one tenant may hold, in percent.
    pub tenant_permits_percent: u8,
    /// Purchases a second that one tenant may ask for.
    pub tenant_rate_per_s: u32,
    /// Seconds that a buyer has to pay, of a sale that says nothing.
    pub payment_window_s: u32,
}

/// The lanes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Batches in a lane's journal above which it promises nothing more.
    pub journal_max: u32,
    /// Seconds for which a lane stays open after its sale's end.
    pub settling_s: u32,
}

/// The order log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Partitions; fixed for the life of the folder.
    pub partitions: u16,
}

/// The order rows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Databases {
    /// Files; fixed for the life of the folder.
    pub shards: u16,
    /// Tables in each; fixed for the life of the folder.
    pub tables: u16,
}

/// Where buyers of a shop's own pages log in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logins {
    /// Host and port of a proxy that speaks for WeChat; empty: none.
    pub wechat: String,
    /// Host and port of a gateway of messages; empty: none.
    pub sms: String,
}

/// Where orders are paid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Payments {
    /// The file of accounts at WeChat Pay and Alipay; empty: none.
    pub accounts: PathBuf,
}

impl Payments {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        Some(self.accounts.clone()).filter(|path| !path.as_os_str().is_empty())
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listen: local(8080),
            admin: local(8081),
            data: "flashsale-data".into(),
            demo: true,
            front: Front::default(),
            lanes: Lanes::default(),
            log: Log::default(),
            databases: Databases::default(),
            logins: Logins::default(),
            payments: Payments::default(),
        }
    }
}

impl Default for Front {
    fn default() -> Self {
        Self {
            threads: 0,
            permits: 16_384,
            tenant_permits_percent: 100,
            tenant_rate_per_s: 1_000_000,
            payment_window_s: PAYMENT_WINDOW_S_DEFAULT,
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self { journal_max: 50_000, settling_s: 60 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { partitions: 1 }
    }
}

impl Default for Databases {
    fn default() -> Self {
        Self { shards: 2, tables: 1 }
    }
}

/// Why the settings are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key or a value that no setting takes.
    #[error("{}: {message}\n`flashsale config` prints every key with its meaning", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// Values out of range, or that exclude each other; all of them.
    #[error("these settings cannot work:\n{}", .0.iter().map(|flaw| format!("  {flaw}")).collect::<Vec<_>>().join("\n"))]
    Contradictory(Vec<String>),
}

/// What the command line says before the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--port`: of the buyers' address; the second port then is the next one.
    pub port: Option<u16>,
    /// `--admin-port`.
    pub admin_port: Option<u16>,
    /// `--no-demo`.
    pub no_demo: bool,
}

impl Config {
    /// Reads the file, if one is named, and puts the command line before it.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing was opened or made.
    pub fn read(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text =
                    input::text_of(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
                Self::parse(&text).map_err(|message| ConfigError::Malformed { path: path.to_owned(), message })?
            }
        };
        config.put_before(overrides);
        let flaws = config.flaws();
        if flaws.is_empty() { Ok(config) } else { Err(ConfigError::Contradictory(flaws)) }
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    fn put_before(&mut self, overrides: &Overrides) {
        if let Some(data) = &overrides.data {
            self.data.clone_from(data);
        }
        if let Some(port) = overrides.port {
            self.listen.set_port(port);
            // Past the last port there is none: told as a contradiction below.
            self.admin.set_port(port.saturating_add(1));
        }
        if let Some(port) = overrides.admin_port {
            self.admin.set_port(port);
        }
        self.demo &= !overrides.no_demo;
    }

    /// Everything that cannot work, as a person mends it.
    fn flaws(&self) -> Vec<String> {
        let (pay_min, pay_max) = (*PAYMENT_WINDOW_S.start(), *PAYMENT_WINDOW_S.end());
        let ranges = [
            ("front.threads", u64::from(self.front.threads), 0, 256),
            ("front.permits", self.front.permits.into(), 1, 1_000_000),
            ("front.tenant_permits_percent", self.front.tenant_permits_percent.into(), 1, 100),
            ("front.tenant_rate_per_s", self.front.tenant_rate_per_s.into(), 1, 10_000_000),
            ("front.payment_window_s", self.front.payment_window_s.into(), pay_min.into(), pay_max.into()),
            ("lanes.journal_max", self.lanes.journal_max.into(), 1, 1_000_000),
            ("lanes.settling_s", self.lanes.settling_s.into(), 0, 31_536_000),
            ("log.partitions", self.log.partitions.into(), 1, 64),
            ("databases.shards", self.databases.shards.into(), 1, 64),
            ("databases.tables", self.databases.tables.into(), 1, 64),
        ];
        let out_of_range = ranges.iter().filter(|(_, value, low, high)| !(low..=high).contains(&value));
        let mut flaws: Vec<String> =
            out_of_range.map(|(key, value, low, high)| format!("{key} = {value}: give {low} to {high}")).collect();
        let (listen, admin) = (self.listen, self.admin);
        let meet = listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
        if meet && listen.port() == admin.port() && listen.port() != 0 {
            flaws.push(format!("listen = {listen} and admin = {admin}: give each a port of its own"));
        }
        if !admin.ip().is_loopback() {
            flaws.push(format!(
                "admin = {admin}: it must be a loopback address such as 127.0.0.1, which no buyer reaches"
            ));
        }
        let threads = self.front_threads();
        if u64::from(self.front.permits) < u64::try_from(threads).unwrap_or(u64::MAX) {
            let permits = self.front.permits;
            flaws.push(format!("front.permits = {permits} for {threads} threads: give at least one permit to each"));
        }
        if self.data.as_os_str().is_empty() {
            flaws.push("data = \"\": name a folder".into());
        }
        flaws
    }

    /// Threads that answer buyers.
    pub fn front_threads(&self) -> usize {
        service::front_threads(Some(self.front.threads).filter(|threads| *threads > 0))
    }

    /// Permits of one tenant, at least one.
    pub fn tenant_permits(&self) -> u32 {
        service::tenant_permits(self.front.permits, self.front.tenant_permits_percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> Vec<String> {
        Config::parse(text).unwrap().flaws()
    }

    /// The file is the manual: what it shows as defaults are the defaults.
    #[test]
    fn the_file_says_the_defaults() {
        assert_eq!(Config::parse(DEFAULT).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::default().flaws(), [""; 0]);
    }

    /// Each key of the file stands below a comment.
    #[test]
    fn every_key_is_explained() {
        let lines: Vec<&str> = DEFAULT.lines().collect();
        let keys = lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'));
        for (at, key) in keys {
            assert!(lines[at - 1].starts_with("# "), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        for text in ["permits = 1", "[front]\npermit = 1", "[redis]\nurl = 'x'"] {
            assert!(Config::parse(text).unwrap_err().contains("unknown field"), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_told_all_at_once() {
        assert_eq!(flaws("[front]\npermits = 0\ntenant_permits_percent = 101").len(), 3);
        assert_eq!(flaws("[front]\nthreads = 8\npermits = 7").len(), 1);
        assert!(flaws("listen = '127.0.0.1:1'\nadmin = '127.0.0.1:1'")[0].contains("a port of its own"));
        assert!(flaws("listen = '0.0.0.0:8081'")[0].contains("a port of its own"));
        assert!(flaws("admin = '0.0.0.0:9'")[0].contains("loopback"));
        assert_eq!(flaws("data = ''"), ["data = \"\": name a folder"]);
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let overrides = Overrides { data: Some("elsewhere".into()), port: Some(9000), admin_port: None, no_demo: true };
        let config = Config::read(None, &overrides).unwrap();
        assert_eq!((config.listen.port(), config.admin.port(), config.demo), (9000, 9001, false));
        assert_eq!(config.data, Path::new("elsewhere"));
        let last = Overrides { port: Some(u16::MAX), ..Overrides::default() };
        assert!(matches!(Config::read(None, &last), Err(ConfigError::Contradictory(_))));
    }
}
