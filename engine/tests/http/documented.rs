//! Holds answers against `engine/openapi.json`: status, media type, headers and body are as
//! documented. Stricter than JSON Schema in one thing: a member that the document does not name is
//! an error. A keyword that is not known here ends the test.

use std::sync::LazyLock;

use hyper::{HeaderMap, Method};
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("../../openapi.json")).unwrap());

/// Whether an answer is as documented; if not, what is not.
pub(crate) fn check(
    method: &Method,
    path: &str,
    (status, headers, body): (u16, &HeaderMap, &Value),
) -> Result<(), String> {
    let asked = format!("{method} {path}: {status}");
    let Some(operation) = operation(method, path) else {
        let is_refused = matches!(status, 404 | 405);
        return is_refused.then_some(()).ok_or(format!("{asked} of a route that is not documented"));
    };
    let response = &operation["responses"][status.to_string()];
    if !response.is_object() {
        return Err(format!("{asked} is not documented"));
    }
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let sent = headers.get(name).and_then(|value| value.to_str().ok());
        let may_lack = header["description"].as_str().is_some_and(|told| told.starts_with("Of "));
        let is_number = header["schema"]["type"] == "integer";
        if sent.map_or(!may_lack, |sent| is_number && sent.parse::<u64>().is_err()) {
            return Err(format!("{asked}: {name} is {sent:?}"));
        }
    }
    let Some(content) = response["content"].as_object() else {
        let is_empty = body.is_null();
        return is_empty.then_some(()).ok_or(format!("{asked} has no body in the document: {body}"));
    };
    let media = headers.get("content-type").and_then(|media| media.to_str().ok()).unwrap_or("none");
    let schema = content.get(media).ok_or(format!("{asked} is not documented as {media}"))?;
    if *method == Method::HEAD {
        return Ok(());
    }
    conforms(body, &schema["schema"], "").map_err(|flaw| format!("{asked}: {flaw}\n{body}"))
}

/// GET answers HEAD, and names in braces stand for any part.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next()?;
    let is_of = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        let fits = |(of, part): (&&str, &&str)| of == part || (of.starts_with('{') && !part.is_empty());
        pattern.len() == path.len() && pattern.iter().zip(&path).all(fits)
    };
    let (_, operations) = DOCUMENT["paths"].as_object()?.iter().find(|(pattern, _)| is_of(pattern))?;
    let method = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    operations.get(method)
}

fn conforms(value: &Value, schema: &Value, at: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or_else(|| format!("{at}: no schema"))?;
    for (keyword, says) in schema {
        let holds = match keyword.as_str() {
            "description" | "example" | "format" => true,
            "$ref" => {
                let name = says.as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
                conforms(value, &DOCUMENT["components"]["schemas"][name.unwrap_or_default()], at)?;
                true
            }
            "type" => is_of_type(value, says),
            "minimum" => value.as_i64() >= says.as_i64(),
            "maximum" => value.as_i64() <= says.as_i64(),
            // There is one pattern in answers: that of a trace id.
            "pattern" if says == "^[0-9a-f]{32}$" => {
                let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                value.as_str().is_some_and(|text| text.len() == 32 && text.bytes().all(is_digit))
            }
            "required" => {
                let mut names = says.as_array().into_iter().flatten();
                names.all(|name| value.get(name.as_str().unwrap_or_default()).is_some())
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    let Some(of) = says.get(name) else { return Err(format!("{at}.{name} is not documented")) };
                    conforms(member, of, &format!("{at}.{name}"))?;
                }
                true
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    conforms(item, says, &format!("{at}[]"))?;
                }
                true
            }
            unknown => return Err(format!("{at}: what `{unknown}` asks is not known to this test")),
        };
        if !holds {
            return Err(format!("{at}: {value} is not what `{keyword}` asks: {says}"));
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, says: &Value) -> bool {
    match says.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        _ => says.as_array().is_some_and(|types| types.iter().any(|says| is_of_type(value, says))),
    }
}

/// The rule itself: a member too many, one too few, another type and another status are seen.
#[test]
fn an_answer_that_is_not_as_documented_is_seen() {
    let schema = &DOCUMENT["components"]["schemas"]["Time"];
    let good = serde_json::json!({"server_time": "2027-01-15T08:00:00.000Z", "epoch_ms": 1});
    assert_eq!(conforms(&good, schema, ""), Ok(()));
    for (name, value) in [("epoch_ms", "1".into()), ("server_time", Value::Null), ("zone", "UTC".into())] {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(conforms(&bad, schema, "").is_err(), "{bad}");
    }
    assert!(conforms(&serde_json::json!({"epoch_ms": 1}), schema, "").is_err());
    assert!(operation(&Method::HEAD, "/v1/orders/7?x=/").is_some());
    assert!(operation(&Method::GET, "/v1/orders/").is_none() && operation(&Method::PUT, "/v1/time").is_none());
}
