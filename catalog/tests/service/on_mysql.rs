//! A database of its own on the server that `stack/` starts; dropped with the test.

use std::time::SystemTime;

use catalog::database;
use store::{
    ledger::Ledger,
    shards::{Namespace, drop_all, open_ledger},
    sql::Server as _,
    sql::mysql::{MySql, MySqlServer, Settings},
};

use crate::suite::Topic;

pub(crate) type Db = MySql;

/// The names of all tables.
pub(crate) const TABLES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";

/// Keeps the database for as long as it is held.
pub(crate) struct Place {
    server: MySqlServer,
    namespace: Namespace,
    is_owned: bool,
    topic: Topic,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let mut place = Self::of(&format!("cat_{nanos}_{}", rand::random_range(0..1_000)));
        place.is_owned = true;
        place
    }

    /// How another process names it.
    pub(crate) fn name(&self) -> String {
        self.namespace.to_string()
    }

    /// The place of another process, which keeps it.
    pub(crate) fn of(name: &str) -> Self {
        let url = std::env::var("FLASHSALE_MYSQL_URL").expect("FLASHSALE_MYSQL_URL; stack/stack up, then . stack/env");
        let server = MySqlServer::new(&url, Settings::default()).unwrap();
        Self { server, namespace: Namespace::new(name).unwrap(), is_owned: false, topic: Topic::default() }
    }

    /// Its files are its server's.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The topic of its sales.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The ledger's database.
    pub(crate) async fn ledger(&self) -> Ledger<Db> {
        open_ledger(&self.server, &self.namespace).await.unwrap()
    }

    /// The same, for what no repository does.
    pub(crate) async fn ledger_db(&self) -> Db {
        self.server.open(&self.namespace.ledger())
    }

    /// The database; each call is as another process would open it.
    pub(crate) async fn open(&self) -> Db {
        database::open(&self.server, &self.namespace).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_owned {
            return;
        }
        // A test's runtime cannot be waited on from within it: another thread has one of its own.
        let (server, namespace) = (self.server.clone(), self.namespace.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(drop_all(&server, &namespace))
        });
        let dropped = dropping.join().unwrap();
        if !std::thread::panicking() {
            dropped.unwrap();
        }
    }
}
