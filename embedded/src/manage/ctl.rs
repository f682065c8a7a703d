//! `flashsale ctl`: what the deployment's operator switches while sales run.

use clap::{Args, Subcommand};
use kit::{client::Ask, http::Method};
use serde_json::{Value, json};

use super::{Connection, ManageError, Place, show::Shown};

const STOPS: &str = "/v1/control/stops";
const LOG_FILTER: &str = "/v1/control/log-filter";

/// Switches of a running deployment, for its operator. With `--url` the key is the operator's
/// secret.
#[derive(Debug, Args)]
pub struct CtlArgs {
    #[command(subcommand)]
    what: CtlCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Stops a tenant, a sale or an offer at once. Where it sells now, it first says what it would
    /// do, and the word with which it is done.
    Stop(Scope),
    /// Lets it go on. A tenant is open again; its sales stay paused until each is resumed.
    Resume(Scope),
    /// Shows or sets which lines all programs log. One that writes lines for each purchase first
    /// says what that costs, and the word with which it is set.
    LogFilter {
        /// Directives such as `info,engine=debug`; without them what is set is shown.
        directives: Option<String>,
        /// For how long.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
        /// Let each program log as it was started to.
        #[arg(long, conflicts_with = "directives")]
        end: bool,
        /// The word of the refusal.
        #[arg(long)]
        word: Option<String>,
    },
}

/// What is stopped.
#[derive(Debug, Args)]
struct Scope {
    /// The tenant's number.
    #[arg(value_name = "TENANT")]
    whose: u32,
    /// One of its sales, by number.
    #[arg(long)]
    sale: Option<u64>,
    /// The offer of this SKU in it.
    #[arg(long, requires = "sale")]
    sku: Option<String>,
    /// The lane's code, where the SKU stands in several.
    #[arg(long, requires = "sku")]
    lane: Option<String>,
    /// The word of the refusal.
    #[arg(long)]
    word: Option<String>,
}

/// Does what was asked for; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn ctl(args: CtlArgs) -> Result<String, ManageError> {
    let connection = Connection::open(&args.place, None).await?;
    let shown = carry_out(&connection, args.what).await;
    connection.close().await?;
    Ok(shown?.print(args.place.json))
}

async fn carry_out(connection: &Connection, what: CtlCommand) -> Result<Shown, ManageError> {
    let ask = match what {
        CtlCommand::Stop(scope) => return stop(connection, scope, true).await,
        CtlCommand::Resume(scope) => return stop(connection, scope, false).await,
        CtlCommand::LogFilter { directives: None, end: false, .. } => Ask::get(LOG_FILTER),
        CtlCommand::LogFilter { directives, minutes, word, .. } => {
            put(LOG_FILTER, &[("filter", directives.into()), ("minutes", minutes.into()), ("word", word.into())])
        }
    };
    Ok(Shown::one(connection.ask(ask).await?, &["filter", "until"]))
}

async fn stop(connection: &Connection, scope: Scope, is_stopped: bool) -> Result<Shown, ManageError> {
    let Scope { whose, sale, sku, lane, word } = scope;
    let members = [
        ("tenant", whose.to_string().into()),
        ("sale", sale.map(|sale| sale.to_string()).into()),
        ("sku", sku.into()),
        ("lane", lane.into()),
        ("is_stopped", is_stopped.into()),
        ("word", word.into()),
    ];
    let answer = connection.ask(put(STOPS, &members)).await?;
    let sales = answer["sales"].as_array().cloned().unwrap_or_default();
    let table = Shown::list(sales, &["id", "code", "state"]);
    Ok(Shown::one(answer, &["tenant", "state"]).and(table))
}

/// What is not given is left out.
fn put(path: &str, members: &[(&str, Value)]) -> Ask {
    let mut body = json!({});
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        body[*name] = value.clone();
    }
    Ask::new(Method::PUT, path.to_owned()).json(&body)
}
