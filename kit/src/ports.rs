//! The two ports of an everyday service: its routes on the first, its metrics and probes on the
//! second. The first is drained before the second closes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::clock::SystemClock;
use crate::http::{self, ConnectionMetrics, DrainOutcome, Limits, RequestMetrics, RouteError, Router, Service, Table};
use crate::metrics::{MetricsError, Registry};
use crate::settings::AdminArgs;

/// Why a port is not served.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else has the address, or it is not ours.
    #[error("cannot listen on {address}; --listen and --admin-addr choose other addresses")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Open files.
    #[error("the limit of open files cannot be raised")]
    Descriptors(#[source] io::Error),
    /// The listener.
    #[error("a port is not served any more")]
    Serve(#[from] io::Error),
    /// Two metrics have one name.
    #[error("the metrics cannot be declared")]
    Metrics(#[from] MetricsError),
    /// Two routes are one.
    #[error("the routes cannot be served together")]
    Routes(#[from] RouteError),
    /// The task that serves the second port.
    #[error("the second port ended by itself")]
    Ended(#[from] JoinError),
}

/// Listens on the first port.
///
/// # Errors
/// [`PortError::Listen`].
pub fn listen(address: SocketAddr) -> Result<TcpListener, PortError> {
    http::bind(address, false).map_err(|source| PortError::Listen { address, source })
}

/// The second port, and what it shows.
#[derive(Debug)]
pub struct SecondPort {
    /// What the service counts.
    pub registry: Registry,
    readiness: Readiness,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<DrainOutcome>>,
}

impl SecondPort {
    /// Opens it: the service is starting.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn open(args: &AdminArgs) -> Result<Self, PortError> {
        let (registry, readiness, stop) = (Registry::new()?, Readiness::new(), CancellationToken::new());
        let listener = listen(args.admin_addr)?;
        let serving = admin::serve(listener, args.hosts(), registry.clone(), readiness.clone(), stop.clone());
        Ok(Self { registry, readiness, stop, serving: tokio::spawn(serving) })
    }

    /// Serves the first port until `stop`, and drains it.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn serve<S: Service>(
        &self,
        listener: TcpListener,
        service: S,
        stop: CancellationToken,
    ) -> Result<(), PortError> {
        let descriptors = http::raise_descriptor_limit().map_err(PortError::Descriptors)?;
        let table = Arc::new(Table::of::<S>()?);
        let requests = Arc::new(RequestMetrics::register(&self.registry, table.names())?);
        let router = Router::new(service, table, SystemClock::new(), requests);
        let connections = ConnectionMetrics::register(&self.registry)?;
        self.readiness.ready();
        let limits = Limits::sharing(descriptors, 1);
        let drained = http::serve_measured(listener, router, limits, connections, stop).await?;
        tracing::info!(finished = drained.finished, aborted = drained.aborted, "drained");
        Ok(())
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn close(self) -> Result<(), PortError> {
        self.stop.cancel();
        self.serving.await??;
        Ok(())
    }
}
