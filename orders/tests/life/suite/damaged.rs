//! Goal: nothing in the topic stops the list of orders for ever.

use domain::{namespace::Namespace, record::ORDER_EVENTS_TYPE, record::Topic};
use store::sql::{Server as _, Sql as _};

use super::{
    follow::{Followed, falling},
    rig::PARTITION,
};

/// A damaged record between sound ones is parked with its cause, and the list has the others; one
/// of a newer program waits.
#[tokio::test]
async fn a_damaged_record_is_parked_and_the_list_has_the_others() {
    let mut shop = Followed::start().await;
    let (before, after) = (shop.rows(1..=10), shop.rows(11..=20));
    shop.place(&before).await;
    shop.append(ORDER_EVENTS_TYPE, vec![0xff; 9]).await;
    shop.place(&after).await;
    shop.append("flashsale.tomorrow.v1", vec![]).await;
    let waiting = shop.rows(21..=30);
    shop.place(&waiting).await;
    let _following = shop.follow();
    let all = [before, after].concat();
    assert_eq!(shop.listed(all.len()).await, falling(&all));
    let query = "SELECT topic, partition_id, log_offset, kind, cause FROM parked_records WHERE consumer = 'order_list'";
    let name = Namespace::new(&shop.rig.place.namespace()).unwrap().listing();
    let parked = shop.rig.place.server().open(&name).rows(query, vec![]).await.unwrap();
    let [mut parked] = <[_; 1]>::try_from(parked).unwrap();
    assert_eq!(parked.text().unwrap(), Topic::OrderEvents.name());
    assert_eq!((parked.int().unwrap(), parked.int().unwrap()), (PARTITION.0.into(), 1));
    assert_eq!(parked.text().unwrap(), ORDER_EVENTS_TYPE);
    assert!(parked.text().unwrap().contains("malformed"));
}
