//! The service over HTTP on the embedded deployment's database: what each route does, refuses and
//! leaves behind. The same tests run on a real MySQL in `service_live.rs`.

#[cfg(test)]
#[path = "service/on_sqlite.rs"]
mod place;

#[cfg(test)]
#[path = "service/suite/all.rs"]
mod suite;
