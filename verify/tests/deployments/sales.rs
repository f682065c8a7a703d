//! The sales of the table, each in a state of its own. No two share an id, a lane or an offer.

use jiff::{SignedDuration, Timestamp};

/// The shop whose they are.
pub(crate) const TENANT: u32 = 7;
/// Sells all the while.
pub(crate) const OPEN: u64 = 1001;
/// Its offer with enough for all; a buyer may hold [`LIMIT`].
pub(crate) const PLENTY: u64 = 9001;
/// Units that a buyer may hold of [`PLENTY`].
pub(crate) const LIMIT: u32 = 2;
/// Its offer with one unit.
pub(crate) const SCARCE: u64 = 9002;
/// Opens in a far year.
pub(crate) const FUTURE: u64 = 1002;
/// Is over.
pub(crate) const PAST: u64 = 1003;
/// Is stopped.
pub(crate) const PAUSED: u64 = 1004;
/// Admits a request a second from a buyer.
pub(crate) const SLOW_BUYER: u64 = 1005;
/// Admits a request a second for its offer.
pub(crate) const SLOW_OFFER: u64 = 1006;
/// Counts phone numbers.
pub(crate) const BY_PHONE: u64 = 1007;
/// Sells to members alone.
pub(crate) const MEMBERS: u64 = 1008;
/// The first of the sales that are published while somebody asks.
pub(crate) const FRESH: u64 = 2001;

/// The one offer of every sale but [`OPEN`].
pub(crate) const fn offer_of(sale: u64) -> u64 {
    10_000 + sale
}

/// All of them, as sale files. `now`: the same for both sides, which shall have the same sales.
pub(crate) fn files(now: Timestamp) -> Vec<(u64, String)> {
    let open = ("2020-01-01T00:00:00Z", "2059-01-01T00:00:00Z");
    // Nobody keeps what was over a month ago.
    let (opened, closed) = (hours_ago(now, 48), hours_ago(now, 24));
    let sale = |id, (opens, closes): (&str, &str), paused, buyer_rate, lanes: String| {
        let file = format!(
            "id = \"{id}\"\ntenant = \"{TENANT}\"\ntitle = \"Sale \\\"{id}\\\", 冬\"\nversion = 1\nopens_at = \"{opens}\"\n\
             closes_at = \"{closes}\"\npaused = {paused}\nbuyer_rate_per_s = {buyer_rate}\n{lanes}"
        );
        (id, file)
    };
    let one = |id, rate| lane(5_000 + id, LIMIT, &[(offer_of(id), 1_000, rate)]);
    let both = lane(5_001, LIMIT, &[(PLENTY, 1_000, 100_000)]) + &lane(5_002, 1, &[(SCARCE, 1, 100_000)]);
    vec![
        sale(OPEN, open, false, 1_000, both),
        sale(FUTURE, ("2058-01-01T00:00:00Z", "2059-01-01T00:00:00Z"), false, 1_000, one(FUTURE, 1_000)),
        sale(PAST, (&opened, &closed), false, 1_000, one(PAST, 1_000)),
        sale(PAUSED, open, true, 1_000, one(PAUSED, 1_000)),
        sale(SLOW_BUYER, open, false, 1, one(SLOW_BUYER, 1_000)),
        sale(SLOW_OFFER, open, false, 1_000, one(SLOW_OFFER, 1)),
        sale(BY_PHONE, open, false, 1_000, "limit_by = \"phone\"\n".to_owned() + &one(BY_PHONE, 1_000)),
        sale(MEMBERS, open, false, 1_000, "members_only = true\n".to_owned() + &one(MEMBERS, 1_000)),
    ]
}

fn hours_ago(now: Timestamp, hours: i64) -> String {
    let then = now - SignedDuration::from_hours(hours);
    // Sale files have no more than milliseconds.
    then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A sale that nobody knows yet.
pub(crate) fn fresh(id: u64) -> String {
    let (_, open) = files(Timestamp::UNIX_EPOCH).swap_remove(0);
    let (head, _) = open.split_once("\n[[lanes]]").unwrap();
    head.replace(&OPEN.to_string(), &id.to_string()) + &lane(5_000 + id, LIMIT, &[(offer_of(id), 1_000, 100_000)])
}

fn lane(id: u64, limit: u32, offers: &[(u64, u64, u64)]) -> String {
    let mut file = format!("\n[[lanes]]\nid = \"{id}\"\npartition = 0\nlimit_per_buyer = {limit}\n");
    for (offer, allotment, rate) in offers {
        file += &format!(
            "\n[[lanes.offers]]\nid = \"{offer}\"\nsku = \"{}\"\ntitle = \"Kettle {offer}\"\n\
             price = {{ amount = 19900, currency = \"CNY\" }}\nallotment = {allotment}\nrate_per_s = {rate}\n",
            offer + 1
        );
    }
    file
}
