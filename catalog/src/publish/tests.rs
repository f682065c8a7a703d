//! Goal: what is published binds, and everything else may change. Method: the example published,
//! then a draft that differs in one thing.

use domain::{
    id::{LaneId, PartitionId},
    sale::{Lane, SubjectKind},
    shard::ShardMap,
};

use super::*;
use crate::{EXAMPLE, file::parse};

const PARTITIONS: u32 = 4;
const BEFORE_MS: u64 = 1_795_000_000_000;
const AFTER_MS: u64 = 1_795_320_000_000;

fn published() -> Sale {
    plan(&parse(EXAMPLE).unwrap(), &[], PARTITIONS, BEFORE_MS).unwrap()
}

/// The plan of the example with these texts replaced, on top of the example published.
fn changed(replacements: &[(&str, &str)]) -> Result<Sale, Vec<String>> {
    changed_on(&[published()], replacements)
}

fn changed_on(published: &[Sale], replacements: &[(&str, &str)]) -> Result<Sale, Vec<String>> {
    let text = replacements.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let told = |flaws: Vec<Flaw>| flaws.iter().map(ToString::to_string).collect();
    plan(&parse(&text).map_err(told)?, published, PARTITIONS, BEFORE_MS).map_err(told)
}

fn refused(replacements: &[(&str, &str)]) -> Vec<String> {
    changed(replacements).unwrap_err()
}

/// A sale of somebody else, each lane with one offer; ids follow from `id`.
fn other_sale(id: u64, closes_at_ms: u64, partitions: &[u32]) -> Sale {
    let example = published();
    let mut lanes = Vec::new();
    for (number, partition) in (1_u64..).zip(partitions) {
        let mut lane = Lane { partition: PartitionId(*partition), ..example.lanes[0].clone() };
        lane.id = LaneId::new(id * 1_000 + number).unwrap();
        lane.offers.truncate(1);
        lane.offers[0].id = domain::id::OfferId::new(id * 1_000 + number).unwrap();
        lanes.push(lane);
    }
    let mut sale = Sale { id: domain::id::SaleId::new(id).unwrap(), lanes, ..example };
    sale.window.closes_at_ms = closes_at_ms;
    sale
}

#[test]
fn the_first_version_is_1() {
    assert_eq!(published().version, 1);
    assert_eq!(changed_on(&[], &[("# version = 1", "version = 1")]).unwrap().version, 1);
    let told = changed_on(&[], &[("# version = 1", "version = 7")]).unwrap_err();
    assert_eq!(told, ["line 9: version: is 7; the first version is 1; give that, or leave it out"]);
    assert_eq!(published().shard_map_version, ShardMap::even(2, 4).unwrap().version());
}

#[test]
fn the_same_content_is_the_same_publication() {
    assert_eq!(changed(&[]).unwrap(), published());
    assert_eq!(changed(&[("# version = 1", "version = 1")]).unwrap(), published());
    assert_eq!(changed(&[("# version = 1", "version = 2")]).unwrap(), Sale { version: 2, ..published() });
}

/// Also not a higher one: who publishes the last number there is locks the sale for ever.
#[test]
fn a_version_is_the_next_one() {
    let second = Sale { version: 5, title: "Second".into(), ..published() };
    let both = [published(), second];
    assert_eq!(changed_on(&both, &[]).unwrap().version, 6);
    let told = |asked: &str| changed_on(&both, &[("# version = 1", asked)]).unwrap_err();
    assert_eq!(told("version = 4"), ["line 9: version: is 4, but 5 is published; give 6, or leave it out"]);
    assert_eq!(told("version = 5"), ["line 9: version: 5 is published with other content; give 6, or leave it out"]);
    assert_eq!(
        told("version = 4294967295"),
        ["line 9: version: is 4294967295, but 5 is published; give 6, or leave it out"]
    );
    assert_eq!(changed_on(&both, &[("# version = 1", "version = 6")]).unwrap().version, 6);
    let last = [Sale { version: u32::MAX, title: "Last".into(), ..published() }];
    assert_eq!(
        changed_on(&last, &[]).unwrap_err(),
        ["version: cannot be raised: 4294967295 is published, and it is the last"]
    );
}

#[test]
fn window_pause_titles_prices_rates_and_allotments_may_change() {
    let sale = changed(&[
        ("Winter", "Spring"),
        ("2026-11-21T04:00:00Z", "2026-11-20T04:00:00Z"),
        ("# paused = false", "paused = true"),
        ("buyer_rate_per_s = 20", "buyer_rate_per_s = 21"),
        ("amount = 19900", "amount = 18900"),
        ("allotment = 100000", "allotment = 90000"),
        ("rate_per_s = 1000000 ", "rate_per_s = 5 "),
    ])
    .unwrap();
    assert_eq!((sale.version, sale.paused, sale.lanes[0].offers[0].allotment), (2, true, 90_000));
}

/// Whom a limit counts binds, like the limit; to whom a sale sells does not.
#[test]
fn what_a_limit_counts_stays_and_members_may_become_everybody() {
    let members = Sale { limit_by: SubjectKind::Phone, members_only: true, ..published() };
    let change = |limit_by| changed_on(std::slice::from_ref(&members), &[("# limit_by = \"account\"", limit_by)]);
    let refused = ["line 23: limit_by: is \"id_hash\"; \"phone\" is published and stays"];
    assert_eq!(change("limit_by = \"id_hash\"").unwrap_err(), refused);
    assert_eq!(change("").unwrap_err(), ["limit_by: is \"account\"; \"phone\" is published and stays"]);
    let opened = change("limit_by = \"phone\"").unwrap();
    assert_eq!((opened.version, opened.members_only), (2, false));
}

#[test]
fn lanes_and_offers_may_be_added() {
    let added = format!(
        "{EXAMPLE}\n[[lanes.offers]]\nid=9003\nsku=79\ntitle='Green'\nprice={{amount=1,currency='CNY'}}\nallotment=1\n\
         rate_per_s=1\n[[lanes]]\nid=5002\nlimit_per_buyer=2\n[[lanes.offers]]\nid=9004\nsku=80\ntitle='Lid'\n\
         price={{amount=1,currency='EUR'}}\nallotment=1\nrate_per_s=1\n"
    );
    let sale = plan(&parse(&added).unwrap(), &[published()], PARTITIONS, BEFORE_MS).unwrap();
    assert_eq!((sale.version, sale.lanes[0].offers.len(), sale.lanes[1].partition), (2, 3, PartitionId(1)));
}

#[test]
fn a_tenant_stays() {
    assert_eq!(
        refused(&[("tenant = \"7\"", "tenant = 8")]),
        ["line 5: tenant: is 8; the sale is tenant 7's and stays so"]
    );
}

#[test]
fn a_lane_stays_on_its_partition() {
    let asked = [("# partition = 0", "partition = 1")];
    assert_eq!(
        refused(&asked),
        ["line 33: lanes[0].partition: is 1; the lane is published on partition 0 and stays there"]
    );
    let mut elsewhere = published();
    elsewhere.lanes[0].partition = PartitionId(3);
    assert_eq!(changed_on(&[elsewhere], &[]).unwrap().lanes[0].partition, PartitionId(3));
}

/// R16: it changes by a record, whatever sells.
#[test]
fn a_published_limit_may_change() {
    let changed = changed_on(&[published()], &[("limit_per_buyer = 1", "limit_per_buyer = 2")]).unwrap();
    assert_eq!(changed.lanes[0].limit_per_buyer, 2);
}

#[test]
fn an_offer_keeps_its_currency() {
    assert_eq!(
        refused(&[("\"CNY\"", "\"EUR\"")]),
        ["line 40: lanes[0].offers[0].price.currency: is EUR; the offer is published in CNY and stays so"]
    );
}

#[test]
fn an_offer_may_not_vanish() {
    assert_eq!(
        refused(&[("id = \"9002\"", "id = \"9003\"")]),
        ["line 36: lanes[0].offers: offer 9002 of lane 5001 is published and may not vanish"]
    );
}

#[test]
fn an_offer_may_not_move_and_a_lane_may_not_vanish() {
    assert_eq!(
        refused(&[("id = \"5001\"", "id = \"5002\"")]),
        [
            "line 29: lanes: lane 5001 is published and may not vanish; close it with paused or closes_at",
            "line 37: lanes[0].offers[0].id: 9001 is published in lane 5001 and stays there",
            "line 45: lanes[0].offers[1].id: 9002 is published in lane 5001 and stays there",
        ]
    );
}

#[test]
fn lanes_and_offers_belong_to_one_sale() {
    assert_eq!(
        refused(&[("id = \"1001\"", "id = \"1002\"")]),
        [
            "line 30: lanes[0].id: 5001 is a lane of sale 1001",
            "line 37: lanes[0].offers[0].id: 9001 is an offer of sale 1001",
            "line 45: lanes[0].offers[1].id: 9002 is an offer of sale 1001",
        ]
    );
}

#[test]
fn a_partition_must_be_one_of_the_log() {
    let asked = [("# partition = 0", "partition = 4")];
    let expected = "line 33: lanes[0].partition: is 4; the order log has 4 partitions, counted from 0";
    assert_eq!(changed_on(&[], &asked).unwrap_err(), [expected]);
}

#[test]
fn every_broken_rule_is_told_at_once() {
    let told = refused(&[
        ("tenant = \"7\"", "tenant = 8"),
        ("# version = 1", "version = 1"),
        ("# partition = 0", "partition = 9"),
        ("\"CNY\"", "\"EUR\""),
        ("id = \"9002\"", "id = \"9003\""),
    ]);
    assert_eq!(told.len(), 6, "the partition is both another one and none of the log: {told:#?}");
}

#[test]
fn a_new_lane_gets_the_partition_with_the_fewest_lanes_and_the_lowest_of_several() {
    let partition_on = |published: &[Sale]| changed_on(published, &[]).unwrap().lanes[0].partition.0;
    assert_eq!(partition_on(&[]), 0);
    assert_eq!(partition_on(&[other_sale(1, AFTER_MS, &[0])]), 1);
    assert_eq!(partition_on(&[other_sale(1, AFTER_MS, &[0, 1]), other_sale(2, AFTER_MS, &[0, 1, 3])]), 2);
    let ended = other_sale(1, BEFORE_MS, &[0, 0]);
    assert_eq!(partition_on(&[ended, other_sale(2, BEFORE_MS + 1, &[1])]), 0, "ended sales do not count");
    let older = other_sale(1, AFTER_MS, &[0]);
    let newer = Sale { version: 2, ..other_sale(1, AFTER_MS, &[1]) };
    assert_eq!(partition_on(&[newer, older]), 0, "only the newest version counts");
}

#[test]
fn the_lanes_of_one_sale_spread_around_those_that_are_fixed() {
    let (head, lane) = EXAMPLE.split_once("[[lanes]]").unwrap();
    let mut text = head.to_owned();
    for number in 1..=6 {
        let fixed = if number == 6 { "partition = 0" } else { "" };
        let ids = [("5001", 5000), ("9001", 6000), ("9002", 7000)];
        let lane = ids.iter().fold(lane.to_owned(), |lane, (from, to)| lane.replace(from, &(to + number).to_string()));
        text.push_str(&format!("[[lanes]]{}", lane.replace("# partition = 0", fixed)));
    }
    let sale = plan(&parse(&text).unwrap(), &[], PARTITIONS, BEFORE_MS).unwrap();
    let partitions: Vec<u32> = sale.lanes.iter().map(|lane| lane.partition.0).collect();
    assert_eq!(partitions, [1, 2, 3, 0, 1, 0]);
}
