//! Log to database: decide, write, settle, ledger; and the keeper of the lanes.
