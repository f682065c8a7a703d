//! Commissions over HTTP and from the topic of events, on the embedded deployment's database. The
//! same tests run on a real MySQL in `commissions_live.rs`.

#[cfg(test)]
#[path = "commissions/on_sqlite.rs"]
mod place;

#[cfg(test)]
#[path = "commissions/suite/all.rs"]
mod suite;
