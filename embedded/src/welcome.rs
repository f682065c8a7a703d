//! What a person reads when the shop sells: where, with which token, how to buy, how to load it. It changes nothing.

use std::{fmt::Write as _, time::Duration};

use domain::{sale::Sale, stock::LaneMode};
use kit::{
    admin::Readiness,
    clock::Clock,
    token::{BuyerClaims, TokenKey, TokenSigner},
};
use store::stock::LaneKeeping;

use crate::{deployment::Deployment, folder::ServerNote};

/// Between looks whether everything is open.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lanes that are not open by then are not waited for: their sale may be over.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the buyer's token is valid.
const TOKEN_TTL_MS: u64 = 24 * 3_600_000;
/// The buyer of the example.
const BUYER: u64 = 42;

/// The text, as soon as the shop sells. `sale`: the one to show. `None` when no token can be made.
pub async fn when_selling<C: Clock>(
    deployment: &Deployment<C>,
    (note, folder): (&ServerNote, &str),
    key: &TokenKey,
    sale: Option<&Sale>,
    readiness: &Readiness,
) -> Option<String> {
    let until = deployment.clock.monotonic() + PATIENCE;
    while deployment.clock.monotonic() < until && !(readiness.is_ready() && are_open(deployment, sale).await) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let now_ms = deployment.clock.now_ms();
    let mut text = String::new();
    let written = match sale {
        Some(sale) => {
            let tenant = sale.tenant.number();
            let claims = BuyerClaims { tenant, buyer: BUYER, expires_ms: now_ms + TOKEN_TTL_MS };
            let token = TokenSigner::new(key.clone()).sign(&claims, now_ms).ok()?;
            selling(&mut text, (note, folder), sale, &token)
        }
        None => waiting(&mut text, note, folder),
    };
    written.ok().map(|()| text)
}

async fn are_open<C: Clock>(deployment: &Deployment<C>, sale: Option<&Sale>) -> bool {
    for lane in sale.into_iter().flat_map(|sale| &sale.lanes) {
        let view = deployment.keeping.inspect(lane.id).await;
        if !view.is_ok_and(|view| matches!(view.mode, LaneMode::Open { .. })) {
            return false;
        }
    }
    true
}

fn selling(out: &mut String, place: (&ServerNote, &str), sale: &Sale, token: &str) -> std::fmt::Result {
    let (note, folder) = place;
    let url = format!("http://{}", note.listen);
    writeln!(out, "The shop is open: {}\n", sale.title)?;
    writeln!(out, "  sale     {url}/v1/sales/{}", sale.id)?;
    for (_, offer) in sale.offers() {
        let (units, cents) = (offer.price.amount / 100, offer.price.amount % 100);
        let (currency, left) = (offer.price.currency, offer.allotment);
        writeln!(out, "  offer    {} {}, {units}.{cents:02} {currency}, {left} units", offer.id, offer.title)?;
    }
    writeln!(out, "  metrics  http://{}/metrics", note.admin)?;
    writeln!(out, "  data     {folder}\n")?;
    let Some((_, offer)) = sale.offers().next() else { return Ok(()) };
    writeln!(out, "Buy one, as buyer {BUYER}:\n")?;
    writeln!(out, "  TOKEN={token}")?;
    writeln!(out, "  curl -i {url}/v1/orders -H \"Authorization: Bearer $TOKEN\" -H 'Idempotency-Key: first' \\")?;
    writeln!(
        out,
        "       -H 'Content-Type: application/json' -d '{{\"offer_id\": \"{}\", \"quantity\": 1}}'\n",
        offer.id
    )?;
    writeln!(out, "See the orders:  curl {url}/v1/orders -H \"Authorization: Bearer $TOKEN\"")?;
    common(out)
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
