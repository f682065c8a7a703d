//! Child processes that never outlive their test, with their output in a file that is shown when
//! something goes wrong.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child as Process, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A running child process.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    output: PathBuf,
}

impl Child {
    /// Starts a command; both its outputs go to a file in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let output = folder.join(format!("{name}-{}.log", uuid::Uuid::new_v4().simple()));
        let file = File::create(&output)?;
        let process = command
            .stdin(std::process::Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), process, output })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// kill -9, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When `kill` cannot be run.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("-TERM")
    }

    /// Stops it where it stands (SIGSTOP), as a virtual machine that is paused: its connections
    /// stay, and nothing answers.
    ///
    /// # Errors
    /// When `kill` cannot be run.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When `kill` cannot be run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "{} cannot be sent {signal}", self.name);
        Ok(())
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time; its output is in the error.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {limit:?}:\n{}", self.name, self.tail());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether its output holds this text.
    pub fn said(&self, text: &str) -> bool {
        fs::read_to_string(&self.output).is_ok_and(|output| output.contains(text))
    }

    /// The last lines of its output.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended long ago.
        if self.kill().is_ok() && std::thread::panicking() {
            let (name, tail) = (&self.name, self.tail());
            show(&format!("---- the last lines of {name} ----\n{tail}\n"));
        }
    }
}

/// Waits until a condition holds.
///
/// # Errors
/// When it does not hold within `limit`, or cannot be looked at.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "cargo test shows it with the failing test, and only then")]
fn show(text: &str) {
    println!("{text}");
}
