//! The repositories of order rows and ledger against a real MySQL or MariaDB: the port's contract,
//! and what only a server can show. Method: faults are made by a second, raw connection.

#[cfg(test)]
#[path = "sql_contract/suite.rs"]
mod suite;

#[cfg(test)]
mod sql_live {
    mod contract;
    mod faults;
    mod frozen;
    mod opening;
    mod server;
}
