//! The life of a sale on production: `tests/embedded/life.rs` plays the same on one process.

use verify::{life::live, production::Production};

#[test]
fn a_sale_lives_from_a_draft_to_its_settlement_on_servers_whatever_is_killed() {
    let mut production = Production::open("life", &["--lane-settling", "1"]).unwrap();
    live(&mut production).unwrap();
}
