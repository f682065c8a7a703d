//! A running sale is changed, and every engine hears of it. Two engines; the bound is generous,
//! because this machine does much else: `examples/changes.rs` measures.

use verify::{changes::measure, production::Production};

use super::*;

/// How long a change may take here.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn each_change_is_on_every_engine_in_a_moment() {
    let production = Production::open("changes", &["--lane-settling", "never"]).unwrap();
    let changes = measure(&production).unwrap();
    changes.iter().for_each(|change| println!("{change}"));
    let late: Vec<_> = changes.iter().filter(|change| change.everywhere() > BOUND).collect();
    assert!(late.is_empty(), "{late:?}");
}
