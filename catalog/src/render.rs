//! A published sale as a sale file again. Publishing that file unchanged changes nothing.

use std::fmt::Write;

use domain::{
    money::Money,
    sale::{Lane, Offer, Sale},
};
use jiff::Timestamp;
use toml::Value;

/// The sale as TOML, keys in the order of the example; [`crate::file::parse`] reads it back as the
/// same sale.
pub fn to_toml(sale: &Sale) -> String {
    let mut text = String::new();
    // Writing to a String never fails; should it, the file would end early and not parse.
    let written = write_sale(&mut text, sale);
    debug_assert!(written.is_ok());
    text
}

/// The window as it stands in [`EXAMPLE`](crate::EXAMPLE).
const EXAMPLE_OPENS_AT: &str = "2026-11-21T04:00:00Z";
const EXAMPLE_CLOSES_AT: &str = "2026-11-22T12:00:00+08:00";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The commented sale file, of a sale that opens now and for a day: whoever publishes it as it is
/// can buy at once.
pub fn example_open_at(now_ms: u64) -> String {
    let opens_at_ms = now_ms / 1000 * 1000;
    crate::EXAMPLE
        .replace(EXAMPLE_OPENS_AT, &moment(opens_at_ms).to_string())
        .replace(EXAMPLE_CLOSES_AT, &moment(opens_at_ms + DAY_MS).to_string())
}

/// A moment in RFC 3339, UTC.
pub(crate) fn moment(epoch_ms: u64) -> Timestamp {
    // A moment past the year 9999 reads as its end; no sale file can ask for one.
    i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

fn write_sale(out: &mut String, sale: &Sale) -> std::fmt::Result {
    writeln!(out, "# Sale {} as published. To change it: raise or remove `version`, edit, publish.", sale.id)?;
    writeln!(out, "id = \"{}\"", sale.id)?;
    writeln!(out, "tenant = \"{}\"", sale.tenant)?;
    writeln!(out, "title = {}", quoted(&sale.title))?;
    writeln!(out, "version = {}", sale.version)?;
    writeln!(out, "opens_at = \"{}\"", moment(sale.window.opens_at_ms))?;
    writeln!(out, "closes_at = \"{}\"", moment(sale.window.closes_at_ms))?;
    writeln!(out, "paused = {}", sale.paused)?;
    writeln!(out, "buyer_rate_per_s = {}", sale.buyer_rate_per_s)?;
    writeln!(out, "limit_by = \"{}\"", sale.limit_by.as_str())?;
    writeln!(out, "members_only = {}", sale.members_only)?;
    if sale.visible_from_ms > 0 {
        writeln!(out, "visible_from = \"{}\"", moment(sale.visible_from_ms))?;
    }
    writeln!(out, "payment_window_s = {}", sale.orders.payment_window_s)?;
    writeln!(out, "fulfilment = \"{}\"", sale.orders.fulfilment.as_str())?;
    writeln!(out, "after_sale_days = {}", sale.orders.after_sale_days)?;
    sale.lanes.iter().try_for_each(|lane| write_lane(out, lane))
}

fn write_lane(out: &mut String, lane: &Lane) -> std::fmt::Result {
    writeln!(out, "\n[[lanes]]")?;
    writeln!(out, "id = \"{}\"", lane.id)?;
    writeln!(out, "partition = {}", lane.partition)?;
    writeln!(out, "limit_per_buyer = {}", lane.limit_per_buyer)?;
    writeln!(out, "paused = {}", lane.paused)?;
    lane.offers.iter().try_for_each(|offer| write_offer(out, offer))
}

fn write_offer(out: &mut String, offer: &Offer) -> std::fmt::Result {
    writeln!(out, "\n[[lanes.offers]]")?;
    writeln!(out, "id = \"{}\"", offer.id)?;
    writeln!(out, "sku = \"{}\"", offer.sku)?;
    writeln!(out, "title = {}", quoted(&offer.title))?;
    let Money { amount, currency } = offer.price;
    writeln!(out, "price = {{ amount = {amount}, currency = \"{currency}\" }} # {}", offer.price)?;
    writeln!(out, "allotment = {}", offer.allotment)?;
    writeln!(out, "rate_per_s = {}", offer.rate_per_s)?;
    writeln!(out, "paused = {}", offer.paused)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use domain::{
        id::{LaneId, ORDER_END_MS, OfferId, PartitionId, SaleId, SkuId, TenantId},
        record::encode_sale,
        sale::{
            ALLOTMENT_MAX, Fulfilment, LANES_MAX, LIMIT_MAX, OFFERS_MAX, OFFERS_PER_LANE_MAX, OrderTerms, PRICE_MAX,
            RATE_MAX, SALE_BYTES_MAX, SubjectKind, Window,
        },
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        file::{FILE_BYTES_MAX, parse},
        publish::{SHARD_MAP_VERSION, plan},
    };

    const PARTITIONS: u32 = 8;
    /// More than any log has.
    const PARTITIONS_MANY: u32 = 1_000_000;

    fn title() -> impl Strategy<Value = String> {
        "[ -~„é元🎁]{1,40}".prop_filter("a title shows something", |title| !title.trim().is_empty())
    }

    prop_compose! {
        fn offer()(sku in 1..=u64::from(u32::MAX), title in title(), amount in 0..=PRICE_MAX, currency in "CNY|JPY|KWD",
                   allotment in 1..=100_000_000_u64, rate_per_s in 1..=1_000_000_u32, paused: bool) -> Offer {
            let price = Money { amount, currency: currency.parse().unwrap() };
            Offer { paused, id: OfferId::new(1).unwrap(), sku: SkuId::new(sku).unwrap(), title, price, allotment, rate_per_s }
        }
    }

    prop_compose! {
        fn lane()(partition in 0..PARTITIONS, limit_per_buyer in 1..=100_u32, paused: bool, offers in prop::collection::vec(offer(), 1..4)) -> Lane {
            Lane { paused, id: LaneId::new(1).unwrap(), partition: PartitionId(partition), limit_per_buyer, offers }
        }
    }

    prop_compose! {
        fn orders()(payment_window_s in prop::sample::select(&[0, 60, 900, 2_592_000][..]), after_sale_days in 0..=366_u16,
                    fulfilment in prop::sample::select(&Fulfilment::ALL[..])) -> OrderTerms {
            OrderTerms { payment_window_s, fulfilment, after_sale_days }
        }
    }

    prop_compose! {
        fn sale()(id in 1..=i64::MAX as u64, tenant in 1..=u64::from(u32::MAX), version in 1..=u32::MAX, title in title(),
                  opens_at_ms in 0..=ORDER_END_MS - 1_000_000_000_000, length_ms in 1..=1_000_000_000_000_u64, paused: bool,
                  buyer_rate_per_s in 1..=1_000_000_u32, limit_by in prop::sample::select(&SubjectKind::ALL[..]),
                  members_only: bool, orders in orders(), visible_ms in 0..1_000_u64, mut lanes in prop::collection::vec(lane(), 1..4)) -> Sale {
            let mut number = 0;
            for lane in &mut lanes {
                number += 1;
                lane.id = LaneId::new(number).unwrap();
                for offer in &mut lane.offers {
                    number += 1;
                    offer.id = OfferId::new(number).unwrap();
                }
            }
            Sale {
                id: SaleId::new(id).unwrap(), tenant: TenantId::new(tenant).unwrap(), version, title,
                window: Window { opens_at_ms, closes_at_ms: opens_at_ms + length_ms }, paused, buyer_rate_per_s,
                shard_map_version: SHARD_MAP_VERSION, limit_by, members_only,
                visible_from_ms: opens_at_ms.min(visible_ms), orders, lanes,
            }
        }
    }

    proptest! {
        /// Goal: what `show` prints is the sale, whole. Method: any valid sale, printed and read
        /// back, is nothing new to publish; and without what is published it plans to the same.
        #[test]
        fn a_shown_sale_reads_back_as_the_same_sale(sale in sale()) {
            let text = to_toml(&sale);
            let draft = parse(&text).map_err(|flaws| TestCaseError::fail(format!("{flaws:?}\n{text}")))?;
            prop_assert_eq!(plan(&draft, std::slice::from_ref(&sale), PARTITIONS, 0), Ok(sale));
        }
    }

    #[test]
    fn a_shown_sale_is_for_people_to_read() {
        let sale = plan(&parse(crate::EXAMPLE).unwrap(), &[], PARTITIONS, 0).unwrap();
        let text = to_toml(&sale);
        assert!(text.contains("opens_at = \"2026-11-21T04:00:00Z\"\ncloses_at = \"2026-11-22T04:00:00Z\"\n"), "{text}");
        assert!(
            text.contains("price = { amount = 19900, currency = \"CNY\" } # 199.00 CNY\nallotment = 100000\n"),
            "{text}"
        );
    }

    /// The largest sale of all: every number is the longest, every lane and offer is used, and
    /// titles fill the record.
    fn largest(title: &str) -> Sale {
        let mut number = i64::MAX as u64;
        let mut next = || {
            number -= 1;
            number
        };
        let price = Money { amount: PRICE_MAX, currency: "CLF".parse().unwrap() };
        let mut lanes = Vec::new();
        for lane in 0..LANES_MAX {
            let left = OFFERS_MAX - lanes.iter().map(|lane: &Lane| lane.offers.len()).sum::<usize>();
            let offers = OFFERS_PER_LANE_MAX.min(left - (LANES_MAX - lane - 1));
            let offer = |id| Offer {
                paused: false,
                id: OfferId::new(id).unwrap(),
                sku: SkuId::new(id).unwrap(),
                title: title.into(),
                price,
                allotment: ALLOTMENT_MAX,
                rate_per_s: RATE_MAX,
            };
            let offers = (0..offers).map(|_| offer(next())).collect();
            let partition = PartitionId(PARTITIONS_MANY - 1);
            lanes.push(Lane {
                paused: false,
                id: LaneId::new(next()).unwrap(),
                partition,
                limit_per_buyer: LIMIT_MAX,
                offers,
            });
        }
        Sale {
            id: SaleId::new(next()).unwrap(),
            tenant: TenantId::new(u32::MAX.into()).unwrap(),
            version: u32::MAX,
            title: "\"".repeat(200),
            window: Window { opens_at_ms: ORDER_END_MS - 1, closes_at_ms: ORDER_END_MS },
            paused: false,
            buyer_rate_per_s: RATE_MAX,
            shard_map_version: SHARD_MAP_VERSION,
            limit_by: SubjectKind::IdHash,
            members_only: true,
            visible_from_ms: ORDER_END_MS - 1,
            orders: OrderTerms { payment_window_s: 2_592_000, fulfilment: Fulfilment::Express, after_sale_days: 366 },
            lanes,
        }
    }

    /// The limits of a sale and of its file agree: the file of any sale that may be published can
    /// be read.
    #[test]
    fn the_file_of_the_largest_sale_is_read() {
        let bare = encode_sale(&largest("x")).len();
        // A quotation mark is one byte in the record and two in the file.
        let title = "\"".repeat(1 + (SALE_BYTES_MAX - bare) / OFFERS_MAX);
        let sale = largest(&title);
        assert_eq!(sale.validate(PARTITIONS_MANY), Ok(()));
        assert!(encode_sale(&sale).len() + OFFERS_MAX > SALE_BYTES_MAX, "it is the largest");
        let text = to_toml(&sale);
        assert!(text.len() <= FILE_BYTES_MAX, "{} bytes", text.len());
        assert_eq!(plan(&parse(&text).unwrap(), std::slice::from_ref(&sale), PARTITIONS_MANY, 0), Ok(sale));
    }

    #[test]
    fn the_example_is_open_for_a_day() {
        let now_ms = 1_900_000_000_999;
        let sale = plan(&parse(&super::example_open_at(now_ms)).unwrap(), &[], PARTITIONS, 0).unwrap();
        let window = (sale.window.opens_at_ms, sale.window.closes_at_ms);
        assert_eq!(window, (1_900_000_000_000, 1_900_086_400_000));
    }
}
