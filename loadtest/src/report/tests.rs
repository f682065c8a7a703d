//! The report's shape is a contract: programs read the JSON by these names.

use super::*;

fn report(findings: Findings, at_rest: bool) -> Report {
    let setup = Setup {
        scenario: "orders".into(),
        deployment: "production".into(),
        units: 10,
        buyers: 4,
        lanes: 1,
        connections: 2,
        threads: 1,
        rate: None,
        loop_kind: "closed",
        seconds: 120,
        seed: 3,
        sale: "77".into(),
        cores: 2,
        revision: None,
    };
    let figures = Figures {
        sent: 6,
        accepted: 4,
        refused_by_code: [("sold_out".into(), 2)].into(),
        accepted_per_s: Some(100.0),
        latency: Some(Latency { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 }),
        ..Figures::default()
    };
    let outcome = Outcome {
        figures,
        unsent: 0,
        retried: 1,
        unknown: 0,
        changed: 0,
        promised_and_refused: 0,
        orders_durable: 4,
        orders_expected: 4,
        durable_in: Duration::from_millis(500),
        findings,
        cpu: [Some(Duration::from_micros(40)), Some(Duration::from_micros(20)), None, None, None, None],
        generator: (Some(Duration::from_micros(36)), 6),
        at_rest,
        outstanding: vec![],
    };
    Report::new(setup, outcome)
}

#[test]
fn the_json_has_every_name_that_programs_read() {
    let json = serde_json::to_value(report(Findings::default(), true)).unwrap();
    for name in "orders_durable orders_durable_per_s accepted_per_s refused_per_s accepted pending refused_by_code \
                 rejected_after_accepted oversold lost doubled leaked latency_ms refused_latency_ms scenario units buyers \
                 connections rate seconds cpu_us_per_order revision cores"
        .split_whitespace()
    {
        assert!(json.get(name).is_some(), "{name}");
    }
    assert_eq!(json["orders_durable_per_s"], 8.0);
    assert_eq!(json["latency_ms"]["p999"], 3.0);
    assert_eq!(json["refused_by_code"]["sold_out"], 2);
    assert_eq!(json["cpu_us_per_order"]["generator"], 10.0);
    assert_eq!(json["cpu_us_per_order"]["engine"], 5.0);
    assert!(json["cpu_us_per_order"]["redis"].is_null());
    assert_eq!(json["generator_us_per_request"], 6.0);
    assert_eq!(json["lost"], 0);
}

#[test]
fn each_of_the_four_and_unrest_are_damage() {
    assert!(report(Findings::default(), true).is_clean());
    assert!(!report(Findings::default(), false).is_clean());
    let damage = || Finding { count: 2, examples: vec!["order 5".into()] };
    for findings in [
        Findings { lost: damage(), ..Findings::default() },
        Findings { doubled: damage(), ..Findings::default() },
        Findings { oversold: damage(), ..Findings::default() },
        Findings { leaked: damage(), ..Findings::default() },
    ] {
        let report = report(findings, true);
        assert!(!report.is_clean());
        let table = report.to_string();
        assert!(table.contains("DAMAGED") && table.contains("order 5"), "{table}");
    }
    let reported_apart = Findings { rejected_after_accepted: damage(), ..Findings::default() };
    assert!(report(reported_apart, true).is_clean());
}

#[test]
fn the_table_tells_what_a_closed_loop_is() {
    let table = report(Findings::default(), true).to_string();
    assert!(
        table.contains("closed loop") && table.contains("4 of 4 rows in 0.50 s") && table.contains("clean"),
        "{table}"
    );
    assert!(table.contains("all but the generator ?"), "a part is unknown, and so is the sum: {table}");
}
