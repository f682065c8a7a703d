//! The tests of `service.rs` on the MySQL or MariaDB that `stack/` starts.

#[cfg(test)]
#[path = "service/on_mysql.rs"]
mod place;

#[cfg(test)]
#[path = "service/suite/all.rs"]
mod suite;
