//! Composes the program: command line, log, command, exit status. Everything else is in the
//! library.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use embedded::{
    cli::{self, Cli},
    folder,
};
use kit::{exit::Exit, memory, settings::parse_or_exit, telemetry};
use loadtest::fixed_answer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    folder::keep_private();
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    // The load test's yardstick is this very program, started by `load`.
    if arguments.next().as_deref() == Some(fixed_answer::COMMAND) {
        let Err(error) = fixed_answer::run(arguments);
        return tell_failure(&error, error.exit());
    }
    let cli: Cli = parse_or_exit();
    memory::small_pages();
    if let Err(error) = telemetry::init_at(cli.log_level()) {
        return tell_failure(&error, Exit::Usage);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell_failure(&error, Exit::of_system(&error).unwrap_or(Exit::Software)),
    };
    let done = runtime.block_on(cli::run(cli));
    // What had to end in order has ended. What is left may wait for a disk that is gone.
    runtime.shutdown_background();
    match done {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            // A reader that has seen enough, such as `head`, is no failure.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                tell_failure(&error, Exit::of_system(&error).unwrap_or(Exit::Disk))
            }
            _ => ExitCode::SUCCESS,
        },
        Err(failure) => tell_failure(&failure, failure.exit()),
    }
}

fn tell_failure(error: &dyn std::fmt::Display, exit: Exit) -> ExitCode {
    exit.tell("flashsale", error)
}
