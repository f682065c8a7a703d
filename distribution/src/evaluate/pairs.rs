//! A map whose keys are pairs, as a list in JSON: `[["rule", 7, 100]]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

type Map = BTreeMap<(String, u64), i64>;

pub(super) fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
    let list: Vec<_> = map.iter().map(|((rule, person), amount)| (rule, person, amount)).collect();
    list.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
    let list = Vec::<(String, u64, i64)>::deserialize(from)?;
    Ok(list.into_iter().map(|(rule, person, amount)| ((rule, person), amount)).collect())
}
