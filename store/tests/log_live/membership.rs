//! Membership: partitions are shared, and taken over from who leaves.

use std::collections::BTreeSet;

use domain::id::PartitionId;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::AdminOptions,
    consumer::{BaseConsumer, Consumer},
};
use store::log::{
    Membership, MembershipEvent,
    kafka::{KafkaMembership, KafkaSettings},
};

use super::*;

async fn assigned(member: &mut KafkaMembership, owned: &mut BTreeSet<PartitionId>) {
    match member.next().await.unwrap() {
        MembershipEvent::Assigned(partitions) => owned.extend(partitions),
        MembershipEvent::Revoked(partitions) => partitions.iter().for_each(|partition| {
            assert!(owned.remove(partition), "{partition} was told before");
        }),
    }
}

#[tokio::test]
async fn members_share_the_partitions_and_take_over_from_who_leaves() {
    on_fresh_topics(async |settings| {
        let all: BTreeSet<_> = (0..PARTITIONS).map(PartitionId).collect();
        let (mut first, mut firsts) = (KafkaMembership::join(&settings).unwrap(), BTreeSet::new());
        while firsts != all {
            assigned(&mut first, &mut firsts).await;
        }
        let (mut second, mut seconds) = (KafkaMembership::join(&settings).unwrap(), BTreeSet::new());
        while firsts.len() != 2 || seconds.len() != 2 {
            tokio::select! {
                () = assigned(&mut first, &mut firsts) => {}
                () = assigned(&mut second, &mut seconds) => {}
            }
        }
        assert!(firsts.is_disjoint(&seconds));
        first.leave(PATIENCE).await;
        while seconds != all {
            assigned(&mut second, &mut seconds).await;
        }
        second.report(FIRST, 7);
        second.report(PartitionId(99), 7);
        until_committed(&settings, 7).await;
        second.leave(PATIENCE).await;
        admin().delete_groups(&[&settings.writers_group()], &AdminOptions::new()).await.unwrap();
    })
    .await;
}

async fn until_committed(settings: &KafkaSettings, offset: i64) {
    let (group, topic) = (settings.writers_group(), settings.orders_topic());
    let look = move || {
        let observer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers()).set("group.id", group).create().unwrap();
        let mut place = TopicPartitionList::new();
        place.add_partition(&topic, 0);
        while observer.committed_offsets(place.clone(), PATIENCE).unwrap().elements()[0].offset()
            != Offset::Offset(offset)
        {
            std::thread::yield_now();
        }
    };
    tokio::task::spawn_blocking(look).await.unwrap();
}
