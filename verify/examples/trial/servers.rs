//! Redis, Kafka and MariaDB of the trial's own, through the commands of `stack/`, in a folder of
//! their own and on free ports: what hurts them hurts nobody else. Older copies of what they hold
//! are taken and put back here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

const STACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../stack");
/// Seconds for which a copy waits for a transaction that another session holds open.
const LOCK_WAIT_S: u32 = 5;

/// The servers.
#[derive(Debug)]
pub(crate) struct Servers {
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

impl Servers {
    /// Starts all three.
    ///
    /// # Errors
    /// When one does not come up.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut servers = Self { folder: folder.join("stack"), environment: Vec::new() };
        fs::create_dir_all(servers.folder.join("kafka"))?;
        // Kafka's jars are fetched once: a stack that has them lends them.
        let lender = std::env::var_os("STACK_DIR").map_or_else(|| Path::new(STACK).join("../.stack"), PathBuf::from);
        let (libs, own) = (lender.join("kafka/libs"), servers.folder.join("kafka/libs"));
        if libs.join("pom.xml").exists() {
            let copied = Command::new("cp").arg("-rl").args([&libs, &own]).status()?;
            if !copied.success() {
                // Another file system: they are fetched, then.
                fs::remove_dir_all(&own).ok();
            }
        }
        servers.stack(&["up"])?;
        let settings = servers.stack(&["env"])?;
        let pairs = settings.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        servers.environment = pairs.map(|(name, value)| (name.into(), value.trim_matches('\'').into())).collect();
        Ok(servers)
    }

    /// How the services reach them.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// One of [`Self::environment`]; empty if there is no such.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.environment.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A command of the stack.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub(crate) fn stack(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(Path::new(STACK).join("stack"));
        // A machine at its limit starts a JVM in a minute.
        command.args(arguments).env("STACK_DIR", &self.folder).env("STACK_PORTS", "any").env("STACK_DEADLINE_S", "180");
        for server in ["REDIS", "KAFKA", "KAFKA_CONTROLLER", "MYSQL"] {
            command.env_remove(format!("STACK_{server}_PORT"));
        }
        run(&mut command)
    }

    /// Forgets everything in Redis.
    ///
    /// # Errors
    /// When Redis does not answer within 3 s.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        run(Command::new("timeout").args(["3", "redis-cli", "-u", self.setting("FLASHSALE_REDIS_URL"), "FLUSHALL"]))
            .map(drop)
    }

    /// Copies Redis's files as they are at one moment: it is held meanwhile.
    ///
    /// # Errors
    /// When it is not running, or they cannot be copied.
    pub(crate) fn copy_redis(&self) -> anyhow::Result<()> {
        let (from, to) = (self.folder.join("redis/data"), self.folder.join("redis/copy"));
        fs::remove_dir_all(&to).ok();
        self.stack(&["freeze", "redis"])?;
        let copied = run(Command::new("cp").arg("-r").args([&from, &to]));
        self.stack(&["thaw", "redis"])?;
        copied.map(drop)
    }

    /// Kills Redis and starts it on the copy.
    ///
    /// # Errors
    /// When there is no copy, or it does not come up.
    pub(crate) fn restore_redis(&self) -> anyhow::Result<()> {
        let (data, copy) = (self.folder.join("redis/data"), self.folder.join("redis/copy"));
        ensure!(copy.exists(), "no copy was taken");
        self.stack(&["kill", "redis"])?;
        fs::remove_dir_all(&data)?;
        fs::rename(&copy, &data)?;
        self.stack(&["up", "redis"]).map(drop)
    }

    /// Copies a database as it is at one moment: its tables are locked meanwhile.
    ///
    /// # Errors
    /// When somebody holds them for too long.
    pub(crate) fn copy_database(&self, database: &str) -> anyhow::Result<()> {
        let copy = format!("{database}_copy");
        let tables = self.tables(database)?;
        let each = |text: &dyn Fn(&str) -> String| tables.iter().map(|table| text(table)).collect::<Vec<_>>();
        let mut script =
            format!("SET lock_wait_timeout={LOCK_WAIT_S}; DROP DATABASE IF EXISTS {copy}; CREATE DATABASE {copy};");
        script += &each(&|table| format!("CREATE TABLE {copy}.{table} LIKE {database}.{table};")).concat();
        let locks = each(&|table| format!("{database}.{table} READ, {copy}.{table} WRITE")).join(", ");
        script += &format!("LOCK TABLES {locks};");
        script += &each(&|table| format!("INSERT INTO {copy}.{table} SELECT * FROM {database}.{table};")).concat();
        self.sql(&(script + "UNLOCK TABLES;")).map(drop)
    }

    /// Puts the copy in the database's place, at one moment for all who look.
    ///
    /// # Errors
    /// When there is no copy, or somebody holds the tables for too long.
    pub(crate) fn restore_database(&self, database: &str) -> anyhow::Result<()> {
        let (copy, gone) = (format!("{database}_copy"), format!("{database}_gone"));
        let (now, then) = (self.tables(database)?, self.tables(&copy)?);
        ensure!(!then.is_empty(), "no copy was taken");
        let out = now.iter().map(|table| format!("{database}.{table} TO {gone}.{table}"));
        let back = then.iter().map(|table| format!("{copy}.{table} TO {database}.{table}"));
        let moves = out.chain(back).collect::<Vec<_>>().join(", ");
        self.sql(&format!(
            "SET lock_wait_timeout={LOCK_WAIT_S}; DROP DATABASE IF EXISTS {gone}; CREATE DATABASE {gone}; RENAME TABLE {moves}; \
             DROP DATABASE {copy};"
        ))
        .map(drop)
    }

    fn tables(&self, database: &str) -> anyhow::Result<Vec<String>> {
        let asked = format!("SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'");
        Ok(self.sql(&asked)?.lines().map(str::to_owned).collect())
    }

    fn sql(&self, script: &str) -> anyhow::Result<String> {
        let settings = format!("--defaults-file={}", self.folder.join("mysql/my.cnf").display());
        let mut command = Command::new("timeout");
        command.args(["30", "mariadb", &settings, "--batch", "--skip-column-names", "--execute", script]);
        run(&mut command)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        kill_all(&self.folder);
    }
}

/// Ends what runs in a stack's folder; its data go with the folder.
pub(crate) fn kill_all(stack: &Path) {
    for server in ["redis", "kafka", "mysql"] {
        let mut command = Command::new(Path::new(STACK).join("stack"));
        command.args(["kill", server]).env("STACK_DIR", stack).stderr(Stdio::null()).stdout(Stdio::null());
        command.status().ok();
    }
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let (stdout, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "{:?} ended with {}: {}{}",
        command.get_program(),
        output.status,
        stdout,
        why.trim_end()
    );
    Ok(stdout.into_owned())
}
