//! `flashsale load`: the load test against a server of its own on a folder of its own, with a
//! picture at the end. The shop that may run meanwhile is not touched.

use std::{io, path::PathBuf};

use kit::exit::Exit;
use loadtest::{
    deployment::{Deployment, Embedded},
    output::{self, OutputError},
    progress::Progress,
    run::{self, RunError},
    scenario::WrongSize,
    spec::{LoadArgs, RunSpec},
};

/// Where the picture goes unless the command line says otherwise.
const PICTURE: &str = "flashsale-load.html";

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Units and buyers do not make the scenario.
    #[error(transparent)]
    Size(#[from] WrongSize),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The picture could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// This program does not know where it is.
    #[error("this program cannot be started a second time: {0}")]
    Program(#[from] io::Error),
}

impl LoadError {
    /// The status with which a program ends that could not load.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Size(_) => Exit::Usage,
            Self::Run(error) => error.exit(),
            Self::Output(error) => error.exit(),
            Self::Program(error) => Exit::of_system(error).unwrap_or(Exit::Software),
        }
    }
}

/// Runs the load and tells what came of it. Returns what is printed last, and whether all was
/// clean.
///
/// # Errors
/// [`LoadError`].
pub async fn load(mut args: LoadArgs) -> Result<(String, bool), LoadError> {
    let picture = args.html.get_or_insert_with(|| PathBuf::from(PICTURE)).clone();
    let deployment = Deployment::Embedded(Embedded { data: None, program: Some(std::env::current_exe()?) });
    let spec = RunSpec::new(args, deployment, None)?;
    let mut progress = Progress::new();
    let done = run::run(&spec, None, &mut progress).await;
    progress.finish();
    let clean = output::write(&done?, &spec.args)?;
    Ok((format!("\nThe picture of it: {}\n", picture.display()), clean))
}
