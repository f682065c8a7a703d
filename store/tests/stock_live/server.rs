//! Redis servers of a test's own: to be killed, filled, or clustered.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kit::http::free_address;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// Long enough for a slow machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub(super) struct OwnRedis {
    port: u16,
    /// What nodes of a cluster speak to each other over.
    bus: u16,
    options: Vec<String>,
    home: TempDir,
    child: Child,
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn([port, bus]: [u16; 2], home: &TempDir, options: &[String]) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    server.arg("--port").arg(port.to_string()).arg("--cluster-port").arg(bus.to_string());
    server.arg("--dir").arg(home.path()).args(options);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server can be started")
}

impl OwnRedis {
    pub(super) async fn start(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let ([port, bus], home) = ([0; 2].map(|_| free_address().unwrap().port()), TempDir::new().unwrap());
        let child = spawn([port, bus], &home, &options);
        let server = Self { port, bus, options, home, child };
        server.raw().await;
        server
    }

    /// A cluster of three nodes, each with a third of the slots; where one is gone the others go
    /// on.
    pub(super) async fn start_cluster_of_three() -> [Self; 3] {
        let start = || Self::start(&["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"]);
        let nodes = [start().await, start().await, start().await];
        for (node, (from, to)) in nodes.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
            let mut raw = node.raw().await;
            redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(from).arg(to).exec_async(&mut raw).await.unwrap();
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(nodes[0].port).arg(nodes[0].bus).exec_async(&mut raw).await.unwrap();
        }
        let started = Instant::now();
        for node in &nodes {
            let mut raw = node.raw().await;
            loop {
                let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut raw).await.unwrap();
                if info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384") {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "no cluster after {PATIENCE:?}: {info}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        nodes
    }

    /// Stops it where it stands, or lets it go on.
    pub(super) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// A cluster of one node.
    pub(super) async fn start_cluster() -> Self {
        let server = Self::start(&["--cluster-enabled", "yes"]).await;
        let mut raw = server.raw().await;
        let mut assign = redis::cmd("CLUSTER");
        assign.arg("ADDSLOTSRANGE").arg(0).arg(16_383).exec_async(&mut raw).await.unwrap();
        let started = Instant::now();
        loop {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut raw).await.unwrap();
            if info.contains("cluster_state:ok") {
                return server;
            }
            assert!(started.elapsed() < PATIENCE, "no cluster after {PATIENCE:?}");
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn cluster_url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.port)
    }

    /// A connection, as soon as the server answers.
    pub(super) async fn raw(&self) -> MultiplexedConnection {
        let started = Instant::now();
        loop {
            let client = redis::Client::open(self.url()).unwrap();
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
            {
                return connection;
            }
            assert!(started.elapsed() < PATIENCE, "no server after {PATIENCE:?}");
            tokio::task::yield_now().await;
        }
    }

    /// As `kill -9` does, and waits for its end.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// The same server again, on the same port with the same files.
    pub(super) async fn start_again(&mut self) {
        self.kill();
        self.child = spawn([self.port, self.bus], &self.home, &self.options);
        self.raw().await;
    }
}
