//! Databases of their own on the server that `stack/` starts; dropped with the test.

use store::{
    shards::{Namespace, drop_all},
    sql::mysql::{MySql, MySqlServer, Settings},
};

pub(crate) type Db = MySql;

/// Whether several write at the same time.
pub(crate) const IS_SERVER: bool = true;

/// Keeps the databases for as long as it is held.
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn new() -> Self {
        Self(format!("dist{:016x}", rand::random::<u64>()))
    }

    pub(crate) fn server(&self) -> MySqlServer {
        let url = std::env::var("FLASHSALE_MYSQL_URL").expect("FLASHSALE_MYSQL_URL; stack/stack up, then . stack/env");
        MySqlServer::new(&url, Settings::default()).unwrap()
    }

    pub(crate) fn namespace(&self) -> String {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test's runtime cannot be waited on from within it: another thread has one of its own.
        let (server, namespace) = (self.server(), Namespace::new(&self.0).unwrap());
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
