//! Parts whose orders live: buyers come one after the other over connections of their own, each
//! does what his fate says, what they let go is bought by the next, and in the end money, rows and
//! units are held against each other.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use domain::id::{BuyerId, OrderId};
use kit::clock::Clock as _;
use tokio::task::JoinSet;

use super::{RowEvidence, RunError, Runner, environment, local, part::FinishedPart};
use crate::{
    durable::Witness as _,
    fault::{Fault, FaultReport, FaultTimes},
    generator::{Meters, Name, Run},
    life::{self, Accounts, Fate, Fates, Judgement, Shop, Statement, Told},
    plan, probe,
    report::{LifeOutcome, PhaseOutcome},
    scenario::Part,
    tally::Figures,
    timeline::CpuTimes,
    under_test::UnderTest,
};

/// Buyers who come at once, at most: more would only wait for each other.
const AT_ONCE: u32 = 128;
/// Between looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long units may take to come back, and everything to come to rest, beyond the time to pay.
const PATIENCE: Duration = Duration::from_secs(600);
/// The order service, as the environment calls it.
const SERVICE: &str = "orders";

/// What has been played so far.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// Of each part the buyers and their fates.
    fates: Vec<(Range<u32>, Fates)>,
    told: Told,
    names: Vec<Name>,
    phases: Vec<PhaseOutcome>,
    accounts: Accounts,
}

impl Lived {
    fn fate(&self, buyer: u32) -> Option<Fate> {
        let (buyers, fates) = self.fates.iter().find(|(buyers, _)| buyers.contains(&buyer))?;
        Some(fates.of(buyer - buyers.start))
    }
}

/// A stretch of time whose CPU time is told apart.
struct Begun {
    title: &'static str,
    at: Duration,
    cpu: CpuTimes,
}

/// A fault under way: when it came, and when it was over, since the start.
#[derive(Default)]
struct Failing {
    from: Option<Duration>,
    until: Option<Duration>,
}

impl<U: UnderTest> Runner<'_, U> {
    /// Plays a part to its end, and has the order service killed amid it where that is asked for.
    pub(super) async fn live_part(
        &mut self,
        part: &'static Part,
        finished: &[FinishedPart],
        fault: Option<Fault>,
    ) -> Result<FinishedPart, RunError> {
        let first = finished.last().map_or(0, |last| last.buyers.end);
        let buyers = first..first + part.buyers(self.spec.size, self.spec.args.lanes, None, 0);
        if first > 0 {
            self.units_come_back(buyers.len() as u64).await?;
        }
        self.progress.phase(part.title);
        self.book.admit(buyers.end);
        let sold_before = self.backends.look().await?.sold;
        let (begun, shop) = (self.begin(part.title), self.shop(Fates(part.fates), buyers.clone())?);
        if self.timeline.parts.is_empty() {
            self.began = shop.start;
        }
        self.timeline.part(shop.start.saturating_sub(self.began), part.title);
        let mut visitors = JoinSet::new();
        for number in 0..self.spec.args.connections.min(AT_ONCE) {
            visitors.spawn(life::visit(shop.clone(), number.into()));
        }
        let (mut told, sold, failing) = self.watch_visitors(visitors, &shop, (sold_before, fault)).await?;
        let rest = self.wait_durable(sold).await?;
        let cpu = environment::differences(begun.cpu, self.environment.cpu());
        self.end_phase(begun);
        let run = Run { notes: std::mem::take(&mut told.purchases), names: shop.names.all(), unsent: 0, cpu: None };
        self.book.enter(&run, &plan::ordinary(buyers.clone()));
        let rows = self.timeline.growth_since(shop.start.saturating_sub(self.began));
        let times = failing.from.zip(failing.until).map(|(from, until)| FaultTimes { from, until });
        let fault = fault.zip(times).map(|(fault, times)| FaultReport::of(fault, times, &run, &rows));
        let figures = Figures::of(&run);
        let generator = (None, figures.sent);
        self.lived.fates.push((buyers.clone(), Fates(part.fates)));
        self.lived.names = run.names;
        self.lived.told.add(told);
        let processes = U::processes(self.spec);
        let (rate, unsent, retried, start) = (None, 0, 0, shop.start);
        Ok(FinishedPart {
            part,
            buyers,
            rate,
            figures,
            unsent,
            retried,
            generator,
            start,
            sold_before,
            rest,
            cpu,
            processes,
            fault,
        })
    }

    /// Those pay whose time is over, and everything comes to rest.
    pub(super) async fn settle(&mut self) -> Result<(), RunError> {
        self.progress.phase("payments that come too late");
        let begun = self.begin("payments that come too late");
        let shop = self.shop(Fates(&[]), 0..0)?;
        let pages = std::mem::take(&mut self.lived.told.late);
        let mut visitors = JoinSet::new();
        for (number, some) in (0..).zip(pages.chunks(pages.len().div_ceil(AT_ONCE as usize).max(1))) {
            visitors.spawn(life::pay_late(shop.clone(), some.to_vec(), number));
        }
        let (told, sold, _) = self.watch_visitors(visitors, &shop, (0, None)).await?;
        self.lived.told.add(told);
        let deadline = self.clock.monotonic() + PATIENCE;
        loop {
            let accounts = self.accounts().await?;
            let (books, bank) = (accounts.books, accounts.bank);
            let line = format!(
                "bank: {} paid, {} refunded; {} open, {} in the outboxes",
                bank.paid, bank.refunds, books.waiting, books.outbox
            );
            self.lived.accounts = accounts;
            let is_at_rest = books.waiting == 0 && books.outbox == 0;
            let agree = (books.paid, books.refunds) == (bank.paid, bank.refunds);
            if (is_at_rest && agree) || self.clock.monotonic() >= deadline {
                break;
            }
            self.tick(&line).await?;
        }
        self.wait_durable(sold).await?;
        self.lived.accounts.left = self.backends.left().await?;
        self.end_phase(begun);
        Ok(())
    }

    /// What became of all orders, if any lived.
    pub(super) fn life_outcome(&mut self, rows: &[RowEvidence]) -> Option<LifeOutcome> {
        let lived = std::mem::take(&mut self.lived);
        let buyers = lived.fates.last()?.0.end;
        let fates: Vec<Fate> = (0..buyers).filter_map(|buyer| lived.fate(buyer)).collect();
        let fate_of = |buyer: BuyerId| lived.fate(self.sale.index_of(buyer)?);
        let judgement: Judgement = life::judge(rows, fate_of, &fates, &lived.accounts);
        let Told { opened, again, wrong, .. } = lived.told;
        let opened = Run { notes: opened, names: lived.names, unsent: 0, cpu: None };
        Some(LifeOutcome {
            orders: buyers.into(),
            judgement,
            again,
            wrong,
            pay_latency: Figures::of(&opened).latency,
            phases: lived.phases,
            processes: U::processes(self.spec),
        })
    }

    fn shop(&self, fates: Fates, buyers: Range<u32>) -> Result<Arc<Shop>, RunError> {
        let cashier = self.cashier.as_ref().ok_or_else(|| local("there is no bank in this deployment"))?;
        let sign = environment::signer(&self.signer, &self.sale, self.clock);
        Ok(Arc::new(Shop {
            sale: self.sale.clone(),
            places: [self.environment.target().address, cashier.bank].map(|place| place.to_string()),
            sign: Box::new(move |buyer| sign(buyer).map_err(|error| error.to_string())),
            next: AtomicU32::new(buyers.start),
            buyers,
            fates,
            names: self.names.clone(),
            meters: Arc::new(Meters::default()),
            clock: self.clock,
            start: self.clock.monotonic(),
        }))
    }

    /// Waits for the buyers, and shows how it goes. What they tell; what was sold when it was last
    /// looked, and when that last changed; when a fault was.
    async fn watch_visitors(
        &mut self,
        mut visitors: JoinSet<Result<Told, String>>,
        shop: &Shop,
        (sold, fault): (u64, Option<Fault>),
    ) -> Result<(Told, (u64, Duration), Failing), RunError> {
        let (mut told, mut sold, mut failing) = (Told::default(), (sold, shop.start), Failing::default());
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !visitors.is_empty() || (fault.is_some() && failing.until.is_none()) {
            tokio::select! {
                biased;
                Some(joined) = visitors.join_next(), if !visitors.is_empty() => {
                    told.add(joined.map_err(local)?.map_err(local)?);
                }
                _ = ticks.tick() => {
                    if let Some(fault) = fault {
                        self.fail_in_time(fault, &mut failing, shop.start).await?;
                    }
                    self.environment.check_running()?;
                    let snapshot = self.backends.look().await.ok();
                    let (now, reading) = (self.clock.monotonic(), shop.meters.read());
                    if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.sold != sold.0) {
                        sold = (snapshot.sold, now);
                    }
                    let at = now.saturating_sub(self.began);
                    self.timeline.note(at, Some(reading), snapshot.as_ref(), self.environment.cpu());
                    self.progress.load(at, reading, snapshot.as_ref(), shop.buyers.len());
                }
            }
        }
        self.timeline.load_ended(shop.meters.read());
        Ok((told, sold, failing))
    }

    /// Kills the order service when its second has come, and starts it again when that is over.
    async fn fail_in_time(&mut self, fault: Fault, failing: &mut Failing, start: Duration) -> Result<(), RunError> {
        let since = self.clock.monotonic().saturating_sub(start);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        match (failing.from, failing.until) {
            (None, _) if since >= seconds(fault.at_s) => {
                self.environment.kill(SERVICE).await?;
                failing.from = Some(since);
            }
            (Some(from), None) if since >= from + seconds(fault.lasts_s) => {
                self.environment.start_again(SERVICE, self.clock).await?;
                failing.until = Some(self.clock.monotonic().saturating_sub(start));
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until so many units can be bought again.
    async fn units_come_back(&mut self, units: u64) -> Result<(), RunError> {
        self.progress.phase("their time to pay passes");
        let begun = self.begin("their time to pay passes");
        self.timeline.part(begun.at.saturating_sub(self.began), begun.title);
        let deadline = self.clock.monotonic() + Duration::from_secs(life::PAY_WITHIN_S.into()) + PATIENCE;
        loop {
            let left = self.backends.left().await?;
            if left >= units || self.clock.monotonic() >= deadline {
                break;
            }
            self.tick(&format!("{left} of {units} units are back")).await?;
        }
        self.end_phase(begun);
        Ok(())
    }

    async fn tick(&mut self, line: &str) -> Result<(), RunError> {
        tokio::time::sleep(LOOK_EVERY).await;
        self.environment.check_running()?;
        let snapshot = self.backends.look().await.ok();
        let at = self.clock.monotonic().saturating_sub(self.began);
        self.timeline.note(at, None, snapshot.as_ref(), self.environment.cpu());
        self.progress.show(at, line);
        Ok(())
    }

    /// Bank, books and notices as they are now.
    async fn accounts(&self) -> Result<Accounts, RunError> {
        let cashier = self.cashier.as_ref().ok_or_else(|| local("there is no bank in this deployment"))?;
        let path = format!("/simulated/statement/{}", self.sale.tenant);
        let statement = probe::get(cashier.bank, &path, None).await.map_err(local)?;
        let bank: Statement = serde_json::from_str(&statement.body).map_err(local)?;
        let metrics = probe::get_long(cashier.admin, "/metrics", None).await.map_err(local)?;
        let (since, left) = (OrderId::floor_at(self.sale.opens_at_ms), 0);
        let books = self.backends.books(self.sale.tenant, since).await?;
        let (notices, forged) = (notices(&metrics.body), self.lived.told.forged);
        Ok(Accounts { books, bank, notices, forged, left, is_whole: self.spec.fault.is_none() })
    }

    fn begin(&self, title: &'static str) -> Begun {
        Begun { title, at: self.clock.monotonic(), cpu: self.environment.cpu() }
    }

    fn end_phase(&mut self, Begun { title, at, cpu }: Begun) {
        let lasted = self.clock.monotonic().saturating_sub(at);
        let cpu = environment::differences(cpu, self.environment.cpu());
        self.lived.phases.push(PhaseOutcome { title, lasted, cpu });
    }
}

/// How many notices came to what, by the metrics of the order service.
fn notices(metrics: &str) -> BTreeMap<String, u64> {
    let lines =
        metrics.lines().filter(|line| line.contains("payment_notices_total{") && line.contains("\"simulated\""));
    let counted = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once(' ')?;
        let (_, outcome) = labels.split_once("outcome=\"")?;
        Some((outcome.split('"').next()?.to_owned(), count.parse::<f64>().ok()? as u64))
    });
    counted.filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_counted_by_what_they_came_to() {
        let metrics = "# TYPE x counter\n\
                       flashsale_payment_notices_total{provider=\"simulated\",outcome=\"forged\"} 3\n\
                       flashsale_payment_notices_total{provider=\"simulated\",outcome=\"late\"} 0\n\
                       flashsale_payment_notices_total{provider=\"wechat\",outcome=\"applied\"} 9\n";
        assert_eq!(notices(metrics), [("forged".to_owned(), 3)].into());
    }
}
