//! The report's shape is a contract: programs read the JSON by these names.

use super::*;
use crate::life::Judgement;

/// A clean one of two parts.
pub(crate) fn sample_report() -> Report {
    report(Findings::default(), true)
}

fn report(findings: Findings, at_rest: bool) -> Report {
    let (setup, outcome) = run(findings, at_rest);
    Report::new(setup, outcome).unwrap()
}

fn run(findings: Findings, at_rest: bool) -> (Setup, Outcome) {
    let setup = Setup {
        scenario: "orders".into(),
        deployment: "production".into(),
        units: 10,
        lanes: 1,
        connections: 2,
        threads: 1,
        seconds: 120,
        seed: 3,
        sale: "77".into(),
        cores: 2,
        revision: None,
    };
    let outcome = Outcome {
        parts: vec![part("filling", false), part("load", true)],
        unknown: 0,
        changed: 0,
        promised_and_refused: 0,
        findings,
        baselines: Baselines {
            evalsha_per_s: Some(Yardstick { before: Some(150.0), after: Some(250.0) }),
            fixed_answer_per_s: Yardstick { before: Some(400.0), after: None },
            troubles: vec!["the fixed answer: gone".into()],
        },
        engine_memory: Some(Memory { now: 10 << 20, peak: 20 << 20 }),
        after_sales: vec![],
        at_rest,
        outstanding: vec![],
        life: None,
    };
    (setup, outcome)
}

fn part(title: &'static str, measured: bool) -> PartOutcome {
    let figures = Figures {
        sent: 6,
        accepted: 4,
        refused_by_code: [("sold_out".into(), 2)].into(),
        accepted_per_s: Some(100.0),
        refused_per_s: Some(200.0),
        latency: Some(Latency { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 }),
        latency_curve: [(0.0, 0.5), (0.5, 1.0), (0.99, 2.0)].map(|(share, ms)| Percentile { share, ms }).into(),
        ..Figures::default()
    };
    let us = |us| Some(Duration::from_micros(us));
    PartOutcome {
        title,
        measured,
        buyers: 4,
        rate: None,
        sustained_per_s: Some(if measured { 8.0 } else { 9.0 }),
        orders_durable: 4,
        orders_expected: 4,
        durable_in: Duration::from_millis(if measured { 500 } else { 4_000 }),
        figures,
        unsent: 0,
        retried: 1,
        generator: (us(36), 6),
        cpu: [us(40), us(20), None, None, None, None, None, None],
        processes: 6,
        fault: None,
    }
}

#[test]
fn the_json_has_every_name_that_programs_read() {
    let json = serde_json::to_value(report(Findings::default(), true)).unwrap();
    for name in "orders_durable orders_durable_per_s accepted_per_s refused_per_s accepted pending refused_by_code \
                 rejected_after_accepted oversold lost doubled leaked latency_ms refused_latency_ms scenario units buyers \
                 connections rate seconds cpu_us_per_order revision cores cpu_us_per_request generator_share_percent \
                 ratio_to_evalsha ratio_to_evalsha_range ratio_to_fixed_answer ratio_to_fixed_answer_range baselines \
                 engine_memory_bytes engine_memory_peak_bytes sustained_per_s parts loop"
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
    assert_eq!(json["cpu_us_per_order"].as_object().unwrap().len(), 8);
    assert_eq!(json["lost"], 0);
}

#[test]
fn a_fault_is_told_where_one_was_asked_for() {
    let clean = report(Findings::default(), true);
    assert!(serde_json::to_value(&clean).unwrap().get("fault").is_none());
    let (setup, mut outcome) = run(Findings::default(), true);
    outcome.parts[1].fault = Some(FaultReport {
        fault: "redis-kill@5+0".into(),
        at_s: 5.0,
        lasted_s: 0.4,
        without_accepted_s: Some(1.52),
        without_accepted_from_s: Some(4.99),
        without_rows_s: None,
        p99_before_ms: Some(12.0),
        p99_after_ms: Some(14.5),
    });
    let report = Report::new(setup, outcome).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["fault"]["without_accepted_s"], &json["fault"]["without_rows_s"]), (&1.52.into(), &().into()));
    let table = report.to_string();
    for expected in [
        "FAULT           redis-kill@5+0: at 5.00 s, back after 0.40 s",
        "1.52 s without an accepted order, from 4.99 s",
        "no row came after it; p99 before 12.0 ms, p99 after 14.5 ms",
    ] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
}

#[test]
fn the_headline_is_the_last_measured_part_and_all_parts_are_told() {
    let json = serde_json::to_value(report(Findings::default(), true)).unwrap();
    assert_eq!(json["durable_s"], 0.5);
    assert_eq!(json["sustained_per_s"], 9.0, "of the part that is not measured");
    assert_eq!((&json["parts"][0]["title"], &json["parts"][0]["measured"]), (&"filling".into(), &false.into()));
    assert_eq!(json["parts"][0]["orders_durable_per_s"], 1.0);
    assert_eq!(json["parts"].as_array().unwrap().len(), 2);
}

#[test]
fn ratios_are_to_the_mean_of_both_sides_and_absent_sides_are_null() {
    let json = serde_json::to_value(report(Findings::default(), true)).unwrap();
    assert_eq!(json["ratio_to_evalsha"], 0.5);
    assert_eq!(json["baselines"]["evalsha_per_s"]["mean"], 200.0);
    assert_eq!(json["baselines"]["evalsha_per_s"]["before"], 150.0);
    assert_eq!(json["baselines"]["evalsha_per_s"]["spread_percent"], 50.0);
    assert_eq!(json["ratio_to_fixed_answer"], 0.5);
    assert!(json["baselines"]["fixed_answer_per_s"]["after"].is_null());
    assert_eq!(json["engine_memory_peak_bytes"], 20 << 20);
    let table = report(Findings::default(), true).to_string();
    assert!(table.contains("accepted is 0.50 of it (0.40 to 0.67)"), "{table}");
    assert!(table.contains("NOT MEASURED    the fixed answer: gone"), "{table}");
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

#[test]
fn what_a_deployment_does_not_have_is_null_and_the_table_says_so() {
    let (setup, mut outcome) = run(Findings::default(), true);
    outcome.baselines.evalsha_per_s = None;
    outcome.parts.iter_mut().for_each(|part| part.processes = crate::timeline::ONE_PROCESS);
    let report = Report::new(setup, outcome).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["baselines"]["evalsha_per_s"].is_null() && json["ratio_to_evalsha"].is_null());
    let table = report.to_string();
    assert!(table.contains("raw EVALSHA     not in this deployment"), "{table}");
    assert!(table.contains("generator 10.0, engine 5.0; all but the generator 5.0\n"), "{table}");
    assert!(table.contains("one process") && !table.contains("redis"), "{table}");
}

/// What is paid is told by names of its own, and a cent that is not accounted for is damage.
#[test]
fn a_life_is_told_where_orders_are_paid_and_its_damage_is_the_runs() {
    let none = report(Findings::default(), true);
    assert!(serde_json::to_value(&none).unwrap().get("money_difference").is_none());
    let told = |damage: Vec<String>| {
        let (setup, mut outcome) = run(Findings::default(), true);
        let ms = |ms| Some(Duration::from_millis(ms));
        let phase = PhaseOutcome { title: "all", lasted: Duration::from_secs(2), cpu: [ms(1); 8] };
        outcome.life = Some(LifeOutcome {
            orders: 10,
            judgement: Judgement { paid: 5, damage, ..Judgement::default() },
            again: 0,
            wrong: BTreeMap::new(),
            pay_latency: None,
            phases: vec![phase],
            processes: 8,
        });
        Report::new(setup, outcome).unwrap()
    };
    let clean = told(vec![]);
    assert!(clean.is_clean());
    let json = serde_json::to_value(&clean).unwrap();
    for name in "paid expired cancelled refunded money_received money_refunded money_difference".split(' ') {
        assert!(json.get(name).is_some(), "{name}");
    }
    assert_eq!((&json["cpu_us_per_paid_order"]["bank"], &json["phases"][0]["seconds"]), (&200.0.into(), &2.0.into()));
    let text = clean.to_string();
    assert!(text.contains("5 paid") && text.contains("bank 200.0; all but the generator 1400.0"), "{text}");
    let harmed = told(vec!["a cent is missing".into()]);
    assert!(!harmed.is_clean() && harmed.to_string().contains("a cent is missing"));
}
