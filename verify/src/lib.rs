//! Crash, differential and whole-system tests across the rooms.
