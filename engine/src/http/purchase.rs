//! The body of `POST /v1/orders`, strictly: an object of these members, each once, each of its
//! type.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use domain::{
    id::OfferId,
    money::{AMOUNT_MAX, Money},
    record::CONTEXT_MAX,
    sale::LIMIT_MAX,
};
use kit::problem::{Code, Problem};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::purchase::Quantity;

/// Largest body. A good one has some 400 bytes, context included; room for spaces and escapes
/// beyond that would only be memory that slow clients hold.
pub(super) const PURCHASE_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(PURCHASE_BYTES_MAX >= 8 * CONTEXT_MAX && PURCHASE_BYTES_MAX <= kit::http::BODY_BYTES_MAX);

const OFFER_ID: &str = "offer_id";
const QUANTITY: &str = "quantity";
const EXPECTED_PRICE: &str = "expected_price";
const CONTEXT: &str = "context";
const MEMBERS: [&str; 4] = [OFFER_ID, QUANTITY, EXPECTED_PRICE, CONTEXT];
const OPTIONAL: [&str; 2] = [EXPECTED_PRICE, CONTEXT];

/// A purchase as the body tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PurchaseBody {
    pub(super) offer: OfferId,
    pub(super) quantity: Quantity,
    pub(super) expected_price: Option<Money>,
    pub(super) context: Bytes,
}

/// A price as a buyer saw it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExpectedPrice)]
pub(crate) struct ExpectedPrice<'a> {
    /// Of one unit, in minor units.
    #[schema(minimum = 0, maximum = 9007199254740991_i64, example = 9900)]
    amount: i64,
    #[serde(borrow)]
    #[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "CNY")]
    currency: Cow<'a, str>,
}

impl ExpectedPrice<'_> {
    fn read(raw: &str) -> Option<Money> {
        // A list of the same values would be read as the object.
        let read: ExpectedPrice<'_> = raw.starts_with('{').then(|| serde_json::from_str(raw).ok())??;
        (0..=AMOUNT_MAX).contains(&read.amount).then_some(())?;
        Some(Money { amount: read.amount, currency: read.currency.parse().ok()? })
    }
}

/// A purchase. Strict: no other members, each at most once.
// Read in one pass, without a copy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurchaseRequest<'a> {
    /// What.
    #[serde(borrow)]
    #[schema(value_type = String, example = "9001", pattern = "^[1-9][0-9]{0,18}$")]
    offer_id: Cow<'a, str>,
    /// How many units.
    #[schema(minimum = 1, maximum = 100, example = 1)]
    quantity: u32,
    /// The price of one unit that the buyer saw: at another one nothing is bought.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<ExpectedPrice<'static>>, nullable = false)]
    expected_price: Option<&'a RawValue>,
    /// An object of at most 256 bytes as sent: address id, referral touch, coupon. Kept with the
    /// order.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>, nullable = false)]
    context: Option<&'a RawValue>,
}

/// A member that is there, `null` included: only its absence means that there is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl PurchaseBody {
    /// Reads a body.
    ///
    /// # Errors
    /// A problem that names every wrong member.
    pub(super) fn read(sent: &Bytes) -> Result<Self, Box<Problem>> {
        Self::read_good(sent).ok_or_else(|| Box::new(explain(sent)))
    }

    fn read_good(sent: &Bytes) -> Option<Self> {
        // A list of the same values would be read as the object.
        if sent.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        let read: PurchaseRequest<'_> = serde_json::from_slice(sent).ok()?;
        let context = match read.context.map(RawValue::get) {
            None => Bytes::new(),
            Some(raw) => context(raw).then(|| sent.slice_ref(raw.as_bytes()))?,
        };
        let expected_price = match read.expected_price.map(RawValue::get) {
            None => None,
            Some(raw) => Some(ExpectedPrice::read(raw)?),
        };
        let (offer, quantity) = (read.offer_id.parse().ok()?, Quantity::new(read.quantity)?);
        Some(Self { offer, quantity, expected_price, context })
    }
}

fn context(raw: &str) -> bool {
    raw.starts_with('{') && raw.len() <= CONTEXT_MAX
}

/// All members as they came, repeated ones too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}

/// What is wrong with a body that was not good.
fn explain(sent: &[u8]) -> Problem {
    let members = match serde_json::from_slice::<Members<'_>>(sent) {
        Ok(Members(members)) => members,
        // Where, but not what: serde would repeat all that was sent.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let detail = format!("the body is not a JSON object; look at line {line}, column {column}");
            return Problem::new(Code::InvalidRequest, detail);
        }
    };
    let mut problem = Problem::new(Code::InvalidRequest, "the body is not a purchase");
    let mut seen = [0_u32; MEMBERS.len()];
    for (name, _) in &members {
        match MEMBERS.iter().position(|known| known == name) {
            Some(at) => seen[at] += 1,
            // Named once, and not at any length: it came from outside.
            None => problem = problem.with_field(name.chars().take(64).collect::<String>(), "there is no such member"),
        }
        if problem.field_errors.len() >= 8 {
            return problem;
        }
    }
    for (name, times) in MEMBERS.into_iter().zip(seen) {
        let raw = members.iter().find(|(known, _)| known == name).map(|(_, raw)| raw.get());
        let wrong = match (times, raw) {
            (0, _) if OPTIONAL.contains(&name) => None,
            (0, _) | (_, None) => Some("is missing".to_owned()),
            (1, Some(raw)) => flaw(name, raw),
            _ => Some("came more than once".to_owned()),
        };
        if let Some(wrong) = wrong {
            problem = problem.with_field(name, wrong);
        }
    }
    problem
}

fn flaw(name: &str, raw: &str) -> Option<String> {
    match name {
        OFFER_ID => {
            let id = serde_json::from_str::<String>(raw).ok().and_then(|text| text.parse::<OfferId>().ok());
            id.is_none().then(|| "must be an offer's id: a string of decimal digits".to_owned())
        }
        QUANTITY => {
            let quantity = serde_json::from_str::<u32>(raw).ok().and_then(Quantity::new);
            quantity.is_none().then(|| format!("must be a whole number from 1 to {LIMIT_MAX}"))
        }
        EXPECTED_PRICE => {
            let is_wrong = ExpectedPrice::read(raw).is_none();
            is_wrong.then(|| "must be an object of `amount`, in minor units, and `currency`, of ISO 4217".to_owned())
        }
        _ => (!context(raw)).then(|| format!("must be an object of at most {CONTEXT_MAX} bytes")),
    }
}

#[cfg(test)]
mod random;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<PurchaseBody, Box<Problem>> {
        PurchaseBody::read(&Bytes::copy_from_slice(body.as_bytes()))
    }

    fn wrong_fields(body: &str) -> Vec<String> {
        read(body).unwrap_err().field_errors.into_iter().map(|error| error.field.into_owned()).collect()
    }

    #[test]
    fn a_good_body_is_read_and_its_context_kept_as_sent() {
        let body = read(r#" {"quantity": 2, "offer_id": "42", "context": { "a":[1, 2]}}"#).unwrap();
        assert_eq!((body.offer.get(), body.quantity.get()), (42, 2));
        assert_eq!(body.context, r#"{ "a":[1, 2]}"#);
        assert_eq!(body.expected_price, None);
        let priced = r#"{"offer_id":"42","quantity":1,"expected_price":{"amount":9900,"currency":"CNY"}}"#;
        let price = Money { amount: 9_900, currency: "CNY".parse().unwrap() };
        assert_eq!(read(priced).unwrap().expected_price, Some(price));
        assert_eq!(read(r#"{"offer_id":"\u0034\u0032","quantity":1}"#).unwrap().offer.get(), 42);
        let longest = format!(r#"{{"x":"{}"}}"#, "y".repeat(CONTEXT_MAX - 8));
        assert_eq!(longest.len(), CONTEXT_MAX);
        assert!(read(&format!(r#"{{"offer_id":"42","quantity":100,"context":{longest}}}"#)).is_ok());
    }

    #[test]
    fn every_wrong_member_is_named() {
        for (body, fields) in [
            ("{}", vec!["offer_id", "quantity"]),
            (r#"{"offer_id":42,"quantity":1}"#, vec!["offer_id"]),
            (r#"{"offer_id":"042","quantity":"1"}"#, vec!["offer_id", "quantity"]),
            (r#"{"offer_id":"42","quantity":0}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":101}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1.0}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1.5}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":-0}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1e400}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":4294967297}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":9223372036854775808}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1,"quantit\u0079":1}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":-1}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":99999999999}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1,"context":null}"#, vec!["context"]),
            (r#"{"offer_id":"42","quantity":1,"context":"x"}"#, vec!["context"]),
            (r#"{"offer_id":"42","quantity":1,"price":1}"#, vec!["price"]),
            (r#"{"offer_id":"42","quantity":1,"expected_price":1}"#, vec!["expected_price"]),
            (r#"{"offer_id":"42","quantity":1,"expected_price":null}"#, vec!["expected_price"]),
            (r#"{"offer_id":"42","quantity":1,"expected_price":[1,"CNY"]}"#, vec!["expected_price"]),
            (r#"{"offer_id":"42","quantity":1,"expected_price":{"amount":1}}"#, vec!["expected_price"]),
            (
                r#"{"offer_id":"42","quantity":1,"expected_price":{"amount":-1,"currency":"CNY"}}"#,
                vec!["expected_price"],
            ),
            (
                r#"{"offer_id":"42","quantity":1,"expected_price":{"amount":1,"currency":"cny"}}"#,
                vec!["expected_price"],
            ),
            (r#"{"offer_id":"42","quantity":1,"quantity":1}"#, vec!["quantity"]),
            (r#"{"offer_id":"42","quantity":1,"context":{},"context":{}}"#, vec!["context"]),
        ] {
            assert_eq!(wrong_fields(body), fields, "{body}");
        }
        let long = format!(r#"{{"offer_id":"42","quantity":1,"context":{{"x":"{}"}}}}"#, "y".repeat(CONTEXT_MAX));
        assert_eq!(wrong_fields(&long), ["context"]);
    }

    #[test]
    fn what_is_no_object_is_told_so() {
        for body in [
            "",
            "null",
            "[]",
            r#"["42",1]"#,
            r#"{"offer_id":"42","quantity":1"#,
            r#"{"offer_id":"42","quantity":1}x"#,
            "{a:1}",
        ] {
            let problem = read(body).unwrap_err();
            assert_eq!(problem.code, Code::InvalidRequest);
            assert!(problem.detail.contains("not a JSON object"), "{body}: {}", problem.detail);
        }
        let long = format!("\"{}\"", "x".repeat(4_000));
        assert!(read(&long).unwrap_err().detail.len() < 100, "nothing is repeated at length");
        assert!(PurchaseBody::read(&Bytes::from_static(b"{\"offer_id\":\"\xff\",\"quantity\":1}")).is_err());
    }
}
