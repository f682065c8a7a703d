//! Sales: validate and publish.
