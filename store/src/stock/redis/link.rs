//! Connections: one node or a cluster, and what an error means.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use redis::{
    Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};

use super::{RedisSettings, scripts::Run};
use crate::stock::StockError;

const CLUSTER_SCHEME: &str = "redis-cluster://";

/// Connections that many calls share.
#[derive(Clone)]
pub(super) enum Link {
    /// To one node, spread round robin.
    Node(Arc<[ConnectionManager]>, Arc<AtomicUsize>),
    /// To a cluster, which routes by the keys.
    Cluster(ClusterConnection),
}

/// The nodes of a cluster, `None` for one node alone.
pub(super) fn cluster_nodes(url: &str) -> Option<Vec<String>> {
    if !url.contains(',') && !url.starts_with(CLUSTER_SCHEME) {
        return None;
    }
    Some(url.split(',').map(|node| node.trim().replace(CLUSTER_SCHEME, "redis://")).collect())
}

impl Link {
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, StockError> {
        if let Some(nodes) = cluster_nodes(&settings.url) {
            return Ok(Self::Cluster(cluster(nodes, settings).await?));
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout))
            .set_number_of_retries(1);
        let managers = (0..settings.connections.max(1)).map(|_| {
            let client = Client::open(settings.url.as_str())?;
            ConnectionManager::new_lazy_with_config(client, config.clone())
        });
        let managers = managers.collect::<Result<Vec<_>, _>>().map_err(|error| classify(&error))?;
        Ok(Self::Node(managers.into(), Arc::default()))
    }

    /// One answer. A server that does not know the script gets its source.
    pub(super) async fn ask(&self, run: Run) -> Result<Value, StockError> {
        match self {
            Self::Node(managers, turn) => {
                let turn = turn.fetch_add(1, Relaxed) % managers.len();
                evaluate(&mut managers[turn].clone(), &run).await
            }
            Self::Cluster(connection) => evaluate(&mut connection.clone(), &run).await,
        }
    }
}

/// A cluster connection that follows a moved slot. What it may send again for that, or after a broken connection, it sends once more:
/// every script bears it.
pub(super) async fn cluster(nodes: Vec<String>, settings: &RedisSettings) -> Result<ClusterConnection, StockError> {
    let client = ClusterClientBuilder::new(nodes)
        .retries(1)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .build()
        .map_err(|error| classify(&error))?;
    client.get_async_connection().await.map_err(|error| classify(&error))
}

/// Runs a script on a connection.
pub(super) async fn evaluate(connection: &mut impl ConnectionLike, run: &Run) -> Result<Value, StockError> {
    match send(connection, run.by_digest()).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            send(connection, &run.by_source()).await.map_err(|error| classify(&error))
        }
        answer => answer.map_err(|error| classify(&error)),
    }
}

async fn send(connection: &mut impl ConnectionLike, cmd: &Cmd) -> Result<Value, RedisError> {
    connection.req_packed_command(cmd).await?.extract_error()
}

/// What an error says about the call: a script's own refusal and a wrong type are for an operator, everything else may pass.
pub(super) fn classify(error: &RedisError) -> StockError {
    let said = error.to_string();
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ExecAbort)
        | ErrorKind::Extension
        | ErrorKind::UnexpectedReturnType
        | ErrorKind::InvalidClientConfig
        | ErrorKind::AuthenticationFailed
        | ErrorKind::Parse
            if !is_passing(error) =>
        {
            StockError::Broken(said)
        }
        _ => StockError::Unknown(said),
    }
}

/// Codes of a server that cannot answer now and will later.
fn is_passing(error: &RedisError) -> bool {
    let codes =
        ["LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MISCONF", "NOREPLICAS"];
    error.code().is_some_and(|code| codes.contains(&code))
}
