//! Bodies that chance makes: nothing panics, and what is accepted says the same to a parser that
//! knows nothing of purchases.

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;

/// A body that is often good: members in any order, repeated, missing, strange.
fn bodies() -> impl Strategy<Value = String> {
    let names = prop_oneof![4 => Just("offer_id"), 4 => Just("quantity"), 1 => Just("context"), 1 => Just("quantit\\u0079"), 1 => Just("x")];
    let values = prop_oneof![
        4 => (1_u64..1_000).prop_map(|id| format!("\"{id}\"")),
        4 => (-1_i64..103).prop_map(|n| n.to_string()),
        1 => Just("{\"a\":[1e400,\"\\ud800\"]}".to_owned()),
        1 => prop_oneof![Just("null"), Just("1.0"), Just("\"01\""), Just("{}"), Just("[]"), Just("9223372036854775808")]
            .prop_map(str::to_owned),
    ];
    let spaces = "[ \n\t]{0,2}";
    vec((names, spaces, values), 0..4).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, space, value)| format!("\"{name}\":{space}{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn check(body: &[u8]) -> Result<(), TestCaseError> {
    let sent = Bytes::copy_from_slice(body);
    let read = match PurchaseBody::read(&sent) {
        Ok(read) => read,
        Err(problem) => {
            prop_assert_eq!(problem.code, Code::InvalidRequest);
            prop_assert!(problem.detail.len() < 200 && problem.field_errors.len() <= 16);
            return Ok(());
        }
    };
    let is_object = read.context.starts_with(b"{") && read.context.len() <= CONTEXT_MAX;
    prop_assert!(read.context.is_empty() || is_object);
    prop_assert!((1..=LIMIT_MAX).contains(&read.quantity.get()));
    // A number beyond all floats, or half a pair of surrogates, is the context's own business: not
    // every parser takes those.
    if let Ok(value) = serde_json::from_slice::<Value>(&sent) {
        prop_assert_eq!(value["offer_id"].as_str(), Some(&*read.offer.to_string()));
        prop_assert_eq!(value["quantity"].as_u64(), Some(read.quantity.get().into()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes(body in vec(any::<u8>(), 0..400)) {
        check(&body)?;
    }

    #[test]
    fn any_members(body in bodies()) {
        check(body.as_bytes())?;
    }

    /// One byte of a good body, replaced.
    #[test]
    fn a_damaged_body(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut body = br#"{"offer_id":"42","quantity":2,"context":{"a":"b"}}"#.to_vec();
        let at = at.index(body.len());
        body[at] = to;
        check(&body)?;
    }
}
