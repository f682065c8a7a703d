//! The lanes on a real Redis, as `stack/` starts it: the scripts do what `domain::stock::LaneMachine` specifies, the ports keep their
//! contract on one node and on a cluster, and faults leave nothing half done. Method: a namespace of its own for each test; servers
//! that are killed, filled or made to forget are the test's own.

#[cfg(test)]
mod stock_live {
    mod contract;
    mod differential;
    mod faults;
    mod server;
    mod support;
    mod world;
}
