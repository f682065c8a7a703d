//! The deployment under test: which one it is, and the settings without which it cannot be reached.

use std::{net::SocketAddr, path::PathBuf};

use clap::ValueEnum;
#[cfg(feature = "production")]
use kit::settings::{StoreArgs, TokenArgs};

/// Which adapters are under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeploymentKind {
    /// Redis, Kafka and MySQL.
    Production,
    /// One process and one data folder.
    Embedded,
}

impl Default for DeploymentKind {
    /// Production, where this program has its adapters.
    fn default() -> Self {
        if cfg!(feature = "production") { Self::Production } else { Self::Embedded }
    }
}

impl DeploymentKind {
    /// As the command line and the report name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Embedded => "embedded",
        }
    }
}

/// The deployment under test with its settings.
#[derive(Debug)]
pub enum Deployment {
    /// Redis, Kafka and MySQL.
    #[cfg(feature = "production")]
    Production(Production),
    /// One process and one data folder.
    Embedded(Embedded),
}

impl Deployment {
    /// Which one it is.
    pub const fn kind(&self) -> DeploymentKind {
        match self {
            #[cfg(feature = "production")]
            Self::Production(_) => DeploymentKind::Production,
            Self::Embedded(_) => DeploymentKind::Embedded,
        }
    }
}

/// The production deployment: its stores, and the keys of its buyers' tokens.
#[cfg(feature = "production")]
#[derive(Debug)]
pub struct Production {
    /// The stores.
    pub stores: StoreArgs,
    /// The key that signs the buyers' tokens.
    pub tokens: TokenArgs,
}

/// The embedded deployment.
#[derive(Debug, Clone, Default)]
pub struct Embedded {
    /// Its data folder; `None`: a fresh one, which is removed after a clean run.
    pub data: Option<PathBuf>,
    /// Where `flashsale` is; `None`: beside this program, and built first when cargo runs us.
    pub program: Option<PathBuf>,
}

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// As it stands in the header `host`.
    pub host: String,
}
