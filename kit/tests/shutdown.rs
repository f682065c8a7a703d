//! Sends real signals to a child: this test binary itself, started again as the process that waits
//! for them.
#![allow(clippy::unwrap_used, reason = "a failing step of a test ends the test")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Set in the environment of the child, which is this very test started again.
const CHILD: &str = "KIT_TEST_CHILD_WAITS_FOR_SIGNALS";
const TEST: &str = "the_first_signal_cancels_and_the_second_ends_at_once";

fn wait_for_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let token = kit::shutdown::on_signals().unwrap();
        say("listening");
        token.cancelled().await;
        say("cancelled");
        std::future::pending::<()>().await;
    });
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n@{word}").unwrap();
    out.flush().unwrap();
}

struct Waiting {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Waiting {
    fn start() -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()))
    }

    /// The same by another program that becomes it.
    fn start_by(mut starter: Command) -> Self {
        let mut child = starter
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut waiting = Self { child, said };
        waiting.wait_for("@listening");
        waiting
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim() != word {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "ended before {word}");
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        if self.child.kill().is_ok() {
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn the_first_signal_cancels_and_the_second_ends_at_once() {
    if std::env::var_os(CHILD).is_some() {
        return wait_for_signals();
    }
    for (first, second) in [("-TERM", "-TERM"), ("-INT", "-TERM"), ("-TERM", "-INT"), ("-HUP", "-TERM")] {
        let mut waiting = Waiting::start();
        waiting.signal(first);
        waiting.wait_for("@cancelled");
        // A terminal that closes sends several of these.
        waiting.signal("-HUP");
        assert!(waiting.child.try_wait().unwrap().is_none(), "one signal must not end the process");
        waiting.signal(second);
        assert_eq!(waiting.child.wait().unwrap().code(), Some(kit::exit::Exit::Impatient.status().into()));
    }
}

/// As by `nohup`: who asked for it has the process stay when the terminal closes.
#[test]
fn a_hangup_that_was_ignored_from_the_start_stays_ignored() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let waiting = Waiting::start_by(shell);
    let status = std::fs::read_to_string(format!("/proc/{}/status", waiting.child.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned();
    assert_eq!(u64::from_str_radix(&ignored, 16).unwrap() & 1, 1, "{status}");
}
