//! In the place of the production deployment, where this program is built without it.

use clap::{ArgMatches, Command};

use super::ArgsError;
use crate::deployment::Deployment;

/// There are no settings to add.
pub(super) fn augment(command: Command) -> Command {
    command
}

/// There is none.
pub(super) fn deployment(_: &ArgMatches) -> Result<Deployment, ArgsError> {
    Err(ArgsError::NoProduction)
}
