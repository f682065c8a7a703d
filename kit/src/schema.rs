//! Bodies checked by the very schema that the OpenAPI document shows: a body that breaks it in
//! several places is refused with all of them at once.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use jsonschema::error::{ValidationError, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, Validator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::problem::{Code, FieldError, Problem};

/// Most wrong members that one answer names.
const FLAWS_MAX: usize = 100;

/// Most characters that an answer says of one of them.
const MESSAGE_CHARS_MAX: usize = 200;

/// Largest pattern of a stranger's schema, compiled.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A schema, ready to check values.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Validator>);

/// A text that is no JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Schema (draft 2020-12): {0}")]
pub struct InvalidSchema(String);

impl Schema {
    /// Takes a schema of draft 2020-12 that refers to nothing outside itself.
    ///
    /// # Errors
    ///
    /// [`InvalidSchema`] for anything else.
    pub fn new(schema: &Value) -> Result<Self, InvalidSchema> {
        let built = jsonschema::options().with_draft(Draft::Draft202012).build(schema);
        built.map(|validator| Self(Arc::new(validator))).map_err(|error| InvalidSchema(cut(error.to_string())))
    }

    /// Takes a stranger's schema: its patterns are searched in linear time, so none of them has
    /// lookaround or a reference to a group, and none is large.
    ///
    /// # Errors
    ///
    /// As [`Schema::new`], and for such a pattern.
    pub fn of_stranger(schema: &Value) -> Result<Self, InvalidSchema> {
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns);
        let built = options.build(schema);
        built.map(|validator| Self(Arc::new(validator))).map_err(|error| InvalidSchema(cut(error.to_string())))
    }

    /// What is wrong with a value; empty when nothing is. At most a hundred members are named.
    #[must_use]
    pub fn flaws(&self, value: &Value) -> Vec<FieldError> {
        self.0.iter_errors(value).flat_map(|error| flaws_of(&error)).take(FLAWS_MAX).collect()
    }
}

/// Reads a body in JSON. Members that the type does not have are refused where it says
/// `deny_unknown_fields`.
///
/// # Errors
///
/// `invalid_request` that names every wrong member.
pub fn read<T: DeserializeOwned + ToSchema + 'static>(body: &[u8]) -> Result<T, Box<Problem>> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Box::new(Problem::new(Code::InvalidRequest, format!("the body must be JSON: {}", cut(error.to_string()))))
    })?;
    read_value(value)
}

/// Reads what is JSON already, as [`read`].
///
/// # Errors
///
/// As [`read`].
pub fn read_value<T: DeserializeOwned + ToSchema + 'static>(value: Value) -> Result<T, Box<Problem>> {
    let field_errors = schema_of::<T>()?.flaws(&value);
    if field_errors.is_empty() {
        return serde_json::from_value(value)
            .map_err(|error| Box::new(Problem::new(Code::InvalidRequest, cut(error.to_string()))));
    }
    let detail = format!("{} member(s) of the body are wrong; see `errors`", field_errors.len());
    Err(Box::new(Problem { field_errors, ..Problem::new(Code::InvalidRequest, detail) }))
}

/// The schema of a type, made at its first use.
fn schema_of<T: ToSchema + 'static>() -> Result<Schema, Box<Problem>> {
    static MADE: LazyLock<RwLock<HashMap<TypeId, Schema>>> = LazyLock::new(RwLock::default);
    let key = TypeId::of::<T>();
    if let Some(schema) = MADE.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(schema.clone());
    }
    let schema = Schema::new(&document_of::<T>()).map_err(|error| {
        tracing::error!(%error, schema = %T::name(), "the schema of a body is broken");
        Box::new(Problem::new(Code::Internal, "the body cannot be checked"))
    })?;
    MADE.write().unwrap_or_else(PoisonError::into_inner).insert(key, schema.clone());
    Ok(schema)
}

/// The schema as a document of its own, with the schemas that it refers to where OpenAPI has them.
fn document_of<T: ToSchema>() -> Value {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let parts: HashMap<_, _> = parts.into_iter().collect();
    let mut document = json!(T::schema());
    if let Some(members) = document.as_object_mut() {
        members.insert("components".to_owned(), json!({ "schemas": parts }));
    }
    document
}

/// An error of the validator as one wrong member, or as several where it names several. The value
/// itself is not repeated.
fn flaws_of(error: &ValidationError<'_>) -> Vec<FieldError> {
    let at = path(error.instance_path().as_str());
    let member = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let flaw = |field: String, message: String| FieldError { field: cut(field).into(), message: cut(message).into() };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![flaw(member(property.as_str().unwrap_or_default()), "is missing".to_owned())]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| flaw(member(name), "there is no such member".to_owned())).collect()
        }
        _ => {
            let field = if at.is_empty() { "body".to_owned() } else { at };
            vec![flaw(field, error.masked_with("it").to_string())]
        }
    }
}

/// From a JSON pointer (`/skus/2/price`) to a path as people write it (`skus[2].price`).
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned() + "...",
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Kettle {
        #[schema(min_length = 1, max_length = 5)]
        name: String,
        #[schema(minimum = 1)]
        price: u32,
        #[serde(default)]
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    struct Part {
        #[schema(minimum = 1, maximum = 9)]
        count: u8,
    }

    fn wrong(body: &str) -> Vec<String> {
        let problem = read::<Kettle>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest, "{problem:?}");
        let mut fields: Vec<String> = problem.field_errors.iter().map(|error| error.field.to_string()).collect();
        fields.sort();
        fields
    }

    #[test]
    fn a_good_body_is_read() {
        let kettle: Kettle = read(br#"{"name":"red","price":5,"parts":[{"count":2}]}"#).unwrap();
        assert_eq!((kettle.name.as_str(), kettle.price, kettle.parts[0].count), ("red", 5, 2));
    }

    #[test]
    fn every_wrong_member_is_named_at_once() {
        let body = r#"{"name":"too long a name","tenant":7,"parts":[{"count":2},{"count":0},{}]}"#;
        assert_eq!(wrong(body), ["name", "parts[1].count", "parts[2].count", "price", "tenant"]);
        assert_eq!(wrong("[]"), ["body"]);
        assert!(wrong("{").is_empty(), "no member of what is no JSON");
    }

    #[test]
    fn what_was_sent_is_not_repeated_at_length() {
        let body = format!(r#"{{"name":"{}","price":1,"{}":1}}"#, "x".repeat(5_000), "y".repeat(5_000));
        let problem = read::<Kettle>(body.as_bytes()).unwrap_err();
        for error in &problem.field_errors {
            assert!(error.field.len() + error.message.len() < 600 && !error.message.contains("xxxx"), "{error:?}");
        }
    }

    #[test]
    fn a_schema_that_refers_elsewhere_is_refused() {
        assert!(Schema::new(&json!({ "$ref": "http://127.0.0.1:1/other.json" })).is_err());
        assert!(Schema::new(&json!({ "type": "kettle" })).is_err());
    }

    #[test]
    fn a_strangers_pattern_is_searched_in_linear_time_or_refused() {
        for slow in [r"^(a+)+\1$", "(?=a)b", "(a{999}){999}"] {
            assert!(Schema::of_stranger(&json!({ "pattern": slow })).is_err(), "{slow}");
        }
        let nested = Schema::of_stranger(&json!({ "pattern": "^(a+)+$" })).unwrap();
        assert!(!nested.flaws(&json!("a".repeat(50_000) + "!")).is_empty());
    }
}
