#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod cli;

pub mod config;

pub mod folder;

pub mod deployment;

pub mod serve;

pub mod control;

pub mod client;

pub mod demo;

pub mod desk;

pub mod parked;

pub mod welcome;

pub mod audit;

pub mod load;

pub mod backup;

pub mod plan;

pub mod manage;

mod folder_args;

mod input;
