//! A real Redis of a test's own, with the settings of production, which can be killed and lose the
//! end of its log.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use kit::http::free_address;

use crate::child::{Child, wait_until};

/// A Redis server in a folder of its own.
#[derive(Debug)]
pub struct RedisServer {
    folder: PathBuf,
    port: u16,
    child: Child,
}

/// A loopback port for a program that is started next ([`free_address`]).
///
/// # Errors
/// When none can be had.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(free_address()?.port())
}

impl RedisServer {
    /// Starts one with an append-only file, synced every second, in `folder`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let data = folder.join("redis");
        fs::create_dir_all(&data)?;
        let child = Self::spawn(folder, port)?;
        let server = Self { folder: folder.to_owned(), port, child };
        server.wait_until_up()?;
        Ok(server)
    }

    fn spawn(folder: &Path, port: u16) -> anyhow::Result<Child> {
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--aof-load-truncated", "yes"]);
        command.arg("--dir").arg(folder.join("redis"));
        Child::start("redis", command, folder).context("redis-server is installed by stack/stack up")
    }

    fn wait_until_up(&self) -> anyhow::Result<()> {
        wait_until("redis answers", Duration::from_secs(60), || Ok(self.pings()))
    }

    fn pings(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 7]> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"PING\r\n")?;
            let mut pong = [0; 7];
            stream.read_exact(&mut pong)?;
            Ok(pong)
        };
        ask().is_ok_and(|pong| &pong == b"+PONG\r\n")
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many bytes its log has now.
    ///
    /// # Errors
    /// When the log cannot be found.
    pub fn log_len(&self) -> anyhow::Result<u64> {
        Ok(fs::metadata(self.log()?)?.len())
    }

    fn log(&self) -> anyhow::Result<PathBuf> {
        let parts = fs::read_dir(self.folder.join("redis/appendonlydir"))?;
        let mut parts: Vec<PathBuf> = parts.map(|part| part.map(|part| part.path())).collect::<Result<_, _>>()?;
        parts.retain(|part| part.to_string_lossy().ends_with(".incr.aof"));
        parts.sort();
        parts.pop().context("redis has no append-only file")
    }

    /// Its process, to be frozen.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// kill -9: from then on its port refuses connections.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()
    }

    /// kill -9, and starts it again with all that it had: what it wrote outlives the process.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child = Self::spawn(&self.folder, self.port)?;
        self.wait_until_up()
    }

    /// kill -9, cuts its log back to `len` bytes, and starts it again: it forgets what came later,
    /// as after a power loss.
    ///
    /// # Errors
    /// When any of that fails.
    pub fn restart_with_log_cut_to(&mut self, len: u64) -> anyhow::Result<()> {
        self.child.kill()?;
        let log = self.log()?;
        anyhow::ensure!(fs::metadata(&log)?.len() > len, "nothing is cut: the test would prove nothing");
        OpenOptions::new().write(true).open(&log)?.set_len(len)?;
        self.child = Self::spawn(&self.folder, self.port)?;
        self.wait_until_up()
    }
}
