//! Composes a run: command line, runtime, run, report, exit status. Everything else is in the
//! library.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::{path::PathBuf, process::ExitCode};

use kit::{exit::Exit, shutdown};
use loadtest::{
    args::{self, ArgsError},
    fixed_answer, output,
    progress::Progress,
    run::{self, Done},
    spec::RunSpec,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    if arguments.next().as_deref() == Some(fixed_answer::COMMAND) {
        let Err(error) = fixed_answer::run(arguments);
        return failed(&error, error.exit());
    }
    let spec = match args::parse(std::env::args_os()) {
        Ok(spec) => spec,
        Err(error) => return refuse(error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, Exit::of_system(&error).unwrap_or(Exit::Software)),
    };
    runtime.block_on(run_load(&spec))
}

async fn run_load(spec: &RunSpec) -> ExitCode {
    let stop = match shutdown::on_signals() {
        Ok(stop) => stop,
        Err(error) => return failed(&error, Exit::of_system(&error).unwrap_or(Exit::Software)),
    };
    let mut progress = Progress::new();
    // Cargo sets this variable for its children: with it the services can be built.
    let cargo = std::env::var_os("CARGO").map(PathBuf::from);
    let outcome = tokio::select! {
        outcome = run::run(spec, cargo.as_deref(), &mut progress) => Some(outcome),
        () = stop.cancelled() => None,
    };
    progress.finish();
    match outcome {
        None => Exit::Impatient.into(),
        Some(Err(error)) => failed(&error, error.exit()),
        Some(Ok(done)) => report(&done, spec),
    }
}

fn report(done: &Done, spec: &RunSpec) -> ExitCode {
    match output::write(done, &spec.args) {
        Ok(true) => ExitCode::SUCCESS,
        // Something was lost, doubled, oversold or leaked, did not become durable, or a service did
        // not end well.
        Ok(false) => Exit::No.into(),
        Err(error) => failed(&error, error.exit()),
    }
}

fn failed(error: &dyn std::fmt::Display, exit: Exit) -> ExitCode {
    exit.tell("loadtest", error)
}

fn refuse(error: ArgsError) -> ExitCode {
    match error {
        ArgsError::Usage(error) => {
            // With nowhere to print to, the status is all that can be said.
            drop(error.print());
            if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
        }
        error @ (ArgsError::WrongSize(_) | ArgsError::NoStack(_) | ArgsError::NoProduction) => {
            failed(&error, Exit::Usage)
        }
    }
}
