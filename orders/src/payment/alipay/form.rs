//! Parameters by name, and the text of them that is signed: `name=value` joined by `&`, in the
//! order of the names, the values not encoded, without those that are empty.

use std::collections::BTreeMap;

/// Parameters, each once.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// From the body of a notice. `None`: a name comes twice, so that two readers would read two
    /// values, or the bytes are no UTF-8, so that reading would change them.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut form = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let is_changed = name.contains('\u{fffd}') || value.contains('\u{fffd}');
            if is_changed || form.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(form))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Of a request: all but the signature itself.
    pub(crate) fn signed_of_request(&self) -> String {
        self.signed(&["sign"])
    }

    /// Of a notice: the way of signing is left out too.
    pub(crate) fn signed_of_notice(&self) -> String {
        self.signed(&["sign", "sign_type"])
    }

    fn signed(&self, without: &[&str]) -> String {
        let parts = self.0.iter().filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
        parts.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// As a query, or as the body of a POST.
    pub(crate) fn encoded(&self) -> String {
        let parts = self.0.iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
    }
}
