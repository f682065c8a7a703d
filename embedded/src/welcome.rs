//! What a person reads when the shop runs: where, what can be bought now and how, with which token,
//! how to load it. It changes nothing.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use catalog::{confirm, people::FirstOwner};
use domain::{
    id::OfferId,
    sale::{Offer, Phase, Sale},
    stock::LaneMode,
};
use kit::{
    admin::Readiness,
    clock::Clock,
    token::{BuyerClaims, TokenKey, TokenSigner},
};
use store::stock::LaneKeeping;

use crate::{
    demo::{DEMO_OWNER, DEMO_TENANT},
    deployment::Deployment,
    folder::ServerNote,
};

/// Between looks whether everything is open.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lanes that are not open by then are not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the buyer's token is valid.
const TOKEN_TTL_MS: u64 = 24 * 3_600_000;
/// The buyer of the example.
const BUYER: u64 = 42;

/// Units left of each offer of a sale, while all its lanes are open.
type Left = Option<BTreeMap<OfferId, u64>>;

/// The text, as soon as the shop sells. `sale`: the one to show. `key`: signs a token to be shown;
/// without it the command that makes one is. `owner`: how the demo tenant's owner comes in. `None`
/// when no token can be made.
pub async fn when_selling<C: Clock>(
    deployment: &Deployment<C>,
    (note, folder): (&ServerNote, &str),
    (key, owner): (Option<&TokenKey>, Option<&FirstOwner>),
    sale: Option<&Sale>,
    readiness: &Readiness,
) -> Option<String> {
    let until = deployment.clock.monotonic() + PATIENCE;
    let left = loop {
        let left = left(deployment, sale).await;
        // Lanes of a sale that does not sell now need not be open.
        let sells = sale.is_some_and(|sale| sale.phase(deployment.clock.now_ms()) == Phase::Open);
        let is_ready = readiness.is_ready() && (left.is_some() || !sells);
        if is_ready || deployment.clock.monotonic() >= until {
            break left;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let now_ms = deployment.clock.now_ms();
    let mut text = String::new();
    let written = match sale {
        Some(sale) => {
            let tenant = sale.tenant.number();
            let claims = BuyerClaims::new(tenant, BUYER, now_ms + TOKEN_TTL_MS);
            let token = match key {
                Some(key) => TokenSigner::new(key.clone()).sign(&claims, now_ms).ok()?,
                None => format!("$({} token {BUYER} --tenant {tenant} --data {folder:?})", program()),
            };
            let signing_in = owner.and_then(|owner| Some((owner.code, owner.invitation.as_deref()?)));
            selling(&mut text, (note, folder), (sale, &left, now_ms), (&token, signing_in))
        }
        None => waiting(&mut text, note, folder),
    };
    written.ok().map(|()| text)
}

async fn left<C: Clock>(deployment: &Deployment<C>, sale: Option<&Sale>) -> Left {
    let mut left = BTreeMap::new();
    for lane in sale.into_iter().flat_map(|sale| &sale.lanes) {
        let view = deployment.keeping.inspect(lane.id).await.ok()?;
        if !matches!(view.mode, LaneMode::Open { .. }) {
            return None;
        }
        left.extend(view.offers.into_iter().map(|(offer, left, _)| (offer, left)));
    }
    Some(left)
}

fn selling(
    out: &mut String,
    (note, folder): (&ServerNote, &str),
    (sale, left, now_ms): (&Sale, &Left, u64),
    (token, signing_in): (&str, Option<(&str, &str)>),
) -> std::fmt::Result {
    let url = format!("http://{}", note.listen);
    let state = match sale.phase(now_ms) {
        Phase::Open => "is open",
        Phase::NotStarted => "runs, and its sale opens later",
        Phase::Paused => "runs, and its sale is paused",
        Phase::Ended => "runs, and its sale is over",
    };
    writeln!(out, "The shop {state}: {}\n", sale.title)?;
    if sale.tenant.number() == DEMO_TENANT {
        writeln!(out, "  shop     {url}/  (open it in a browser: buy and pay there)")?;
    }
    writeln!(out, "  sale     {url}/v1/sales/{}", sale.id)?;
    writeln!(out, "  window   {}", confirm::window(sale, now_ms))?;
    for (_, offer) in sale.offers() {
        let units = match left.as_ref().and_then(|left| left.get(&offer.id)) {
            Some(left) => format!("{left} of {} units left", offer.allotment),
            None => format!("{} units", offer.allotment),
        };
        writeln!(out, "  offer    {} {}, {}, {units}", offer.id, offer.title, offer.price)?;
    }
    writeln!(out, "  metrics  http://{}/metrics", note.admin)?;
    writeln!(out, "  data     {folder}\n")?;
    match buyable(sale, left, now_ms) {
        Ok(offer) => buying(out, &url, offer, token)?,
        Err(why) => writeln!(out, "Nothing can be bought now: {why}\n")?,
    }
    if let Some((tenant, invitation)) = signing_in {
        owning(out, &url, tenant, invitation)?;
    }
    common(out)
}

/// An offer that can be bought now, or why there is none.
fn buyable<'a>(sale: &'a Sale, left: &Left, now_ms: u64) -> Result<&'a Offer, String> {
    let program = program();
    match (sale.phase(now_ms), left) {
        (Phase::NotStarted, _) => Err(format!("the sale {}", confirm::window(sale, now_ms))),
        (Phase::Paused, _) => Err(format!("publish the sale with paused = false ({program} publish FILE)")),
        (Phase::Ended, _) => {
            Err(format!("sell something: {program} example > sale.toml, edit it, {program} publish sale.toml"))
        }
        (Phase::Open, None) => Err("the lanes are not open yet; until they are, a purchase is answered by 503".into()),
        (Phase::Open, Some(left)) => {
            let is_left = |offer: &&Offer| left.get(&offer.id).is_some_and(|left| *left > 0);
            let offer = sale.offers().map(|(_, offer)| offer).find(is_left);
            offer.ok_or_else(|| format!("all is sold; publish more units ({program} publish FILE)"))
        }
    }
}

fn buying(out: &mut String, url: &str, offer: &Offer, token: &str) -> std::fmt::Result {
    writeln!(out, "Buy one, as buyer {BUYER}:\n")?;
    writeln!(out, "  TOKEN={token}")?;
    writeln!(out, "  curl -i {url}/v1/orders -H \"Authorization: Bearer $TOKEN\" -H 'Idempotency-Key: first' \\")?;
    writeln!(
        out,
        "       -H 'Content-Type: application/json' -d '{{\"offer_id\": \"{}\", \"quantity\": 1}}'\n",
        offer.id
    )?;
    writeln!(out, "See the orders:  curl {url}/v1/orders -H \"Authorization: Bearer $TOKEN\"")
}

/// How the demo tenant's owner sets a password and signs in.
fn owning(out: &mut String, url: &str, tenant: &str, invitation: &str) -> std::fmt::Result {
    writeln!(out, "\nBe its owner: set a password within 24 hours, then sign in:\n")?;
    writeln!(out, "  curl {url}/v1/passwords -H 'Content-Type: application/json' \\")?;
    writeln!(out, "       -d '{{\"token\": \"{invitation}\", \"password\": \"a long one of your own\"}}'")?;
    writeln!(out, "  curl {url}/v1/sessions -H 'Content-Type: application/json' \\")?;
    writeln!(
        out,
        "       -d '{{\"tenant\": \"{tenant}\", \"email\": \"{DEMO_OWNER}\", \"password\": \"a long one of your own\"}}'\n"
    )
}

/// This program as it was called: the lines that are shown can be typed as they are.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "flashsale".into())
}

fn waiting(out: &mut String, note: &ServerNote, folder: &str) -> std::fmt::Result {
    writeln!(out, "The shop is open.\n")?;
    writeln!(out, "  buyers   http://{}", note.listen)?;
    writeln!(out, "  metrics  http://{}/metrics", note.admin)?;
    writeln!(out, "  data     {folder}\n")?;
    let program = program();
    writeln!(out, "Sell something:  {program} example > sale.toml, edit it, {program} publish sale.toml")?;
    common(out)
}

fn common(out: &mut String) -> std::fmt::Result {
    let program = program();
    writeln!(out, "Load it:         {program} load")?;
    writeln!(out, "Settings:        {program} config")?;
    writeln!(out, "More:            {program} --help")?;
    writeln!(out, "End it:          Ctrl-C; everything is in the data folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_300_000_000;

    /// The greeting for the example's sale, changed, with so many units left of each offer.
    fn greeting(change: impl FnOnce(&mut Sale), units: Option<u64>) -> String {
        let draft = catalog::file::parse(catalog::EXAMPLE).unwrap();
        let mut sale = catalog::publish::plan(&draft, &[], 1, NOW_MS).unwrap();
        change(&mut sale);
        let left = units.map(|units| sale.offers().map(|(_, offer)| (offer.id, units)).collect());
        let note = ServerNote { pid: 1, listen: ([127, 0, 0, 1], 80).into(), admin: ([127, 0, 0, 1], 81).into() };
        let mut text = String::new();
        selling(&mut text, (&note, "folder"), (&sale, &left, NOW_MS), ("TOKEN", None)).unwrap();
        text
    }

    /// The line that buys stands there only when it buys; else it says why nothing can be bought.
    #[test]
    fn the_line_that_buys_is_shown_only_when_something_can_be_bought() {
        let open = greeting(|_| (), Some(5));
        assert!(open.starts_with("The shop is open: Winter sale, day one\n"), "{open}");
        assert!(open.contains("  offer    9001 Kettle, red, 199.00 CNY, 5 of 100000 units left\n"), "{open}");
        assert!(open.contains("curl -i http://127.0.0.1:80/v1/orders"), "{open}");
        assert!(open.contains("  shop     http://127.0.0.1:80/  "), "{open}");
        /// State of the shop, why nothing can be bought, what makes it so, and units left.
        type NotNow = (&'static str, &'static str, fn(&mut Sale), Option<u64>);
        let not_now: [NotNow; 5] = [
            (
                "runs, and its sale opens later",
                "the sale opens in 2 h",
                |s| s.window.opens_at_ms = NOW_MS + 7_200_000,
                None,
            ),
            ("runs, and its sale is paused", "publish the sale with paused", |s| s.paused = true, Some(5)),
            ("runs, and its sale is over", "sell something: ", |s| s.window.closes_at_ms = NOW_MS, None),
            ("is open", "the lanes are not open yet", |_| (), None),
            ("is open", "all is sold", |_| (), Some(0)),
        ];
        for (state, why, change, units) in not_now {
            let text = greeting(change, units);
            assert!(text.starts_with(&format!("The shop {state}: ")), "{text}");
            assert!(text.contains(&format!("Nothing can be bought now: {why}")), "{text}");
            assert!(!text.contains("curl") && !text.contains("TOKEN"), "{text}");
        }
    }

    /// Who has sold one offer out is shown another one.
    #[test]
    fn the_line_that_buys_names_an_offer_that_is_left() {
        let draft = catalog::file::parse(catalog::EXAMPLE).unwrap();
        let sale = catalog::publish::plan(&draft, &[], 1, NOW_MS).unwrap();
        let ids: Vec<OfferId> = sale.offers().map(|(_, offer)| offer.id).collect();
        let left = Some(BTreeMap::from([(ids[0], 0), (ids[1], 1)]));
        assert_eq!(buyable(&sale, &left, NOW_MS).map(|offer| offer.id), Ok(ids[1]));
    }

    #[test]
    fn prices_are_shown_by_the_minor_unit_of_their_currency() {
        let yen = greeting(|sale| sale.lanes[0].offers[0].price.currency = "JPY".parse().unwrap(), Some(5));
        assert!(yen.contains("Kettle, red, 19900 JPY, "), "{yen}");
    }
}
