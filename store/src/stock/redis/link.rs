//! One node or a cluster, and what an error means. What a cluster's client tells does not say
//! whether a call left this process: its errors are all unknown outcomes.

use std::{future::Future, sync::Arc, time::Duration};

use redis::{
    Cmd, ErrorKind, RedisError, ServerErrorKind, Value, aio::ConnectionLike, cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};

use super::{RedisSettings, node::Node, scripts::Run};
use crate::{
    cause::Cause,
    figures::{CallCount, Calls},
    stock::StockError,
};

const CLUSTER_SCHEME: &str = "redis-cluster://";

/// Connections that many calls share, and how long they wait for an answer.
#[derive(Clone)]
pub(super) struct Link {
    way: Way,
    patience: Duration,
    calls: Arc<CallCount>,
}

#[derive(Clone)]
enum Way {
    /// To one node, spread round robin.
    Node(Arc<Node>),
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
        let way = match cluster_nodes(&settings.url) {
            Some(nodes) => Way::Cluster(cluster(nodes, settings).await?),
            None => Way::Node(Arc::new(Node::new(settings).map_err(classify)?)),
        };
        Ok(Self { way, patience: settings.response_timeout, calls: Arc::default() })
    }

    /// What came of its calls, whenever it is asked.
    pub(super) fn calls(&self) -> impl Fn() -> Calls + Send + Sync + 'static + use<> {
        let calls = Arc::clone(&self.calls);
        move || calls.read()
    }

    /// One answer. A server that does not know the script gets its source.
    pub(super) async fn ask(&self, run: Run) -> Result<Value, StockError> {
        let answer = self.ask_way(run).await;
        self.calls.note(&answer);
        answer
    }

    async fn ask_way(&self, run: Run) -> Result<Value, StockError> {
        match &self.way {
            Way::Node(node) => {
                let place = node.next();
                let mut line = place.line().await?;
                let answer = within(self.patience, evaluate(&mut line.connection, &run)).await;
                // It broke, or is silent: the way may be dead without either end having been told.
                if answer.as_ref().map_or(true, |told| told.as_ref().is_err_and(RedisError::is_unrecoverable_error)) {
                    place.renew(&line);
                }
                answer?.map_err(classify)
            }
            Way::Cluster(connection) => {
                let answer = within(self.patience, evaluate(&mut connection.clone(), &run)).await;
                answer?.map_err(classify)
            }
        }
    }
}

/// A cluster connection that follows a moved slot. What it may send again for that, or after a
/// broken connection, it sends once more: every script bears it. After a timeout it sends nothing
/// again, because whoever waited has gone by then.
pub(super) async fn cluster(nodes: Vec<String>, settings: &RedisSettings) -> Result<ClusterConnection, StockError> {
    let client = ClusterClientBuilder::new(nodes)
        .retries(1)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout * 2)
        .connection_concurrency_limit(settings.in_flight.max(1))
        .build()
        .map_err(classify)?;
    client.get_async_connection().await.map_err(classify)
}

/// The future's output, or the error of one that took too long.
pub(super) async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Result<T, StockError> {
    let silent = |_| StockError::Unknown(format!("nothing in {patience:?}").into());
    tokio::time::timeout(patience, future).await.map_err(silent)
}

/// Runs a script on a connection.
pub(super) async fn evaluate(connection: &mut impl ConnectionLike, run: &Run) -> Result<Value, RedisError> {
    match send(connection, run.by_digest()).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            send(connection, &run.by_source()).await
        }
        answer => answer,
    }
}

/// One answer to one command.
pub(super) async fn send(connection: &mut impl ConnectionLike, cmd: &Cmd) -> Result<Value, RedisError> {
    connection.req_packed_command(cmd).await?.extract_error()
}

/// What an error says about the call. A server that refuses it (a script's own refusal, a wrong
/// type, no rights, no memory, no disk) needs an operator; whatever else may pass, and the call may
/// have happened.
pub(super) fn classify(error: RedisError) -> StockError {
    let is_refused = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ResponseError
                | ServerErrorKind::ExecAbort
                | ServerErrorKind::CrossSlot
                | ServerErrorKind::NoPerm,
        ) | ErrorKind::Extension
            | ErrorKind::UnexpectedReturnType
            | ErrorKind::InvalidClientConfig
            | ErrorKind::AuthenticationFailed
    );
    if is_refused && !is_passing(&error) {
        StockError::Broken(Cause::of(error))
    } else {
        StockError::Unknown(Cause::of(error))
    }
}

/// Whether a server cannot answer now and will later. (The client names most of such codes itself.)
fn is_passing(error: &RedisError) -> bool {
    let codes = ["BUSY", "LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS"];
    let is_crowded = error.detail().is_some_and(|detail| detail.contains("max number of clients"));
    is_crowded || error.code().is_some_and(|code| codes.contains(&code))
}
