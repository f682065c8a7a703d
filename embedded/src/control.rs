//! The pages of the second port that the commands `publish` and `audit` and the load test ask: how
//! far everything is, what the lanes hold, and taking a sale file. Who asks shows the folder's
//! control key, so whoever can read the folder may ask.

use std::{fmt::Write as _, ops::ControlFlow, sync::Arc, time::Duration};

use catalog::{confirm, file::FILE_BYTES_MAX, publish::PublishError};
use domain::{
    id::{LaneId, PartitionId},
    stock::{LaneMode, LaneView},
};
use kit::{
    clock::Clock,
    http::{Asked, BODY_DEADLINE, Body, Incoming, Mount, Response, Service, StatusCode, bearer, read_body, reply},
    problem::{Code, Problem},
};
use loadtest::durable::PartitionPosition;
use order_writer::{
    desk::{DeskError, Expiry},
    parked::{ParkedCommand, ParkedError},
    stalls::Stalls,
};
use serde::{Deserialize, Serialize};
use store::{
    ledger::{LaneRow, OfferRow},
    log::{OrderLogSource, PartitionReader, ReadError},
    sql::SqlError,
    stock::{LaneKeeping, StockError},
};

use crate::{
    demo,
    deployment::Deployment,
    desk::{Done, Wish},
    parked,
};

/// The stores did not tell.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Stock(#[from] StockError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The pages.
pub struct Control<C> {
    deployment: Deployment<C>,
    stalls: Stalls,
    key: Arc<str>,
}

#[derive(Debug, Default, Serialize)]
struct StandingPage {
    sold: u64,
    lag: u64,
    journal: u64,
    outstanding: Vec<String>,
    /// Offers that may still sell more than their sale wants (R9).
    above_target: Vec<AboveTarget>,
    partitions: Vec<PartitionPosition>,
    stalled: Vec<String>,
}

/// How long an expiry goes on in one request: whoever asked hears how far it is, and asks for more.
const EXPIRE_FOR: Duration = Duration::from_secs(2);

/// What one request expired.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExpiryTold {
    expired: u64,
    kept: u64,
    without_lane: u64,
    /// Whether there may be more.
    is_ended: bool,
}

impl From<Expiry> for ExpiryTold {
    fn from(Expiry { expired, kept, without_lane, is_ended }: Expiry) -> Self {
        Self { expired, kept, without_lane, is_ended }
    }
}

impl From<ExpiryTold> for Expiry {
    fn from(ExpiryTold { expired, kept, without_lane, is_ended }: ExpiryTold) -> Self {
        Self { expired, kept, without_lane, is_ended }
    }
}

/// An offer whose reduction waits for units to come back.
#[derive(Debug, Serialize)]
struct AboveTarget {
    offer: String,
    allotment: u64,
    target: u64,
    sold: u64,
}

#[derive(Debug, Serialize)]
struct LaneTold {
    lane: String,
    mode: &'static str,
    epoch: u64,
    journal: Vec<String>,
    buyers: u64,
    offers: Vec<OfferTold>,
}

#[derive(Debug, Serialize)]
struct OfferTold {
    offer: String,
    left: u64,
    /// As far as the lane has heard.
    allotment: u64,
    /// What the sale wants, by the ledger (R9).
    target: u64,
}

impl<C: Clock> Control<C> {
    /// Pages over these stores, for who knows this key. `stalls`: of the order-writer of this
    /// process.
    pub fn new(deployment: Deployment<C>, stalls: Stalls, key: &str) -> Self {
        Self { deployment, stalls, key: key.into() }
    }

    async fn standing(&self) -> Result<StandingPage, Untold> {
        let Deployment { databases, source, partitions, keeping, .. } = &self.deployment;
        let mut standing = StandingPage::default();
        let lanes = databases.ledger.all_lanes().await?;
        // The journals first: what leaves them is in the log, and what is in the log is looked for
        // after that.
        for lane in &lanes {
            let entries = keeping.inspect(lane.lane).await?.journal_len;
            standing.journal += entries;
            if entries > 0 {
                standing.outstanding.push(format!("lane {}: {entries} journal entries", lane.lane));
            }
        }
        for partition in (0..*partitions).map(PartitionId) {
            let high = source.reader(partition)?.watermarks().await?.high;
            let lag = databases.ledger.lag(partition, high).await?;
            standing.lag += lag;
            standing.partitions.push(PartitionPosition { partition: partition.0, next: high.saturating_sub(lag), lag });
            if lag > 0 {
                standing.outstanding.push(format!("partition {partition}: {lag} of {high} records are not decided"));
            }
        }
        standing.stalled = self.stalls.report(self.deployment.clock.monotonic());
        let lanes = databases.ledger.all_lanes().await?;
        let offers = || lanes.iter().flat_map(|lane| &lane.offers);
        standing.sold = offers().map(|offer| offer.sold).sum();
        let above = offers().filter(|offer| offer.allotment > offer.target);
        standing.above_target = above.map(AboveTarget::from).collect();
        Ok(standing)
    }

    async fn lanes(&self) -> Result<Vec<LaneTold>, Untold> {
        let mut told = Vec::new();
        for lane in self.deployment.databases.ledger.all_lanes().await? {
            let view = self.deployment.keeping.inspect(lane.lane).await?;
            let journal = self.deployment.keeping.journal(lane.lane).await?;
            told.push(tell(&lane, view, journal.iter().map(|(batch, _)| batch.to_string()).collect()));
        }
        Ok(told)
    }

    async fn buyers(&self, lane: LaneId) -> Result<Response<Body>, Untold> {
        let mut text = String::new();
        for (buyer, purchases) in self.deployment.keeping.buyers(lane).await? {
            for purchase in purchases {
                let number = purchase.number.map_or(0, |number| number.0);
                // Writing to a String never fails.
                let _written =
                    writeln!(text, "{buyer} {} {} {} {number}", purchase.order, purchase.offer, purchase.quantity);
            }
        }
        Ok(reply::text(StatusCode::OK, text))
    }

    async fn carry_out(&self, wish: Wish) -> Response<Body> {
        let (clock, begun) = (&self.deployment.clock, self.deployment.clock.monotonic());
        let watch = |_: &Expiry| match clock.monotonic().saturating_sub(begun) < EXPIRE_FOR {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        match wish.carry_out(&self.deployment, watch).await {
            Ok(Done::Expired(done)) => reply::json(StatusCode::OK, &ExpiryTold::from(done)),
            Ok(done) => reply::text(StatusCode::OK, done.told()),
            Err(error @ DeskError::NotFound(_)) => Problem::new(Code::NotFound, error.to_string()).to_response(),
            Err(error @ (DeskError::Conflict { .. } | DeskError::Held(_))) => {
                Problem::new(Code::Conflict, error.to_string()).to_response()
            }
            Err(error) => Problem::new(Code::TemporarilyUnavailable, error.to_string()).to_response(),
        }
    }

    async fn parked(&self, command: ParkedCommand) -> Response<Body> {
        match parked::carry_out(&self.deployment, command).await {
            Ok(told) => reply::text(StatusCode::OK, told),
            Err(ParkedError::Refused(why)) => Problem::new(Code::Conflict, why).to_response(),
            Err(error) => Problem::new(Code::TemporarilyUnavailable, error.to_string()).to_response(),
        }
    }

    async fn publish(&self, body: Incoming) -> Response<Body> {
        let sent = match read_body(body, FILE_BYTES_MAX, BODY_DEADLINE).await {
            Ok(sent) => sent,
            Err(error) => return Problem::from(error).to_response(),
        };
        let Ok(text) = std::str::from_utf8(&sent) else {
            return Problem::new(Code::InvalidRequest, "a sale file is UTF-8 text").to_response();
        };
        let now_ms = self.deployment.clock.now_ms();
        match demo::from_text(&self.deployment, text, false).await {
            Ok(announced) => {
                let told = confirm::describe(&announced.publication, false, now_ms) + &announced.note();
                reply::text(StatusCode::OK, told)
            }
            Err(PublishError::Flawed(flaws)) => {
                let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
                Problem::new(Code::InvalidRequest, lines.join("\n")).to_response()
            }
            Err(error) => Problem::new(Code::TemporarilyUnavailable, error.to_string()).to_response(),
        }
    }
}

/// One of the pages.
#[derive(Debug, Clone, Copy)]
pub enum Page {
    /// How far everything is.
    Standing,
    /// What the lanes hold.
    Lanes,
    /// Who holds it.
    Buyers,
    /// Takes a sale file.
    Publish,
    /// Does something at the desk.
    Wish,
    /// Something about parked records.
    Parked,
}

impl<C: Clock> Service for Control<C> {
    type Route = Page;

    fn mounts() -> Vec<Mount<Page>> {
        vec![
            Mount::get("/standing", "standing", Page::Standing),
            Mount::get("/lanes", "lanes", Page::Lanes),
            Mount::get("/lanes/{lane}/buyers", "buyers", Page::Buyers),
            Mount::post("/sales", "publish", Page::Publish),
            Mount::post("/orders/{order}/cancel", "cancel", Page::Wish),
            Mount::post("/orders/past-pay-by/expire", "expire_past_pay_by", Page::Wish),
            Mount::post("/orders/older-than/{seconds}/expire", "expire", Page::Wish),
            Mount::get("/parked/from/{number}/{limit}/{shape}", "parked_list", Page::Parked),
            Mount::post("/parked/skip/{partition}/{offset}", "parked_skip", Page::Parked),
            Mount::post("/parked/replay/{number}", "parked_replay", Page::Parked),
        ]
    }

    async fn answer(&self, page: Page, asked: Asked<'_>) -> Response<Body> {
        let shown = bearer(asked.headers()).unwrap_or_default();
        if !kit::token::is_same_secret(shown, &self.key) {
            let needed = "send `Authorization: Bearer` with the content of control.key in the data folder";
            return Problem::new(Code::Unauthenticated, needed).to_response();
        }
        let path = asked.head.uri.path();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let nothing = || Problem::new(Code::NotFound, format!("{path} names nothing that there is")).to_response();
        let told = match page {
            Page::Standing => self.standing().await.map(|standing| reply::json(StatusCode::OK, &standing)),
            Page::Lanes => self.lanes().await.map(|lanes| reply::json(StatusCode::OK, &lanes)),
            Page::Buyers => match asked.part("lane").parse() {
                Ok(lane) => self.buyers(lane).await,
                Err(_) => Ok(nothing()),
            },
            Page::Publish => Ok(self.publish(asked.body).await),
            Page::Wish => Ok(match Wish::of(&parts) {
                Some(wish) => self.carry_out(wish).await,
                None => nothing(),
            }),
            Page::Parked => Ok(match parked::of(&parts) {
                Some(command) => self.parked(command).await,
                None => nothing(),
            }),
        };
        told.unwrap_or_else(|error| {
            tracing::error!(%error, path, "a page of the second port failed");
            Problem::new(Code::TemporarilyUnavailable, error.to_string()).to_response()
        })
    }
}

impl From<&OfferRow> for AboveTarget {
    fn from(row: &OfferRow) -> Self {
        let OfferRow { offer, allotment, target, sold, .. } = *row;
        Self { offer: offer.to_string(), allotment, target, sold }
    }
}

fn tell(row: &LaneRow, view: LaneView, journal: Vec<String>) -> LaneTold {
    let (mode, epoch) = match view.mode {
        LaneMode::Missing => ("missing", 0),
        LaneMode::Closed { marker } => ("closed", marker.0),
        LaneMode::Open { epoch } => ("open", epoch.0),
    };
    let offers = view.offers.into_iter().map(|(offer, left, allotment)| {
        let known = row.offers.iter().find(|known| known.offer == offer);
        OfferTold { offer: offer.to_string(), left, allotment, target: known.map_or(allotment, |known| known.target) }
    });
    LaneTold { lane: row.lane.to_string(), mode, epoch, journal, buyers: view.buyers_len, offers: offers.collect() }
}
