//! Composes the program: command line, log, command, exit status. Everything else is in the library.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use embedded::cli::{self, Cli};
use kit::{
    memory,
    settings::{EXIT_USAGE, parse_or_exit},
    telemetry,
};
use loadtest::fixed_answer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    // The load test's yardstick is this very program, started by `load`.
    if arguments.next().as_deref() == Some(fixed_answer::COMMAND) {
        let Err(error) = fixed_answer::run(arguments);
        return tell_failure(&error, EXIT_USAGE);
    }
    let cli: Cli = parse_or_exit();
    memory::small_pages();
    if let Err(error) = telemetry::init_at(cli.log_level()) {
        return tell_failure(&error, EXIT_USAGE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell_failure(&error, 1),
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            // A reader that has seen enough, such as `head`, is no failure.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
        Err(failure) => tell_failure(&failure, failure.status()),
    }
}

fn tell_failure(error: &dyn std::fmt::Display, status: i32) -> ExitCode {
    // Nobody to tell is no reason to end otherwise.
    drop(writeln!(io::stderr(), "flashsale: {error}"));
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
