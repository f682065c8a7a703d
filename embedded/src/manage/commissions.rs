//! `flashsale commissions`: what a commission plan would cost, before it is published.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use kit::client::Ask;
use serde_json::{Value, json};

use super::{Connection, ConnectionError, ManageError, Place, show::Shown};
use crate::input::text_of;

const SIMULATIONS: &str = "/v1/merchant/commissions/simulations";
/// Members of a simulation, as it is told.
const MEMBERS: [&str; 12] = [
    "name",
    "since",
    "until",
    "lines",
    "left_out",
    "net",
    "worst_ppm",
    "today_cost",
    "today_cost_ppm",
    "then_cost",
    "then_cost_ppm",
    "people",
];

/// Commissions of a shop.
#[derive(Debug, Args)]
pub struct CommissionsArgs {
    #[command(subcommand)]
    what: CommissionsCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum CommissionsCommand {
    /// Evaluates a plan on past orders, beside today's plan: what it costs and who gains. Writes
    /// nothing. Asks the server that runs on the folder, or `--url`.
    Simulate {
        /// The plan in its text form; `-` reads standard input.
        file: PathBuf,
        /// Orders from the beginning of this day on, UTC, such as `2026-11-01`.
        #[arg(long, value_name = "DAY")]
        since: String,
        /// Up to the beginning of this day; otherwise up to now.
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Who answers for the plan, where its profile asks for that.
        #[arg(long, value_name = "NAME")]
        sign_off: Option<String>,
        /// Writes the answer's bars into this file, as SVG.
        #[arg(long, value_name = "FILE")]
        picture: Option<PathBuf>,
    },
}

/// Does what was asked for about commissions; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn commissions(args: CommissionsArgs) -> Result<String, ManageError> {
    let CommissionsCommand::Simulate { file, since, until, sign_off, picture } = args.what;
    let text = text_of(&file).map_err(|error| failed(&file, &error))?;
    let mut asked = json!({ "text": text, "since": since });
    for (name, value) in [("until", until), ("sign_off", sign_off)] {
        if let Some(value) = value {
            asked[name] = value.into();
        }
    }
    let connection = Connection::open(&args.place, Some(args.place.tenant)).await?;
    let answer = connection.ask(Ask::post(SIMULATIONS).json(&asked)).await;
    connection.close().await?;
    let answer = answer.map_err(|error| match error {
        ConnectionError::Refused { code, .. } if code == "not_found" => {
            let detail = "no service of commissions is here: start `flashsale serve`, or give --url".to_owned();
            ConnectionError::Refused { code, detail }
        }
        error => error,
    })?;
    if let Some(file) = picture {
        let svg = answer["picture"].as_str().unwrap_or_default();
        fs::write(&file, svg).map_err(|error| failed(&file, &error))?;
    }
    let top = answer["top"].as_array().cloned().unwrap_or_default();
    let shown = Shown::one(prefixed(answer), &MEMBERS);
    Ok(shown.and(Shown::list(top, &["person", "today", "then"])).print(args.place.json))
}

/// With the costs of both plans as members of the answer itself, so that each line has a name.
fn prefixed(mut answer: Value) -> Value {
    for side in ["today", "then"] {
        for member in ["cost", "cost_ppm"] {
            answer[format!("{side}_{member}")] = answer[side][member].clone();
        }
    }
    answer
}

fn failed(file: &Path, error: &std::io::Error) -> ManageError {
    ManageError::File { path: file.to_owned(), what: error.to_string() }
}
