//! As much of JSON Schema as `plan.schema.json` uses.

use serde_json::Value;

/// The first flaw of a value.
pub(crate) fn flaw(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(to) = schema["$ref"].as_str() {
        return flaw(root, root.pointer(&to[1..]).unwrap(), value);
    }
    if let Some(all) = schema["oneOf"].as_array() {
        let fits = all.iter().filter(|one| flaw(root, one, value).is_none()).count();
        return (fits != 1).then(|| format!("{value} fits {fits} alternatives"));
    }
    let right = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_boolean(),
    };
    let number = |name: &str| schema[name].as_i64();
    let length = value.as_array().map(Vec::len).or(value.as_str().map(str::len));
    let size = value.as_i64().or(length.and_then(|length| i64::try_from(length).ok()));
    let low = number("minimum").or(number("minItems")).or(number("minLength"));
    let high = number("maximum").or(number("maxItems")).or(number("maxLength"));
    let listed = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    if !right || !listed || size.zip(low).is_some_and(|(s, l)| s < l) || size.zip(high).is_some_and(|(s, h)| s > h) {
        return Some(format!("{value} does not fit {schema}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| flaw(root, &schema["items"], item));
    }
    let object = value.as_object()?;
    let missing = schema["required"].as_array()?.iter().find(|name| !object.contains_key(name.as_str().unwrap()));
    if let Some(name) = missing {
        return Some(format!("{name} is missing"));
    }
    object.iter().find_map(|(name, value)| match schema["properties"].get(name) {
        Some(schema) => flaw(root, schema, value),
        None => Some(format!("{name} is unknown")),
    })
}
