//! Whether a sale is ready to sell: from facts to findings, by a table of rules. A red finding
//! refuses a publication or raises an alarm before the opening; an amber one is told.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use store::{ledger::EngineSeen, sql::SqlError};
use utoipa::ToSchema;

/// How long before its opening a sale is looked at.
pub(crate) const AHEAD_MS: u64 = 600_000;
/// Clocks that are further apart let a sale open early or late.
const SKEW_MS_MAX: u64 = 1_000;
/// An engine tells what it has each second; after so long it is silent.
const SILENT_MS_MAX: u64 = 5_000;
/// Purchases a second that a deployment was measured to decide durably (`docs/performance.md`).
const CAPACITY_PER_S: u64 = 43_000;

/// What is known of a sale.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) now_ms: u64,
    /// By the clock of the ledger's database.
    pub(crate) ledger_now_ms: u64,
    pub(crate) opens_at: u64,
    pub(crate) closes_at: u64,
    /// Buyers know it: the ledger has its lanes.
    pub(crate) is_published: bool,
    /// Its version that is published.
    pub(crate) published: u32,
    /// A later version of it is on its way.
    pub(crate) is_due: bool,
    pub(crate) is_suspended: bool,
    /// Buyers' tokens are made here.
    pub(crate) has_token_key: bool,
    pub(crate) payable: Payable,
    /// Engines whose leases live, by the ledger's database.
    pub(crate) engines: Vec<EngineSeen>,
    /// Why stock servers were asked no further.
    pub(crate) stock_away: Option<String>,
    pub(crate) lanes: Vec<LaneFacts>,
    pub(crate) offers: Vec<OfferFacts>,
}

/// Whether a provider takes payments for the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Payable {
    /// Nobody was asked: no order service is named.
    #[default]
    Unasked,
    /// The order service did not answer: why.
    Silent(String),
    No,
    Yes,
}

/// What is known of a lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneFacts {
    /// As `lanes[0]`.
    pub(crate) field: String,
    pub(crate) limit_per_buyer: u32,
    /// Its row of the ledger.
    pub(crate) ledger: Option<LedgerLane>,
    /// As its stock server has it; `None` where that was not asked or did not answer.
    pub(crate) stock: Option<StockLane>,
}

/// A lane, by its stock server.
#[derive(Debug, Clone, Default)]
pub(crate) struct StockLane {
    pub(crate) is_open: bool,
    /// Batches whose rows are not durable yet.
    pub(crate) journal: u64,
    /// Of each of its offers.
    pub(crate) units: Vec<Units>,
}

/// Units of an offer at both ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Units {
    /// As `lanes[0].offers[1]`.
    pub(crate) field: String,
    /// Units left and allotment, by the stock server; `None`: it does not have the offer.
    pub(crate) stock: Option<(u64, u64)>,
    /// The allotment, by the ledger.
    pub(crate) allotment: u64,
    /// Units sold, by the ledger.
    pub(crate) sold: u64,
}

/// A lane, by the ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct LedgerLane {
    pub(crate) is_retired: bool,
    /// Its stock in Redis is to be set right.
    pub(crate) is_distrusted: bool,
    pub(crate) limit_per_buyer: u32,
}

/// What is known of an offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct OfferFacts {
    /// As `lanes[0].offers[1]`.
    pub(crate) field: String,
    pub(crate) sku: String,
    pub(crate) currency: String,
    pub(crate) amount: i64,
    pub(crate) allotment: u64,
    pub(crate) rate_per_s: u32,
    /// Units that it could have of its warehouse: those that it has, and what is available.
    /// Missing: it sells past all stock.
    pub(crate) in_reach: Option<i64>,
    /// Units that the ledger wants it to sell, where the ledger knows it.
    pub(crate) target: Option<u64>,
    /// The SKU, where it is still there.
    pub(crate) article: Option<Article>,
    /// Codes of other sales that sell the SKU at the same time.
    pub(crate) others: Vec<String>,
}

/// A SKU.
#[derive(Debug, Clone, Default)]
pub(crate) struct Article {
    pub(crate) currency: String,
    pub(crate) amount: i64,
    pub(crate) is_active: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Light {
    /// The sale would not sell, or not as its terms say.
    Red,
    /// Worth a look.
    Amber,
}

/// Something that stands against selling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReadinessFinding)]
pub(crate) struct Finding {
    pub(crate) light: Light,
    /// Which rule, stable.
    pub(crate) code: String,
    /// The member of the sale that it is about; empty for all of it.
    pub(crate) field: String,
    pub(crate) reason: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReadinessReport)]
pub(crate) struct Report {
    /// The sale's number, as a decimal string.
    pub(crate) sale: String,
    /// The version of it that was looked at.
    pub(crate) version: u64,
    /// RFC 3339.
    pub(crate) checked_at: String,
    /// Nothing is red.
    pub(crate) is_ready: bool,
    pub(crate) findings: Vec<Finding>,
}

impl Facts {
    /// Buyers could buy it, now or later.
    fn is_live(&self) -> bool {
        self.is_published && self.now_ms < self.closes_at
    }
}

impl Report {
    /// As it was kept.
    ///
    /// # Errors
    /// [`SqlError::Broken`] when it is no report.
    pub(crate) fn read(text: &str) -> Result<Self, SqlError> {
        serde_json::from_str(text).map_err(|error| SqlError::Broken(format!("the report of a sale: {error}").into()))
    }
}

/// Codes of red findings that refuse a publication. What is missing in a warehouse is refused by
/// the allotment itself, under the lock of the level.
const BEFORE_PUBLISHING: [&str; 4] = ["window_over", "tenant_suspended", "sku_archived", "price_currency"];

type Rule = fn(&Facts, &mut Findings);

const RULES: [Rule; 9] =
    [of_window, of_tenant, of_clocks, of_rates, of_engines, of_lanes, of_stock, of_offers, of_payment];

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, light: Light, code: &str, field: &str, (reason, remedy): (String, &str)) {
        let (code, field, remedy) = (code.to_owned(), field.to_owned(), remedy.to_owned());
        self.0.push(Finding { light, code, field, reason, remedy });
    }

    fn red(&mut self, code: &str, field: &str, told: (String, &str)) {
        self.add(Light::Red, code, field, told);
    }

    fn amber(&mut self, code: &str, field: &str, told: (String, &str)) {
        self.add(Light::Amber, code, field, told);
    }
}

/// All that stands against selling, in the order of the rules.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Findings::default();
    RULES.iter().for_each(|rule| rule(facts, &mut found));
    found.0
}

/// Of these, what refuses a publication.
pub(crate) fn before_publishing(findings: Vec<Finding>) -> Vec<Finding> {
    findings.into_iter().filter(|finding| BEFORE_PUBLISHING.contains(&finding.code.as_str())).collect()
}

/// Whether nothing is red.
pub(crate) fn is_ready(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.light != Light::Red)
}

fn of_window(facts: &Facts, found: &mut Findings) {
    if facts.now_ms >= facts.closes_at {
        let remedy = "move `closes_at` into the future, or clone the sale";
        found.red("window_over", "closes_at", ("the sale's window is over".into(), remedy));
    }
    if facts.is_due {
        let remedy = "wait a second; if it stays, look whether the ledger's database answers";
        found.red("not_delivered", "", ("its newest terms are not published yet".into(), remedy));
    }
}

fn of_tenant(facts: &Facts, found: &mut Findings) {
    if facts.is_suspended {
        let remedy = "ask the operator of the deployment to open the tenant";
        found.red("tenant_suspended", "", ("the tenant is suspended".into(), remedy));
    }
    if !facts.has_token_key {
        let remedy = "set the token key of the catalog, unless the shop signs its buyers' tokens itself";
        found.amber("token_key", "", ("no tokens for buyers are made here".into(), remedy));
    }
}

fn of_clocks(facts: &Facts, found: &mut Findings) {
    let skew = facts.now_ms.abs_diff(facts.ledger_now_ms);
    if skew > SKEW_MS_MAX {
        let reason = format!("this machine's clock and the ledger's database are {skew} ms apart");
        found.red("clock_skew", "", (reason, "set both clocks by the same time server"));
    }
}

fn of_rates(facts: &Facts, found: &mut Findings) {
    let asked: u64 = facts.offers.iter().map(|offer| u64::from(offer.rate_per_s)).sum();
    if asked > CAPACITY_PER_S {
        let reason = format!("its offers admit {asked} purchases a second; {CAPACITY_PER_S} were measured");
        found.amber("rates", "", (reason, "lower `rate_per_s`, or measure this deployment with `loadtest`"));
    }
}

/// Every engine that may be asked sells by the version that is published, at the same time.
fn of_engines(facts: &Facts, found: &mut Findings) {
    if !facts.is_live() {
        return;
    }
    if facts.engines.is_empty() {
        found.red("no_engine", "", ("no engine runs: nobody can buy".into(), "start an engine"));
    }
    for engine in &facts.engines {
        let number = engine.number;
        if engine.silent_ms.is_none_or(|silent_ms| silent_ms > SILENT_MS_MAX) {
            let since = engine.silent_ms.map_or_else(|| "yet".to_owned(), |ms| format!("for {} s", ms / 1_000));
            let remedy = "look whether it runs, is of this version and reaches the ledger's database; if it is gone, \
                          it is passed over when its lease ends, 30 s after";
            found.red("engine_silent", "", (format!("engine {number} has told nothing {since}"), remedy));
            continue;
        }
        if engine.version.is_none_or(|version| version < facts.published) {
            let has = engine.version.map_or_else(|| "none of it".to_owned(), |version| format!("version {version}"));
            let reason = format!("engine {number} has {has}, version {} is published", facts.published);
            let remedy = "wait a second; if it stays, look whether the engine reads the topic `sales`, and whether its \
                          `flashsale_sales_contradictions` is 0";
            found.red("engine_behind", "", (reason, remedy));
        }
        if engine.skew_ms > SKEW_MS_MAX {
            let (off_ms, remedy) = (engine.skew_ms, "set both clocks by the same time server");
            let reason = format!("the clocks of engine {number} and of the ledger's database are {off_ms} ms apart");
            found.red("engine_clock", "", (reason, remedy));
        }
    }
}

/// What the stock servers promise by is what the ledger has. While buyers buy, the two differ by
/// what is under way, so that units left are compared before the opening.
fn of_stock(facts: &Facts, found: &mut Findings) {
    if let Some(why) = facts.stock_away.as_ref().filter(|_| facts.is_live()) {
        let told = (format!("the stock server does not answer: {why}"), "look whether Redis runs and is reached");
        found.red("stock_away", "", told);
    }
    for lane in facts.lanes.iter().filter(|_| facts.is_live()) {
        let (Some(ledger), Some(stock)) = (&lane.ledger, &lane.stock) else { continue };
        if ledger.is_retired {
            continue;
        }
        if !stock.is_open {
            let reason = "this lane is not open: nothing of it can be bought".into();
            let remedy = "wait a second; if it stays, look whether the order-writer of its partition runs";
            found.red("lane_closed", &lane.field, (reason, remedy));
            continue;
        }
        let is_at_rest = facts.now_ms < facts.opens_at && stock.journal == 0;
        for units in &stock.units {
            let left = units.allotment.saturating_sub(units.sold);
            let is_right =
                |(known_left, known): (u64, u64)| known == units.allotment && (!is_at_rest || known_left == left);
            if !units.stock.is_some_and(is_right) {
                let has = units.stock.map_or_else(|| "none".into(), |(left, known)| format!("{left} of {known}"));
                let reason = format!("its stock server has {has} units left, the ledger {left} of {}", units.allotment);
                let remedy = "wait a second; if it stays, restart the stock server: the order-writer then loads the \
                              lane from the ledger";
                found.red("stock_differs", &units.field, (reason, remedy));
            }
        }
    }
}

/// Who sells must be paid, unless everything is given away.
fn of_payment(facts: &Facts, found: &mut Findings) {
    if facts.offers.iter().all(|offer| offer.amount == 0) {
        return;
    }
    match &facts.payable {
        Payable::Yes => {}
        Payable::No => {
            let reason = "the shop has no account at a payment provider: nobody can pay".into();
            found.red("payment_account", "", (reason, "give the tenant an account, or sell at a price of 0"));
        }
        Payable::Silent(why) => {
            let reason = format!("the order service does not tell whether the shop can be paid: {why}");
            let remedy = "look whether `orders serve` runs and is reached: while it is away nobody can pay";
            found.red("orders_away", "", (reason, remedy));
        }
        Payable::Unasked => {
            let reason = "no order service is named here: nobody can tell whether the shop can be paid".into();
            found.amber("payment_unknown", "", (reason, "set FLASHSALE_ORDERS_URL of the catalog"));
        }
    }
}

fn of_lanes(facts: &Facts, found: &mut Findings) {
    for lane in facts.lanes.iter().filter(|_| facts.is_published) {
        let Some(ledger) = &lane.ledger else {
            let remedy = "look whether an order-writer runs that owns its partition";
            found.red("lane_missing", &lane.field, ("the ledger does not have this lane yet".into(), remedy));
            continue;
        };
        if ledger.is_retired {
            let told = ("this lane is retired: it sells no more".into(), "clone the sale, and publish the clone");
            found.red("lane_retired", &lane.field, told);
        }
        if ledger.is_distrusted {
            let remedy = "wait until the order-writer has set it right; its log says how far it is";
            let reason = "its stock in Redis is not what the ledger has".into();
            found.red("lane_rebuilt", &lane.field, (reason, remedy));
        }
        if ledger.limit_per_buyer != lane.limit_per_buyer {
            let reason = format!("the ledger still limits buyers to {} units", ledger.limit_per_buyer);
            let field = format!("{}.limit_per_buyer", lane.field);
            found.red("limit_pending", &field, (reason, "look whether its order-writer runs"));
        }
    }
}

fn of_offers(facts: &Facts, found: &mut Findings) {
    for offer in &facts.offers {
        let member = |name: &str| format!("{}.{name}", offer.field);
        if let Some(in_reach) = offer.in_reach.filter(|units| units.unsigned_abs() < offer.allotment || *units < 0) {
            let reason = format!("{} units of {} are wanted, {in_reach} are there", offer.allotment, offer.sku);
            let remedy = "receive stock in its warehouse, or lower the allotment";
            found.red("stock_missing", &member("allotment"), (reason, remedy));
        }
        if let Some(target) = offer.target.filter(|target| facts.is_published && *target != offer.allotment) {
            let reason = format!("the ledger still has {target} units of {}", offer.sku);
            let remedy = "look whether its order-writer runs";
            found.red("allotment_pending", &member("allotment"), (reason, remedy));
        }
        if let Some(article) = &offer.article {
            of_article((offer, article), found);
        }
        if !offer.others.is_empty() {
            let reason = format!("{} also sells in: {}", offer.sku, offer.others.join(", "));
            found.amber("overlap", &offer.field, (reason, "each sale has units of its own; see that this is meant"));
        }
    }
}

fn of_article((offer, article): (&OfferFacts, &Article), found: &mut Findings) {
    let sku = &offer.sku;
    if !article.is_active {
        let told = (format!("SKU {sku} is archived"), "make the SKU active, or take its offer out");
        found.red("sku_archived", &format!("{}.sku", offer.field), told);
    }
    let field = format!("{}.price", offer.field);
    if article.currency != offer.currency {
        let reason = format!("{sku} is sold in {}, and its own price is in {}", offer.currency, article.currency);
        found.red("price_currency", &field, (reason, "give both prices in one currency"));
    } else if article.amount < offer.amount {
        let reason = format!("{sku} costs more than its own price");
        found.amber("price_above", &field, (reason, "see that this is meant"));
    }
}
