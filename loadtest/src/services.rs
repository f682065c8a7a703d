//! The services under test as child processes: built when cargo is the parent, started with logs in
//! files, asked whether they are ready, ended by SIGTERM. Their settings beside their addresses are
//! given here as environment variables.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use kit::clock::{Clock, SystemClock};
use tokio::process::{Child, Command};

use crate::probe;

/// How long a service may take until it is ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a service may take to drain.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Between questions.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when its service fails.
const LOG_LINES: usize = 30;

/// Why a service does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The build failed.
    #[error("cargo could not build {packages}: {cause}")]
    Build {
        /// What was to be built.
        packages: String,
        /// Why not.
        cause: String,
    },
    /// A program is not where it should be.
    #[error("there is no program {}: build it with `cargo build --bin {name}` in the same profile", path.display())]
    Missing {
        /// The program.
        name: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// It could not be started, watched or stopped.
    #[error("{name}: {source}")]
    Io {
        /// The program.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It ended, or never became ready.
    #[error("{name} {what}{}", tail(log))]
    Failed {
        /// The program.
        name: &'static str,
        /// What happened.
        what: String,
        /// The end of its log.
        log: String,
    },
}

fn tail(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; the end of its log:\n{log}") }
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// The programs beside this one; built first from these packages, in the same profile, when
    /// cargo runs us.
    ///
    /// # Errors
    /// [`ServiceError::Build`], or [`ServiceError::Io`] when the system does not name this
    /// program's path.
    pub async fn find_or_build(cargo: Option<&Path>, packages: &[&str]) -> Result<Self, ServiceError> {
        let io = |source| ServiceError::Io { name: "the load test", source };
        let own = std::env::current_exe().map_err(io)?;
        let folder = own.parent().unwrap_or(Path::new(".")).to_owned();
        if let Some(cargo) = cargo {
            build(cargo, packages, profile_of(&folder)).await?;
        }
        Ok(Self { folder })
    }

    /// The program of this name.
    ///
    /// # Errors
    /// [`ServiceError::Missing`] when it is not there.
    pub fn program(&self, name: &'static str) -> Result<Program, ServiceError> {
        Program::at(name, self.folder.join(name))
    }
}

/// A program that can be run or started.
#[derive(Debug, Clone)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
}

impl Program {
    /// The same under another name: one program with several services.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The program at this path; `name` is for people.
    ///
    /// # Errors
    /// [`ServiceError::Missing`] when it is not there.
    pub fn at(name: &'static str, path: PathBuf) -> Result<Self, ServiceError> {
        if path.is_file() { Ok(Self { name, path }) } else { Err(ServiceError::Missing { name, path }) }
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] with its error output, for any exit status but 0.
    pub async fn run(&self, arguments: &[&str], variables: &[(String, String)]) -> Result<String, ServiceError> {
        let name = self.name;
        let mut command = Command::new(&self.path);
        command.args(arguments).envs(variables.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|source| ServiceError::Io { name, source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let log = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        Err(ServiceError::Failed { name, what: format!("{} failed ({})", arguments.join(" "), output.status), log })
    }

    /// Starts it as a service whose arguments put its probes at `admin`. Its output goes to a file
    /// in `logs`.
    ///
    /// # Errors
    /// [`ServiceError`] when it cannot be started.
    pub fn start(
        &self,
        arguments: &[&str],
        admin: SocketAddr,
        variables: &[(String, String)],
        logs: &Path,
    ) -> Result<Service, ServiceError> {
        let launch = Launch {
            name: self.name,
            path: self.path.clone(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variables: variables.to_vec(),
            log_path: logs.join(format!("{}.log", self.name)),
        };
        let child = launch.start().map_err(|source| ServiceError::Io { name: self.name, source })?;
        let last_pid = child.id();
        Ok(Service { launch, child, admin, is_killed: false, last_pid })
    }
}

/// How a service is started, the first time and again.
#[derive(Debug)]
struct Launch {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log_path: PathBuf,
}

impl Launch {
    fn start(&self) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log_path)?;
        Command::new(&self.path)
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
    }
}

/// The program and the words that publish a sale file.
#[derive(Debug)]
pub struct Publisher {
    /// `catalog` or `flashsale`.
    pub program: Program,
    /// Before the file's path.
    pub arguments: Vec<String>,
    /// Its environment variables.
    pub variables: Vec<(String, String)>,
}

impl Publisher {
    /// Publishes the sale file at this path.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] with what it answer.
    pub async fn publish(&self, file: &str) -> Result<(), ServiceError> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).chain([file]).collect();
        self.program.run(&arguments, &self.variables).await.map(drop)
    }
}

async fn build(cargo: &Path, packages: &[&str], profile: &str) -> Result<(), ServiceError> {
    let failed = |cause| ServiceError::Build { packages: packages.join(", "), cause };
    let mut command = Command::new(cargo);
    command
        .arg("build")
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .args(["--profile", profile])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Wherever we are run from, these are the packages of this workspace.
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().await.map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// The profile that builds into this folder of the target directory.
fn profile_of(folder: &Path) -> &str {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    }
}

/// A running service. Dropped, it is killed.
#[derive(Debug)]
pub struct Service {
    launch: Launch,
    child: Child,
    admin: SocketAddr,
    /// By us: that it does not run is no failure.
    is_killed: bool,
    last_pid: Option<u32>,
}

impl Service {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.launch.name
    }

    /// The process that runs, or that was killed.
    pub fn last_pid(&self) -> Option<u32> {
        self.last_pid
    }

    /// Ends it by SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// [`ServiceError::Io`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), ServiceError> {
        self.is_killed = true;
        self.child.kill().await.map_err(|source| self.io(source))
    }

    /// Starts it again as it was started first.
    ///
    /// # Errors
    /// [`ServiceError::Io`] when it cannot be started.
    pub fn start_again(&mut self) -> Result<(), ServiceError> {
        self.child = self.launch.start().map_err(|source| self.io(source))?;
        (self.is_killed, self.last_pid) = (false, self.child.id());
        Ok(())
    }

    fn io(&self, source: io::Error) -> ServiceError {
        ServiceError::Io { name: self.name(), source }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Where its metrics and probes are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] when it ends instead, or takes too long.
    pub async fn wait_ready(&mut self, clock: SystemClock) -> Result<(), ServiceError> {
        let deadline = clock.monotonic() + READY_DEADLINE;
        loop {
            self.check_running()?;
            let answer = match probe::get(self.admin, "/readyz", None).await {
                Ok(reply) if reply.status == 200 => return Ok(()),
                Ok(reply) => format!("{} {}", reply.status, reply.body.trim_end()),
                Err(error) => error.to_string(),
            };
            if clock.monotonic() >= deadline {
                return Err(self.failed(format!("was not ready within {READY_DEADLINE:?} (/readyz: {answer})")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// That it still runs.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] when it has ended.
    pub fn check_running(&mut self) -> Result<(), ServiceError> {
        match self.child.try_wait() {
            _ if self.is_killed => Ok(()),
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(format!("ended by itself ({status})"))),
            Err(source) => Err(self.io(source)),
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// [`ServiceError::Failed`] when it had ended before, does not end in time, or ends with
    /// another status than 0.
    pub async fn stop(mut self) -> Result<(), ServiceError> {
        self.check_running()?;
        let name = self.name();
        let io = |source| ServiceError::Io { name, source };
        if let Some(pid) = self.child.id() {
            // The standard library can only kill -9, and the shell has `kill` built in.
            let pid = pid.to_string();
            Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().await.map_err(io)?;
        }
        match tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await {
            Ok(Ok(status)) if ExitStatus::success(&status) => Ok(()),
            Ok(Ok(status)) => Err(self.failed(format!("did not end well ({status})"))),
            Ok(Err(source)) => Err(io(source)),
            Err(_) => Err(self.failed(format!("did not end within {STOP_DEADLINE:?} of SIGTERM"))),
        }
    }

    fn failed(&self, what: String) -> ServiceError {
        let log = std::fs::read(&self.launch.log_path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        ServiceError::Failed { name: self.name(), what, log: end }
    }
}

#[cfg(test)]
mod tests {
    use kit::http::free_address;

    use super::*;

    #[test]
    fn the_profile_is_that_of_the_folder() {
        assert_eq!(profile_of(Path::new("/x/target/debug")), "dev");
        assert_eq!(profile_of(Path::new("/x/target/release")), "release");
    }

    /// The shell stands for every program: its arguments behind the script become `$0`, `$1`.
    const SHELL: &str = "sh";

    fn shell() -> Program {
        Programs { folder: "/bin".into() }.program(SHELL).unwrap()
    }

    fn start(script: &str, variables: &[(String, String)], logs: &Path) -> Service {
        shell().start(&["-c", script], free_address().unwrap(), variables, logs).unwrap()
    }

    #[tokio::test]
    async fn a_service_that_ends_early_shows_the_end_of_its_log() {
        let logs = tempfile::tempdir().unwrap();
        let mut service = start("seq 100; echo oh no >&2; exit 3", &[], logs.path());
        let error = service.wait_ready(SystemClock::new()).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("99\n100\noh no"), "{error}");
        assert!(!error.contains("\n70\n"), "{error}");
    }

    #[tokio::test]
    async fn a_service_is_stopped_by_sigterm_and_its_status_counts() {
        let logs = tempfile::tempdir().unwrap();
        let script = "trap 'exit $CODE' TERM; echo up >\"$FILE\"; while :; do sleep 0.01; done";
        for (code, ends_well) in [("0", true), ("4", false)] {
            let up = logs.path().join(code);
            let variables =
                [("CODE".to_owned(), code.to_owned()), ("FILE".to_owned(), up.to_str().unwrap().to_owned())];
            let service = start(script, &variables, logs.path());
            while !up.exists() {
                tokio::task::yield_now().await;
            }
            assert_eq!(service.stop().await.is_ok(), ends_well);
        }
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why() {
        let script = "echo \"$0 $FACT\"; [ \"$0\" = good ] || { echo bad file >&2; exit 65; }";
        let variables = [("FACT".to_owned(), "known".to_owned())];
        let run = async |word| shell().run(&["-c", script, word], &variables).await;
        assert_eq!(run("good").await.unwrap(), "good known\n");
        let error = run("bad").await.unwrap_err().to_string();
        assert!(error.contains("65") && error.ends_with("bad file"), "{error}");
        assert!(matches!(Program::at("no-such", "/bin/no-such".into()), Err(ServiceError::Missing { .. })));
    }
}
