//! The tests of `life.rs` on the MySQL or MariaDB that `stack/` starts.

#[cfg(test)]
#[path = "life/on_mysql.rs"]
mod place;

#[cfg(test)]
#[path = "life/suite/all.rs"]
mod suite;
