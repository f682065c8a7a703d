//! Goal: each flaw is found, named by path and line, and all at once. Method: the example, with one
//! thing broken.

use super::*;
use crate::EXAMPLE;

/// The flaws of the example with this text replaced, once.
fn flaws_with(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "{from}");
    let flaws = parse(&EXAMPLE.replacen(from, to, 1)).err().unwrap_or_default();
    flaws.iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_is_a_valid_sale() {
    let draft = parse(EXAMPLE).unwrap();
    assert_eq!((draft.id.get(), draft.tenant.get(), draft.version, draft.paused), (1001, 7, None, false));
    assert_eq!(draft.window, Window { opens_at_ms: 1_795_233_600_000, closes_at_ms: 1_795_320_000_000 });
    let [lane] = draft.lanes.as_slice() else { panic!("one lane") };
    assert_eq!((lane.id.get(), lane.partition, lane.limit_per_buyer), (5001, None, 1));
    let [red, blue] = lane.offers.as_slice() else { panic!("two offers") };
    assert_eq!((red.id.get(), red.sku.get(), red.allotment, red.rate_per_s), (9001, 77, 100_000, 1_000_000));
    assert_eq!((red.price.amount, red.price.currency.as_str(), blue.title.as_str()), (19_900, "CNY", "Kettle, blue"));
}

/// What is replaced, by what, and how the only flaw then begins.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        r#"id = "1001""#,
        r#"id = "01001""#,
        "line 4: id: is \"01001\"; an id is a decimal number from 1 to 9223372036854775807",
    ),
    (r#"id = "1001""#, "id = 0", "line 4: id: is 0; an id is"),
    (r#"id = "1001""#, "id = -1", "line 4: id: is -1; an id is"),
    (r#"id = "1001""#, "id = 99999999999999999999999", "line 4: id: is 99999999999999999999999; an id is"),
    (r#"id = "1001""#, "id = 1.5", "line 4: id: is of the kind float; give an id, as a string or an integer"),
    (r#"id = "1001""#, "", "id: is missing"),
    (
        r#"tenant = "7""#,
        r#"tenant = "4294967296""#,
        "line 5: tenant: is \"4294967296\"; an id is a decimal number from 1 to 4294967295",
    ),
    (r#"tenant = "7""#, "", "tenant: is missing"),
    (r#"title = "Winter sale, day one""#, r#"title = " ""#, "line 6: title: shows nothing; give 1 to 200"),
    (r#"title = "Winter sale, day one""#, r#"title = "a\nb""#, "line 6: title: holds a control"),
    (r#"title = "Winter sale, day one""#, "title = 5", "line 6: title: is of the kind integer; give a string"),
    ("# version = 1", "version = 0", "line 9: version: is 0; versions count from 1"),
    ("# version = 1", "version = -1", "line 9: version: is -1; it must not be negative"),
    ("# version = 1", "version = 4294967296", "line 9: version: is 4294967296, which is too large"),
    ("# version = 1", "version = \"1\"", "line 9: version: is of the kind string; give a whole number"),
    ("2026-11-21T04:00:00Z", "2026-11-23T04:00:00Z", "line 14: closes_at: must lie after opens_at"),
    (
        "2026-11-21T04:00:00Z",
        "2026-11-21T04:00:00",
        "line 13: opens_at: is 2026-11-21T04:00:00; give a time with its offset",
    ),
    ("2026-11-21T04:00:00Z", "2026-11-21", "line 13: opens_at: is 2026-11-21; give a time with its offset"),
    ("2026-11-21T04:00:00Z", "tomorrow", "line 13: opens_at: is \"tomorrow\"; give a time with its offset"),
    ("2026-11-21T04:00:00Z", "2026-02-30T04:00:00Z", "line 13: opens_at: is"),
    (
        "2026-11-21T04:00:00Z",
        "1969-12-31T23:59:59Z",
        "line 13: opens_at: is 1969-12-31T23:59:59Z, which is before 1970",
    ),
    (
        "2026-11-21T04:00:00Z",
        "2026-11-21T04:00:00.0001Z",
        "line 13: opens_at: is 2026-11-21T04:00:00.0001Z; give at most milliseconds",
    ),
    ("closes_at = 2026", "closes_at = 1 # 2026", "line 14: closes_at: is of the kind integer; give a time"),
    ("closes_at = 2026", "# closes_at = 2026", "closes_at: is missing"),
    ("# limit_by = \"account\"", "limit_by = 1", "line 23: limit_by: is of the kind integer; give a string"),
    (
        "# limit_by = \"account\"",
        "limit_by = \"person\"",
        "line 23: limit_by: is \"person\"; give one of account, phone, id_hash",
    ),
    ("# members_only = false", "members_only = 1", "line 26: members_only: is of the kind integer; give true or false"),
    ("# paused = false", "paused = 1", "line 17: paused: is of the kind integer; give true or false"),
    ("buyer_rate_per_s = 20", "buyer_rate_per_s = 0", "line 20: buyer_rate_per_s: is 0; give 1 to 1000000"),
    (
        "buyer_rate_per_s = 20",
        "buyer_rate_per_s = 1_000_001",
        "line 20: buyer_rate_per_s: is 1000001; give 1 to 1000000",
    ),
    (
        "buyer_rate_per_s = 20",
        "buyer_rate = 20\nbuyer_rate_per_s = 20",
        "line 20: buyer_rate: is no key here; there are id, tenant",
    ),
    (r#"id = "5001""#, "", "line 29: lanes[0].id: is missing"),
    ("limit_per_buyer = 1", "limit_per_buyer = 101", "line 31: lanes[0].limit_per_buyer: is 101; give 1 to 100"),
    ("# partition = 0", "partition = -1", "line 33: lanes[0].partition: is -1; it must not be negative"),
    (
        "# partition = 0",
        "\"a b\" = 0",
        "line 33: lanes[0].\"a b\": is no key here; there are id, partition, limit_per_buyer, paused, offers",
    ),
    (r#"sku = "77""#, "sku = true", "line 38: lanes[0].offers[0].sku: is of the kind boolean; give an id"),
    (r#""Kettle, red""#, "''", "line 39: lanes[0].offers[0].title: shows nothing"),
    ("amount = 19900", "amount = -1", "line 40: lanes[0].offers[0].price.amount: must not be negative"),
    (
        "amount = 19900",
        "amount = 199.00",
        "line 40: lanes[0].offers[0].price.amount: is of the kind float; give a whole number",
    ),
    (
        "amount = 19900",
        "amount = 90071992547410",
        "line 40: lanes[0].offers[0].price.amount: is 90071992547410; give at most 90071992547409",
    ),
    (
        r#""CNY""#,
        r#""ZZZ""#,
        "line 40: lanes[0].offers[0].price.currency: is ZZZ, which is no active currency of ISO 4217; give one",
    ),
    (
        "2026-11-22T12:00:00+08:00",
        "9999-11-22T12:00:00+08:00",
        "line 14: closes_at: must not lie after 2059-11-04T19:53:47.776Z, where order ids end",
    ),
    (
        "2026-11-22T12:00:00+08:00",
        "\"12026-11-22T12:00:00+08:00\"",
        "line 14: closes_at: is \"12026-11-22T12:00:00+08:00\"; give a time with its offset",
    ),
    (
        "amount = 19900",
        "amount = 9223372036854775808",
        "line 40: lanes[0].offers[0].price.amount: is 9223372036854775808, which is too large",
    ),
    ("amount = 19900, ", "", "line 40: lanes[0].offers[0].price.amount: is missing"),
    (
        r#""CNY""#,
        r#""cny""#,
        "line 40: lanes[0].offers[0].price.currency: is \"cny\"; a currency is three capital letters, such as CNY",
    ),
    (
        "price = { amount = 19900, currency = \"CNY\" }",
        "price = 19900",
        "line 40: lanes[0].offers[0].price: is of the kind integer; give a table",
    ),
    (
        "allotment = 100000 ",
        "allotment = 100000001 #",
        "line 41: lanes[0].offers[0].allotment: is 100000001; give 1 to 100000000",
    ),
    ("rate_per_s = 1000000 ", "rate_per_s = 0 # ", "line 42: lanes[0].offers[0].rate_per_s: is 0; give 1 to 1000000"),
    (
        r#"id = "9002""#,
        r#"id = 9001"#,
        "line 45: lanes[0].offers[1].id: is 9001, as lanes[0].offers[0].id is; each offer has its own",
    ),
];

#[test]
fn one_broken_field_is_one_flaw_with_its_path_and_line() {
    for (from, to, expected) in BROKEN {
        let found = flaws_with(from, to);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{to}: expected {expected:?}, found {found:#?}");
    }
}

#[test]
fn a_sale_needs_lanes_and_a_lane_needs_offers() {
    let (head, lanes) = EXAMPLE.split_once("[[lanes]]").unwrap();
    let only = |text: &str| -> Vec<String> { parse(text).unwrap_err().iter().map(ToString::to_string).collect() };
    assert_eq!(only(head), ["lanes: is missing"]);
    assert_eq!(only(&format!("lanes = []\n{head}")), ["line 1: lanes: is 0; give 1 to 1000"]);
    assert_eq!(only(&format!("lanes = 1\n{head}")), ["line 1: lanes: is of the kind integer; give an array of tables"]);
    let mixed = format!("lanes = [{{ id = 0 }}, 7]\n{head}");
    assert_eq!(
        only(&mixed),
        [
            "line 1: lanes[0].id: is 0; an id is a decimal number from 1 to 9223372036854775807",
            "line 1: lanes[0].limit_per_buyer: is missing",
            "line 1: lanes[0].offers: is missing",
            "line 1: lanes: holds a value of the kind integer at [1]; give tables",
        ]
    );
    let (lane, _) = lanes.split_once("[[lanes.offers]]").unwrap();
    assert_eq!(only(&format!("{head}[[lanes]]{lane}")), ["line 29: lanes[0].offers: is missing"]);
    let twice = format!("{EXAMPLE}\n[[lanes]]\nid = 5001\nlimit_per_buyer = 1\noffers = [{{}}]");
    let found = only(&twice);
    assert_eq!(found[0], "line 59: lanes[1].id: is 5001, as lanes[0].id is; each lane has its own");
    assert_eq!(found[1..].len(), OFFER_KEYS.len() - 1, "all but `paused`: {found:#?}");
}

#[test]
fn every_flaw_is_told_at_once_in_reading_order() {
    let broken = EXAMPLE
        .replace("tenant = \"7\"", "tenant = \"x\"")
        .replace("buyer_rate_per_s = 20", "buyer_rate_per_s = 0")
        .replace("\"Kettle, red\"", "\"\"")
        .replace("\"CNY\"", "\"?\"")
        .replace("allotment = 50000", "allotments = 50000");
    let lines: Vec<_> = parse(&broken).unwrap_err().iter().map(|flaw| (flaw.line, flaw.field.clone())).collect();
    let expected = [
        (5, "tenant"),
        (20, "buyer_rate_per_s"),
        (39, "lanes[0].offers[0].title"),
        (40, "lanes[0].offers[0].price.currency"),
        (44, "lanes[0].offers[1].allotment"),
        (48, "lanes[0].offers[1].price.currency"),
        (49, "lanes[0].offers[1].allotments"),
    ];
    assert_eq!(lines, expected.map(|(line, field)| (Some(line), field.to_owned())));
}

#[test]
fn text_that_is_no_toml_is_told_by_line() {
    let found = flaws_with("buyer_rate_per_s = 20", "buyer_rate_per_s 20");
    assert!(found[0].starts_with("line 20: is no TOML: "), "{found:?}");
    let found = flaws_with("# version = 1", "id = 1");
    assert!(found[0].starts_with("line 9: is no TOML: duplicate key"), "{found:?}");
    assert_eq!(
        parse("").unwrap_err().len(),
        SALE_KEYS.len() - 8,
        "an empty file misses all keys but the optional ones"
    );
    let large = parse(&" ".repeat(FILE_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(large[0].to_string(), "is larger than 4194304 bytes");
}

#[test]
fn ids_and_times_may_be_written_either_way() {
    let other = EXAMPLE
        .replace("id = \"1001\"", "id = 1_001")
        .replace("\"2026-11-21T04:00:00Z\"", "2026-11-21 04:00:00.000Z")
        .replace("2026-11-22T12:00:00+08:00", "\"2026-11-22T04:00:00Z\"");
    assert_eq!(parse(&other).unwrap(), parse(EXAMPLE).unwrap());
}
