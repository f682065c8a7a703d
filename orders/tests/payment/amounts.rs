//! Amounts are exact, or refused.

use orders::payment::amount::{parse, write};
use proptest::prelude::*;

#[test]
fn amounts_are_read_to_the_last_place() {
    for (text, places, units) in [
        ("88.88", 2, 8_888),
        ("88.8", 2, 8_880),
        ("88", 2, 8_800),
        ("0.01", 2, 1),
        ("-0.53", 2, -53),
        ("0.05940", 5, 5_940),
        ("0.05940", 4, 594),
        ("100", 0, 100),
        ("100.00", 0, 100),
        ("90071992547409.91", 2, 9_007_199_254_740_991),
    ] {
        assert_eq!(parse(text, places), Ok(units), "{text}");
    }
}

#[test]
fn what_would_lose_money_or_is_spelled_otherwise_is_refused() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "+1",
        " 1",
        "1 ",
        "1,00",
        "1e2",
        "--1",
        "-",
        "0.001",
        "88.888",
        "１",
        "NaN",
        "1.0.0",
        "0x1",
        "90071992547409.92",
        "99999999999999999999",
    ] {
        assert!(parse(text, 2).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn an_amount_written_is_the_amount_read(units in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, places in 0_u8..=5) {
        prop_assert_eq!(parse(&write(units, places), places), Ok(units));
    }

    #[test]
    fn what_is_read_is_what_stands_there(text in "-?[0-9]{1,9}(\\.[0-9]{1,4})?") {
        if let Ok(units) = parse(&text, 2) {
            let exact: f64 = text.parse().unwrap();
            prop_assert!((exact * 100.0 - units as f64).abs() < 0.001, "{} {}", text, units);
        }
    }
}
