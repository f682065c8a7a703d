//! The contract on files.

use super::folder::Folder;
use crate::suite::contract;

contract!(Folder::new());
