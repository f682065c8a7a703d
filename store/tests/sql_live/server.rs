//! The server that `stack/` starts, and a raw connection to it.

use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder};
use store::sql::mysql::{MySqlServer, Settings};

use crate::suite::support::Adapter;

pub(super) fn url() -> String {
    std::env::var("FLASHSALE_MYSQL_URL").expect("FLASHSALE_MYSQL_URL; stack/stack up, then . stack/env")
}

/// Short, so that tests of timeouts are.
pub(super) fn settings() -> Settings {
    Settings { lock_wait: Duration::from_secs(1), statement_timeout: Duration::from_secs(30), ..Settings::default() }
}

#[derive(Clone)]
pub(super) struct Live;

impl Adapter for Live {
    type Server = MySqlServer;

    fn server(&self) -> MySqlServer {
        MySqlServer::new(&url(), settings()).unwrap()
    }
}

/// Sends many rows in statements of many rows, as every MySQL gets them.
#[derive(Clone)]
pub(super) struct LiveWithoutArrays;

impl Adapter for LiveWithoutArrays {
    type Server = MySqlServer;

    fn server(&self) -> MySqlServer {
        MySqlServer::new(&url(), Settings { arrays: false, ..settings() }).unwrap()
    }
}

/// A raw connection to one of the deployment's databases: the fault's hand.
pub(super) async fn raw(database: &str) -> Conn {
    let opts = OptsBuilder::from_opts(Opts::from_url(&url()).unwrap()).db_name(Some(database)).prefer_socket(false);
    Conn::new(opts).await.unwrap()
}
