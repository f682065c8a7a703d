//! `flashsale sale`: the life of a sale, from a file of its terms to its end.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kit::{
    client::Ask,
    http::{HeaderName, Method},
};
use serde_json::{Value, json};

use super::{Connection, ConnectionError, ManageError, Place, list, post, show::Shown};
use crate::input::{is_stdin, text_of};

const SALES: &str = "/v1/merchant/sales";
const IF_MATCH: HeaderName = HeaderName::from_static("if-match");
/// Members of a sale, in a list and by itself.
const MEMBERS: [&str; 6] = ["id", "code", "state", "terms.title", "terms.opens_at", "terms.closes_at"];

/// Members of a scheduled action.
const ACTION: [&str; 6] = ["id", "state", "asked.at", "asked.action", "attempts", "reason"];

/// Sales of a tenant.
#[derive(Debug, Args)]
pub struct SaleArgs {
    #[command(subcommand)]
    what: SaleCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum SaleCommand {
    /// Lists the sales.
    List,
    /// Shows a sale with its lanes and offers.
    Show {
        /// Its number or its code.
        sale: String,
    },
    /// Makes a draft.
    Add {
        /// Its terms as JSON, as `POST /v1/merchant/sales` takes them; `-` reads standard input.
        file: PathBuf,
    },
    /// Changes a sale; what the file leaves out stays.
    Change {
        /// Its number or its code.
        sale: String,
        /// What changes, as `PATCH /v1/merchant/sales/{sale}` takes it; `-` reads standard input.
        file: PathBuf,
    },
    /// Looks whether a sale is ready to sell.
    Check {
        /// Its number or its code.
        sale: String,
    },
    /// What is to be done to a sale later.
    Action {
        #[command(subcommand)]
        what: ActionCommand,
    },
    /// Publishes a draft.
    Publish {
        /// Its number or its code; `-` reads the terms of a sale as JSON from standard input, and
        /// makes it, or changes the sale of its code, first.
        sale: String,
        /// Check all of it, show what would be, and stop.
        #[arg(long)]
        dry_run: bool,
    },
    /// Stops a sale for now.
    Pause {
        /// Its number or its code.
        sale: String,
    },
    /// Lets a stopped sale go on.
    Resume {
        /// Its number or its code.
        sale: String,
    },
    /// Ends a sale now.
    Close {
        /// Its number or its code.
        sale: String,
    },
    /// Removes a draft.
    Remove {
        /// Its number or its code.
        sale: String,
    },
    /// Changes the units that an offer may sell.
    Stock {
        /// The sale's number or code.
        sale: String,
        /// The SKU's code.
        sku: String,
        /// `+500`, `-200`, or as many as it shall be.
        #[arg(allow_hyphen_values = true)]
        units: String,
        /// The lane's code, where the SKU stands in several.
        #[arg(long)]
        lane: Option<String>,
    },
    /// Makes a draft like another sale.
    Clone {
        /// The other's number or code.
        sale: String,
        /// The code of the new one.
        code: String,
        /// When it opens, such as `2027-01-31T20:00:00+08:00`.
        #[arg(long)]
        opens_at: String,
        /// When it closes.
        #[arg(long)]
        closes_at: String,
    },
    /// Shows what was changed, when and by whom.
    History {
        /// Its number or its code.
        sale: String,
    },
}

#[derive(Debug, Subcommand)]
enum ActionCommand {
    /// Lists the scheduled actions of a sale.
    List {
        /// The sale's number or code.
        sale: String,
    },
    /// Schedules an action.
    Add {
        /// The sale's number or code.
        sale: String,
        /// The action as JSON, as `POST /v1/merchant/sales/{sale}/actions` takes it; `-` reads
        /// standard input.
        file: PathBuf,
    },
    /// Cancels an action that waits.
    Remove {
        /// The sale's number or code.
        sale: String,
        /// The action's number.
        action: u64,
    },
}

/// Does what was asked for about sales; returns what is to be printed.
///
/// # Errors
/// [`ManageError`].
pub async fn sale(args: SaleArgs) -> Result<String, ManageError> {
    let connection = Connection::open(&args.place, Some(args.place.tenant)).await?;
    let shown = carry_out(&connection, args.what).await;
    connection.close().await?;
    Ok(shown?.print(args.place.json))
}

async fn carry_out(connection: &Connection, what: SaleCommand) -> Result<Shown, ManageError> {
    Ok(match what {
        SaleCommand::List => Shown::list(list(connection, SALES).await?, &MEMBERS),
        SaleCommand::Show { sale } => with_offers(find(connection, &sale).await?),
        SaleCommand::Add { file } => with_offers(connection.ask(post(SALES, &read(&file)?)).await?),
        SaleCommand::Change { sale, file } => {
            let (change, known) = (read(&file)?, find(connection, &sale).await?);
            change_to(connection, &known, &change).await?
        }
        SaleCommand::Check { sale } => {
            let path = format!("{}/check", path_of(&find(connection, &sale).await?));
            checked(connection.ask(post(&path, &json!({}))).await?)
        }
        SaleCommand::Action { what } => action(connection, what).await?,
        SaleCommand::Publish { sale, dry_run: true } if is_stdin(Path::new(&sale)) => {
            let why = "nothing was done: make a draft with `flashsale sale add -`, then try with its code";
            return Err(ManageError::Lines(why.to_owned()));
        }
        SaleCommand::Publish { sale, dry_run: true } => {
            let path = format!("{}/publish?dry_run=true", path_of(&find(connection, &sale).await?));
            let mut answer = connection.ask(post(&path, &json!({}))).await?;
            let changes = answer["changes"].as_array_mut().map(std::mem::take).unwrap_or_default();
            Shown::list(changes, &["path", "before", "after"])
        }
        SaleCommand::Publish { sale, .. } if is_stdin(Path::new(&sale)) => {
            let known = put(connection, read(Path::new(&sale))?).await?;
            match known["state"].as_str() {
                Some("draft") => step_of(connection, &known, "publish").await?,
                // Its change is on its way already.
                _ => with_offers(known),
            }
        }
        SaleCommand::Publish { sale, .. } => step(connection, &sale, "publish").await?,
        SaleCommand::Pause { sale } => step(connection, &sale, "pause").await?,
        SaleCommand::Resume { sale } => step(connection, &sale, "resume").await?,
        SaleCommand::Close { sale } => step(connection, &sale, "close").await?,
        SaleCommand::Remove { sale } => {
            let path = path_of(&find(connection, &sale).await?);
            connection.ask(Ask::new(Method::DELETE, path)).await?;
            Shown::said(format!("sale {sale} is removed"))
        }
        SaleCommand::Stock { sale, sku, units, lane } => {
            let known = find(connection, &sale).await?;
            let lanes = with_units(&known, (&sku, lane.as_deref()), &units).map_err(ManageError::Lines)?;
            change_to(connection, &known, &json!({ "lanes": lanes })).await?
        }
        SaleCommand::Clone { sale, code, opens_at, closes_at } => {
            let path = format!("{}/clone", path_of(&find(connection, &sale).await?));
            let body = json!({ "code": code, "opens_at": opens_at, "closes_at": closes_at });
            with_offers(connection.ask(post(&path, &body)).await?)
        }
        SaleCommand::History { sale } => {
            let path = format!("{}/history", path_of(&find(connection, &sale).await?));
            let versions = list(connection, &path).await?.into_iter().map(told_in_words);
            Shown::list(versions.collect(), &["version", "at", "by", "action", "what"])
        }
    })
}

async fn action(connection: &Connection, what: ActionCommand) -> Result<Shown, ManageError> {
    let (ActionCommand::List { sale } | ActionCommand::Add { sale, .. } | ActionCommand::Remove { sale, .. }) = &what;
    let path = format!("{}/actions", path_of(&find(connection, sale).await?));
    Ok(match what {
        ActionCommand::List { .. } => Shown::list(list(connection, &path).await?, &ACTION),
        ActionCommand::Add { file, .. } => Shown::one(connection.ask(post(&path, &read(&file)?)).await?, &ACTION),
        ActionCommand::Remove { action, .. } => {
            connection.ask(Ask::new(Method::DELETE, format!("{path}/{action}"))).await?;
            Shown::said(format!("action {action} is cancelled"))
        }
    })
}

/// A report of readiness, and a line for each finding.
fn checked(report: Value) -> Shown {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let table = Shown::list(findings, &["light", "code", "field", "reason", "remedy"]);
    Shown::one(report, &["sale", "version", "checked_at", "is_ready"]).and(table)
}

fn path_of(sale: &Value) -> String {
    format!("{SALES}/{}", sale["id"].as_str().unwrap_or_default())
}

/// A sale by its number or its code.
async fn find(connection: &Connection, sale: &str) -> Result<Value, ConnectionError> {
    let is_number = !sale.is_empty() && sale.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        return connection.ask(Ask::get(format!("{SALES}/{sale}"))).await;
    }
    find_code(connection, sale).await?.ok_or_else(|| {
        let detail = format!("there is no sale `{sale}`; `flashsale sale list` shows yours");
        ConnectionError::Refused { code: "not_found".into(), detail }
    })
}

async fn find_code(connection: &Connection, code: &str) -> Result<Option<Value>, ConnectionError> {
    let code: String = form_urlencoded::byte_serialize(code.as_bytes()).collect();
    let mut page = connection.ask(Ask::get(format!("{SALES}?code={code}"))).await?;
    Ok(page["items"].get_mut(0).map(Value::take))
}

async fn step(connection: &Connection, sale: &str, step: &str) -> Result<Shown, ConnectionError> {
    step_of(connection, &find(connection, sale).await?, step).await
}

/// The sale of these terms: changed, where there is one of their code, or made.
async fn put(connection: &Connection, mut terms: Value) -> Result<Value, ConnectionError> {
    let code = terms["code"].as_str().unwrap_or_default().to_owned();
    let Some(known) = find_code(connection, &code).await? else {
        return connection.ask(post(SALES, &terms)).await;
    };
    for given_once in ["code", "template"] {
        terms.as_object_mut().and_then(|members| members.remove(given_once));
    }
    patch(connection, &known, &terms).await
}

async fn step_of(connection: &Connection, known: &Value, step: &str) -> Result<Shown, ConnectionError> {
    let path = format!("{}/{step}", path_of(known));
    Ok(Shown::one(connection.ask(post(&path, &json!({}))).await?, &MEMBERS))
}

/// Writes a change over the version that was read, and over no other.
async fn change_to(connection: &Connection, known: &Value, change: &Value) -> Result<Shown, ConnectionError> {
    Ok(with_offers(patch(connection, known, change).await?))
}

async fn patch(connection: &Connection, known: &Value, change: &Value) -> Result<Value, ConnectionError> {
    let tag = format!("\"{}\"", known["version"]);
    let ask = Ask::new(Method::PATCH, path_of(known)).header(IF_MATCH, &tag).json(change);
    connection.ask(ask).await
}

fn read(file: &Path) -> Result<Value, ManageError> {
    let failed = |what: String| ManageError::File { path: file.to_owned(), what };
    let text = text_of(file).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(format!("is no JSON: {error}")))
}

/// A sale, and a line for each offer.
fn with_offers(sale: Value) -> Shown {
    let lanes = sale["terms"]["lanes"].as_array().cloned().unwrap_or_default();
    let offers = lanes.into_iter().flat_map(|lane| {
        let code = lane["code"].clone();
        let offers = lane["offers"].as_array().cloned().unwrap_or_default();
        offers.into_iter().map(move |mut offer| {
            offer["lane"] = code.clone();
            offer
        })
    });
    let table = Shown::list(
        offers.collect(),
        &["lane", "sku", "id", "allotment", "price.amount", "price.currency", "warehouse.code", "title"],
    );
    Shown::one(sale, &MEMBERS).and(table)
}

/// A version, with what it changed in one line.
fn told_in_words(mut version: Value) -> Value {
    let changes = version["changes"].as_array().cloned().unwrap_or_default();
    let words = changes.iter().map(|change| match (&change["before"], &change["after"]) {
        (Value::Null, after) => format!("{} = {after}", change["path"].as_str().unwrap_or_default()),
        (before, after) => format!("{}: {before} -> {after}", change["path"].as_str().unwrap_or_default()),
    });
    version["what"] = words.collect::<Vec<_>>().join("; ").into();
    version
}

/// The lanes of a sale, as a change gives them, with other units of one offer.
fn with_units(sale: &Value, (sku, lane): (&str, Option<&str>), units: &str) -> Result<Vec<Value>, String> {
    let mut lanes = sale["terms"]["lanes"].as_array().cloned().unwrap_or_default();
    let mut changed = 0;
    for of in &mut lanes {
        let is_meant = lane.is_none_or(|lane| of["code"] == lane);
        for offer in of["offers"].as_array_mut().into_iter().flatten() {
            if is_meant && offer["sku"] == sku {
                offer["allotment"] = moved(offer["allotment"].as_i64().unwrap_or(0), units)?.into();
                changed += 1;
            }
            let warehouse = offer["warehouse"]["code"].take();
            let offer = offer.as_object_mut().into_iter();
            for members in offer {
                members.remove("id");
                members.remove("sku_id");
                members.remove("warehouse");
                if !warehouse.is_null() {
                    members.insert("warehouse".into(), warehouse.clone());
                }
            }
        }
        of.as_object_mut().into_iter().for_each(|members| drop(members.remove("id")));
    }
    match changed {
        1 => Ok(lanes),
        0 => Err(format!("the sale has no offer of SKU `{sku}`; `flashsale sale show` lists them")),
        _ => Err(format!("SKU `{sku}` stands in several lanes: name one with --lane")),
    }
}

/// `+5` and `-5` move units, anything else sets them.
fn moved(now: i64, units: &str) -> Result<i64, String> {
    let number = || units.trim_start_matches('+').parse::<i64>().map_err(|_| format!("`{units}` are no units"));
    let units = if units.starts_with(['+', '-']) { now.saturating_add(number()?) } else { number()? };
    if units > 0 { Ok(units) } else { Err("an offer keeps at least one unit; pause it to sell none".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale() -> Value {
        let offer = json!({ "id": "9", "sku": "CUP", "sku_id": "3", "warehouse": { "id": "1", "code": "MAIN" },
                            "title": "Cup", "allotment": 10, "rate_per_s": 5 });
        json!({ "terms": { "lanes": [{ "id": "5", "code": "main", "limit_per_buyer": 1, "offers": [offer] }] } })
    }

    #[test]
    fn units_are_set_or_moved_and_the_rest_stays_as_it_was() {
        let lanes = with_units(&sale(), ("CUP", None), "+5").unwrap();
        let offer = json!({ "sku": "CUP", "warehouse": "MAIN", "title": "Cup", "allotment": 15, "rate_per_s": 5 });
        assert_eq!(lanes, [json!({ "code": "main", "limit_per_buyer": 1, "offers": [offer] })]);
        let units = |units| {
            with_units(&sale(), ("CUP", Some("main")), units).map(|lanes| lanes[0]["offers"][0]["allotment"].clone())
        };
        assert_eq!([units("-4"), units("7")], [Ok(json!(6)), Ok(json!(7))]);
        assert!(
            units("-10").unwrap_err().contains("at least one unit") && units("x").unwrap_err().contains("no units")
        );
        assert!(with_units(&sale(), ("POT", None), "1").unwrap_err().contains("no offer"));
        let mut twice = sale();
        twice["terms"]["lanes"].as_array_mut().unwrap().push(sale()["terms"]["lanes"][0].clone());
        assert!(with_units(&twice, ("CUP", None), "1").unwrap_err().contains("--lane"));
    }

    #[test]
    fn a_report_has_a_line_for_each_finding() {
        let finding = json!({ "light": "red", "code": "window_over", "field": "closes_at", "reason": "it is over",
                              "remedy": "clone it" });
        let report = json!({ "sale": "5", "version": 2, "is_ready": false, "findings": [finding] });
        let text = checked(report.clone()).print(false);
        assert!(text.contains("is_ready     false"), "{text}");
        assert!(text.ends_with("red    window_over  closes_at  it is over  clone it\n"), "{text}");
        let answer: Value = serde_json::from_str(&checked(report.clone()).print(true)).unwrap();
        assert_eq!(answer, report);
    }

    #[test]
    fn a_version_is_told_in_one_line() {
        let version = json!({ "changes": [
            { "path": "paused", "before": false, "after": true }, { "path": "lanes[1]", "after": {} },
        ] });
        assert_eq!(told_in_words(version)["what"], "paused: false -> true; lanes[1] = {}");
    }
}
