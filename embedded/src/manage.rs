//! Commands of the operator and of merchants: tenants, people, keys, products. They ask the routes
//! of the merchants' service, that of the data folder or, with `--url`, any other.

mod commissions;
mod connection;
mod ctl;
mod import;
mod sale;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kit::{client::Ask, http::Method, settings::Secret};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::folder_args::FolderArgs;

pub use self::{
    commissions::{CommissionsArgs, commissions},
    connection::ConnectionError,
    ctl::{CtlArgs, ctl},
    sale::{SaleArgs, sale},
};
use self::{connection::Connection, show::Shown};

/// Items of a page: a list is read to its end.
const PAGE: u32 = 100;

/// Where the service is, and as whom it is asked.
#[derive(Debug, Args)]
pub struct Place {
    /// A service elsewhere, such as `http://shop.example:8082`, instead of the data folder's.
    #[arg(long, env = "FLASHSALE_URL", global = true)]
    url: Option<String>,
    /// An API key for it. By the environment, or `file:PATH`.
    #[arg(long, env = "FLASHSALE_API_KEY", hide_env_values = true, global = true)]
    key: Option<Secret>,
    /// On the data folder: the number of the tenant that it is about; 7 is the demo's.
    #[arg(long, default_value_t = 7, global = true)]
    tenant: u32,
    /// Print the service's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    folder: FolderArgs,
}

/// Tenants of the deployment, for its operator.
#[derive(Debug, Args)]
pub struct TenantArgs {
    #[command(subcommand)]
    what: TenantCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Makes a tenant.
    Add {
        /// Its name for programs: small letters, digits and dashes.
        code: String,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// Its plan.
        #[arg(long, default_value = "standard")]
        plan: String,
    },
    /// Lists all tenants.
    List,
}

/// People of a tenant.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    what: UserCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Makes a user and prints the token by which a first password is set.
    Add {
        /// The e-mail address, with which the person logs in.
        email: String,
        /// The person's name.
        #[arg(long)]
        name: String,
        /// A role: owner, operator, finance, support, viewer, or one of your own; may come again.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
    },
    /// Lists the tenant's people.
    List,
    /// Removes a user; whatever the person has open ends.
    Remove {
        /// The user's number.
        user: u64,
    },
}

/// API keys of a tenant.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    what: KeyCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key and prints it, this once.
    Add {
        /// What it is for.
        name: String,
        /// What it may do, such as `write_products`; may come again.
        #[arg(long = "may", required = true, value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// When it stops being valid, such as `2027-01-31T00:00:00Z`.
        #[arg(long)]
        expires_at: Option<String>,
    },
    /// Lists the keys, without their secrets.
    List,
    /// Ends a key at once.
    Revoke {
        /// The key's number.
        key: u64,
    },
}

/// Products from a file.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV or JSON lines (`.jsonl`), as the export writes them; `-` reads standard input.
    file: PathBuf,
    /// How the file is written, where its name does not tell.
    #[arg(long)]
    format: Option<import::Format>,
    #[command(flatten)]
    place: Place,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The service.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The file that was to be imported.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Some lines were refused; the text says which. The others are in.
    #[error("{0}")]
    Lines(String),
}

/// Does what was asked for about tenants; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn tenant(args: TenantArgs) -> Result<String, ManageError> {
    let connection = Connection::open(&args.place, None).await?;
    let shown = match args.what {
        TenantCommand::Add { code, name, plan } => {
            let body = json!({ "code": code, "name": name, "plan": plan });
            Shown::one(connection.ask(post("/v1/tenants", &body)).await?, &["id", "code", "name", "plan"])
        }
        TenantCommand::List => {
            Shown::list(list(&connection, "/v1/tenants").await?, &["id", "code", "name", "plan", "state"])
        }
    };
    connection.close().await?;
    Ok(shown.print(args.place.json))
}

/// Does what was asked for about people; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn user(args: UserArgs) -> Result<String, ManageError> {
    let connection = Connection::open(&args.place, Some(args.place.tenant)).await?;
    let shown = match args.what {
        UserCommand::Add { email, name, roles } => {
            let body = json!({ "email": email, "name": name, "roles": roles });
            let made = connection.ask(post("/v1/users", &body)).await?;
            Shown::one(made, &["id", "email", "name", "roles", "invitation.token", "invitation.expires_at"])
        }
        UserCommand::List => {
            Shown::list(list(&connection, "/v1/users").await?, &["id", "email", "name", "roles", "state"])
        }
        UserCommand::Remove { user } => {
            connection.ask(Ask::new(Method::DELETE, format!("/v1/users/{user}"))).await?;
            Shown::said(format!("user {user} is removed"))
        }
    };
    connection.close().await?;
    Ok(shown.print(args.place.json))
}

/// Does what was asked for about keys; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn key(args: KeyArgs) -> Result<String, ManageError> {
    let connection = Connection::open(&args.place, Some(args.place.tenant)).await?;
    let shown = match args.what {
        KeyCommand::Add { name, permissions, expires_at } => {
            let mut body = json!({ "name": name, "permissions": permissions });
            if let Some(until) = expires_at {
                body["expires_at"] = Value::from(until);
            }
            Shown::one(connection.ask(post("/v1/keys", &body)).await?, &["id", "name", "permissions", "token"])
        }
        KeyCommand::List => {
            let fields = ["id", "name", "permissions", "created_by", "expires_at", "last_used_at"];
            Shown::list(list(&connection, "/v1/keys").await?, &fields)
        }
        KeyCommand::Revoke { key } => {
            connection.ask(Ask::new(Method::DELETE, format!("/v1/keys/{key}"))).await?;
            Shown::said(format!("key {key} is revoked"))
        }
    };
    connection.close().await?;
    Ok(shown.print(args.place.json))
}

/// Imports products; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn import(args: ImportArgs) -> Result<String, ManageError> {
    let file = import::read(&args.file, args.format)?;
    let connection = Connection::open(&args.place, Some(args.place.tenant)).await?;
    let done = import::run(&connection, file).await;
    connection.close().await?;
    import::report(&done?, args.place.json)
}

fn post(path: &str, body: &Value) -> Ask {
    // One key for all sends of this command: an answer that was lost is asked for again.
    Ask::post(path).idempotency_key(&Uuid::new_v4().to_string()).json(body)
}

/// All items of a list.
async fn list(connection: &Connection, path: &str) -> Result<Vec<Value>, ConnectionError> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = connection.ask(Ask::get(format!("{path}?limit={PAGE}{cursor}"))).await?;
        if let Some(read) = page["items"].as_array_mut() {
            items.append(read);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}
