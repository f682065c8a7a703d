//! The tests of `commissions.rs` on the MySQL or MariaDB that `stack/` starts.

#[cfg(test)]
#[path = "commissions/on_mysql.rs"]
mod place;

#[cfg(test)]
#[path = "commissions/suite/all.rs"]
mod suite;
