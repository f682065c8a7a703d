//! The repositories of order rows and ledger against a real MySQL or MariaDB. Method: a namespace of its own for each test,
//! dropped at its end; two maps, 2 x 4 and 1 x 1 tables, where routing matters; faults made by a second, raw connection.

#[cfg(test)]
mod sql_live {
    mod desk;
    mod faults;
    mod figures;
    mod leases;
    mod ledger;
    mod opening;
    mod orders;
    mod support;
}
