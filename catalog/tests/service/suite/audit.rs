//! The audit log: a row for each change, in one chain that shows what was changed in it later.
