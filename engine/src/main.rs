//! Composes the service.
fn main() {}
