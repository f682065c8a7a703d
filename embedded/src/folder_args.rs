//! Which folder a command works on, as its arguments say.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, Overrides};

/// Which folder.
#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// The data folder [default: flashsale-data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A settings file, as `flashsale config` prints one; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl FolderArgs {
    pub(crate) fn read(&self) -> Result<Config, ConfigError> {
        Config::read(self.config.as_deref(), &Overrides { data: self.data.clone(), ..Overrides::default() })
    }
}
