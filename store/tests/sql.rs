//! The repositories of order rows and ledger on SQLite: the port's contract, and what only a file
//! can show. Method: a folder of its own for each test.

#[cfg(test)]
#[path = "sql_contract/suite.rs"]
mod suite;

#[cfg(test)]
mod sql {
    mod contract;
    mod faults;
    mod files;
    mod folder;
}
