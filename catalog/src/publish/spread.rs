//! Which partition a new lane gets. A published lane keeps its own; a chosen one stands in the sale
//! from then on.

use domain::{id::PartitionId, sale::Sale};

use crate::{
    file::{Draft, DraftLane},
    published::newest_of_all,
};

/// For each lane of the draft: the partition it asks for, or the published one, or the one with the
/// fewest lanes of sales that have not ended, the lowest of several.
pub(super) fn partitions_of_lanes(
    draft: &Draft,
    published: &[Sale],
    previous: Option<&Sale>,
    partitions: u32,
    now_ms: u64,
) -> Vec<PartitionId> {
    let fixed: Vec<Option<PartitionId>> =
        draft.lanes.iter().map(|lane| lane.partition.or_else(|| published_partition(lane, previous))).collect();
    let others = newest_of_all(published)
        .filter(|sale| sale.id != draft.id && now_ms < sale.window.closes_at_ms)
        .flat_map(|sale| sale.lanes.iter().map(|lane| lane.partition));
    let mut lanes_on = vec![0_u64; usize::try_from(partitions).unwrap_or(usize::MAX)];
    for partition in others.chain(fixed.iter().flatten().copied()) {
        count(&mut lanes_on, partition);
    }
    let settle = |fixed: Option<PartitionId>| {
        fixed.unwrap_or_else(|| {
            let emptiest = (0..).zip(&lanes_on).min_by_key(|(_, lanes)| **lanes);
            let partition = PartitionId(emptiest.map_or(0, |(number, _)| number));
            count(&mut lanes_on, partition);
            partition
        })
    };
    fixed.into_iter().map(settle).collect()
}

fn published_partition(lane: &DraftLane, previous: Option<&Sale>) -> Option<PartitionId> {
    previous?.lanes.iter().find(|known| known.id == lane.id).map(|known| known.partition)
}

fn count(lanes_on: &mut [u64], partition: PartitionId) {
    // One that is out of range is a flaw that validation finds.
    let lanes = usize::try_from(partition.0).ok().and_then(|index| lanes_on.get_mut(index));
    if let Some(lanes) = lanes {
        *lanes += 1;
    }
}
