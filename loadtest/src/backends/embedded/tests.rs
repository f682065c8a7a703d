//! What the pages say is read strictly: an audit that overlooks a line finds nothing.

use super::*;

fn id<T: TryFrom<u64>>(number: u64) -> T
where
    T::Error: std::fmt::Debug,
{
    T::try_from(number).unwrap()
}

#[test]
fn live_purchases_are_entries_and_released_ones_are_none() {
    let live = EntryEvidence { lane: id(5), buyer: id(7), order: id(900), offer: id(9), quantity: 2 };
    assert_eq!(entries("7 900 9 2 1\n7 901 9 1 0\n", id(5)), Ok(vec![live]));
    assert_eq!(entries("", id(5)), Ok(vec![]));
    for bad in ["7 900 9 2", "7 900 9 2 1 1", "0 900 9 2 1", "7 900 9 two 1", "7  900 9 2 1", "x"] {
        assert_eq!(entries(&format!("7 900 9 2 1\n{bad}\n"), id(5)), Err(bad));
    }
}

#[test]
fn a_lane_that_the_page_does_not_tell_is_not_open() {
    let page = r#"[{"lane":"5001","mode":"open","epoch":3,"journal":["77"],"buyers":12,
        "offers":[{"offer":"9001","left":99,"allotment":100}]},
        {"lane":"5002","mode":"closed","epoch":0,"journal":[],"buyers":0,"offers":[]}]"#;
    let known = seen(serde_json::from_str(page).unwrap(), &[id(5003), id(5001), id(5002)]).unwrap();
    assert_eq!(known[1], LaneSeen { open: true, left: vec![(id(9001), 99)], journal: vec![id(77)] });
    assert_eq!((&known[0], &known[2]), (&LaneSeen::default(), &LaneSeen::default()));
}

#[test]
fn a_folder_tells_who_serves_it_and_signs_as_it_expects() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    let data = DataFolder::new(folder.path());
    let error = data.running().unwrap_err().to_string();
    assert!(error.contains("server.json") && error.contains("flashsale serve"), "{error}");
    write("server.json", r#"{"pid":42,"listen":"127.0.0.1:8080","admin":"127.0.0.1:8081"}"#);
    let Running { pid, listen, admin } = data.running().unwrap();
    assert_eq!((pid, listen.port(), admin.port()), (42, 8_080, 8_081));
    write("token.key", "kid = \"a\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"\n");
    write("control.key", "word\n");
    assert!(data.signer().is_ok());
    assert_eq!(data.control_key().unwrap(), "word");
}

/// What is under way is known as the load test counts it.
#[test]
fn standing_is_read_by_its_names() {
    let known = r#"{"sold":5,"lag":2,"journal":1,"outstanding":["lane 5: 1 journal entries"]}"#;
    let snapshot: Snapshot = serde_json::from_str(known).unwrap();
    assert_eq!((snapshot.sold, snapshot.lag, snapshot.journal, snapshot.outstanding.len()), (5, 2, 1, 1));
}
