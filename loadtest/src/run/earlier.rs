//! Sales that were before: they lie in the same deployment when the scenario begins, each with its
//! orders, decided, audited, and over. After each it is noted what Redis and the services hold.

use std::time::Duration;

use kit::clock::Clock;
use rand::{SeedableRng, rngs::StdRng};

use super::{RunError, Runner, local};
use crate::{audit, report::AfterSale, sale::LoadSale, scenario::Part, tally::Book, under_test::UnderTest};

/// As many requests as come: a sale of before is only to be there.
static BEFORE: Part = Part { title: "a sale of before", ..Part::FILLING };
/// How long the keeper may take to retire the lanes of a sale that is over, beyond the time in
/// which they settle.
const RETIRED_WITHIN: Duration = Duration::from_secs(60);
const RETIRED_POLL: Duration = Duration::from_millis(250);

impl<U: UnderTest> Runner<'_, U> {
    /// Plays all sales of before, one after the other.
    pub(super) async fn run_earlier_sales(&mut self) -> Result<(), RunError> {
        let before = self.spec.earlier_sales();
        for number in 1..=before.sales {
            self.progress.phase(&format!("sale {number} of {} before", before.sales));
            let now_ms = self.clock.now_ms();
            let (units, partitions) = (u64::from(before.buyers), self.under_test.partitions());
            let sale = LoadSale::fresh(units, 1, partitions, now_ms, &mut StdRng::from_rng(&mut rand::rng()));
            let mut sale = sale.map_err(local)?;
            self.publisher.publish(&self.environment.write_sale(&sale)?).await?;
            // The measured sale, its book and its picture wait aside meanwhile.
            let lanes = sale.lanes();
            std::mem::swap(&mut self.sale, &mut sale);
            self.backends.watch(lanes);
            let book = std::mem::replace(&mut self.book, Book::new(0));
            let timeline = std::mem::take(&mut self.timeline);
            let finished = self.one_before(before.buyers).await;
            std::mem::swap(&mut self.sale, &mut sale);
            self.backends.watch(self.sale.lanes());
            (self.book, self.timeline) = (book, timeline);
            finished?;
            self.after_sale(number, &sale).await?;
        }
        if before.sales > 0 && self.spec.args.settling.is_some() {
            self.progress.phase("a calm moment");
            self.under_test.calm().await?;
        }
        Ok(())
    }

    async fn one_before(&mut self, buyers: u32) -> Result<(), RunError> {
        self.wait_open().await?;
        let prepared = self.prepare_buyers(&BEFORE, 0..buyers, None, super::part::UNMEASURED_SECONDS).await?;
        let finished = self.run_part(&BEFORE, &prepared, None).await?;
        self.earlier_damage.extend(finished.outstanding());
        self.progress.phase("auditing it");
        let findings = audit::compare(&self.backends.evidence(&self.sale, &self.book).await?);
        if !findings.is_clean() {
            let words = findings.words().map(|(word, finding)| format!("{word} {}", finding.count)).join(", ");
            self.earlier_damage.push(format!("sale {} of before: {words}", self.sale.id));
        }
        Ok(())
    }

    /// Ends a sale, waits until its lanes are retired where the settling time is given, and notes
    /// what is held.
    async fn after_sale(&mut self, number: u32, sale: &LoadSale) -> Result<(), RunError> {
        self.progress.phase("ending it");
        self.end(sale).await?;
        if let Some(settling) = self.spec.args.settling {
            self.wait_retired(sale, Duration::from_secs(settling.into())).await?;
        }
        let [engine_bytes, writer_bytes] = self.environment.memories();
        let stock_bytes = self.under_test.stock_memory().await;
        self.after_sales.push(AfterSale { sale: number, stock_bytes, engine_bytes, writer_bytes });
        Ok(())
    }

    /// Ends a sale now.
    pub(super) async fn end(&self, sale: &LoadSale) -> Result<(), RunError> {
        let closed = sale.version(2, [sale.opens_at_ms, self.clock.now_ms()]).map_err(local)?;
        Ok(self.publisher.publish(&self.environment.write(&closed)?).await?)
    }

    async fn wait_retired(&self, sale: &LoadSale, settling: Duration) -> Result<(), RunError> {
        let (lanes, deadline) = (sale.lanes(), self.clock.monotonic() + settling + RETIRED_WITHIN);
        loop {
            let known = self.backends.all_lanes().await?;
            let kept = known.iter().filter(|row| lanes.contains(&row.lane) && !row.is_retired).count();
            if kept == 0 {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                return Err(RunError::NotRetired(format!(
                    "{kept} of {} lanes of an ended sale are not retired {} s after they may be; does whoever keeps the \
                     lanes run with the same settling time?",
                    lanes.len(),
                    RETIRED_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(RETIRED_POLL).await;
        }
    }
}
