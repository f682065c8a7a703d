//! What makes a sale valid, for those who publish: every bound of its fields, and that a record of
//! the log holds it.

use crate::{
    id::{ORDER_END, ORDER_END_MS},
    money::Money,
    record::encode_sale,
    sale::{
        AFTER_SALE_DAYS_MAX, ALLOTMENT_MAX, Flaw, LANES_MAX, LIMIT_MAX, Lane, OFFERS_MAX, OFFERS_PER_LANE_MAX,
        OrderTerms, PAYMENT_WINDOW_S, PRICE_MAX, RATE_MAX, SALE_BYTES_MAX, Sale, Window,
    },
    title,
};

impl Sale {
    /// Every flaw at once, so that a merchant mends a file in one go. `partitions`: of the order
    /// log.
    ///
    /// # Errors
    /// One [`Flaw`] per wrong field.
    pub fn validate(&self, partitions: u32) -> Result<(), Vec<Flaw>> {
        let mut check = Check(Vec::new());
        check.title("title", &self.title);
        let Window { opens_at_ms, closes_at_ms } = self.window;
        check.that(opens_at_ms < closes_at_ms, "closes_at", || "must lie after opens_at".into());
        check.that(opens_at_ms >= closes_at_ms || closes_at_ms <= ORDER_END_MS, "closes_at", || {
            format!("must not lie after {ORDER_END}, where order ids end")
        });
        check.range("buyer_rate_per_s", u64::from(self.buyer_rate_per_s), 1, u64::from(RATE_MAX));
        check.that(self.visible_from_ms <= opens_at_ms, "visible_from", || "must not lie after opens_at".into());
        let OrderTerms { payment_window_s, after_sale_days, .. } = self.orders;
        if payment_window_s != 0 {
            let (low, high) = (*PAYMENT_WINDOW_S.start(), *PAYMENT_WINDOW_S.end());
            check.range("payment_window_s", payment_window_s.into(), low.into(), high.into());
        }
        check.range("after_sale_days", after_sale_days.into(), 0, AFTER_SALE_DAYS_MAX.into());
        check.range("lanes", self.lanes.len() as u64, 1, LANES_MAX as u64);
        for (l, lane) in self.lanes.iter().enumerate() {
            check.lane(&format!("lanes[{l}]"), lane, partitions);
        }
        let mut offers: Vec<_> = self.offers().map(|(_, offer)| offer.id).collect();
        offers.sort_unstable();
        check.that(offers.windows(2).all(|w| w[0] != w[1]), "lanes", || "an offer id stands twice".into());
        let mut lanes: Vec<_> = self.lanes.iter().map(|lane| lane.id).collect();
        lanes.sort_unstable();
        check.that(lanes.windows(2).all(|w| w[0] != w[1]), "lanes", || "a lane id stands twice".into());
        check.that(offers.len() <= OFFERS_MAX, "lanes", || {
            format!("hold {} offers; give at most {OFFERS_MAX}, or several sales", offers.len())
        });
        let bytes = encode_sale(self).len();
        check.that(offers.len() > OFFERS_MAX || bytes <= SALE_BYTES_MAX, "lanes", || {
            format!("make a record of {bytes} bytes, at most {SALE_BYTES_MAX}: fewer offers, or shorter titles")
        });
        if check.0.is_empty() { Ok(()) } else { Err(check.0) }
    }
}

struct Check(Vec<Flaw>);

impl Check {
    fn that(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Flaw { field: field.into(), message: message() });
        }
    }

    fn range(&mut self, field: &str, value: u64, low: u64, high: u64) {
        self.that((low..=high).contains(&value), field, || format!("is {value}; give {low} to {high}"));
    }

    fn title(&mut self, field: &str, title: &str) {
        if let Some(message) = title::flaw(title) {
            self.0.push(Flaw { field: field.into(), message });
        }
    }

    fn lane(&mut self, path: &str, lane: &Lane, partitions: u32) {
        self.range(&format!("{path}.limit_per_buyer"), u64::from(lane.limit_per_buyer), 1, u64::from(LIMIT_MAX));
        self.range(&format!("{path}.offers"), lane.offers.len() as u64, 1, OFFERS_PER_LANE_MAX as u64);
        self.that(lane.partition.0 < partitions, &format!("{path}.partition"), || {
            format!("is {}; the order log has {partitions} partitions, counted from 0", lane.partition)
        });
        for (o, offer) in lane.offers.iter().enumerate() {
            let path = format!("{path}.offers[{o}]");
            self.title(&format!("{path}.title"), &offer.title);
            self.range(&format!("{path}.allotment"), offer.allotment, 1, ALLOTMENT_MAX);
            self.range(&format!("{path}.rate_per_s"), u64::from(offer.rate_per_s), 1, u64::from(RATE_MAX));
            let Money { amount, currency } = offer.price;
            self.that(amount >= 0, &format!("{path}.price.amount"), || "must not be negative".into());
            self.that(amount <= PRICE_MAX, &format!("{path}.price.amount"), || {
                format!("is {amount}; give at most {PRICE_MAX}, so that a browser reads {LIMIT_MAX} times it exactly")
            });
            self.that(currency.decimals().is_some(), &format!("{path}.price.currency"), || {
                format!("is {currency}, which is no active currency of ISO 4217; give one, such as CNY")
            });
        }
    }
}
