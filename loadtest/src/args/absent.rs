//! In the place of the production deployment, where this program is built without it.

use clap::{ArgMatches, Command};

use super::ArgsError;
use crate::under_test::Place;

/// Nothing must be told.
pub(super) fn augment(command: Command) -> Command {
    command
}

/// There is none.
pub(super) fn place(_: &ArgMatches) -> Result<Place, ArgsError> {
    Err(ArgsError::NoProduction)
}
