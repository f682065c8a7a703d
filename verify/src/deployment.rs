//! What the services read from the environment, read here too.

use anyhow::Context;
use clap::Parser;
use kit::settings::{StoreArgs, TokenArgs};

/// Stores and keys of a deployment.
#[derive(Debug, Parser)]
pub struct DeploymentArgs {
    /// Where its services remember.
    #[command(flatten)]
    pub stores: StoreArgs,
    /// What its buyers' tokens are signed with.
    #[command(flatten)]
    pub tokens: TokenArgs,
}

impl DeploymentArgs {
    /// That of a namespace with a Redis of its own.
    ///
    /// # Errors
    /// When the environment does not say where the stack is.
    pub fn of(namespace: &str, redis_url: &str) -> anyhow::Result<Self> {
        let arguments = ["verify", "--namespace", namespace, "--redis-url", redis_url];
        Self::try_parse_from(arguments).context("is the stack up? . stack/env")
    }
}
