//! No public API: the library exists so that tests, benches and fuzzers use the code that ships.

pub mod backend;
pub mod child;
pub mod cli;
pub mod commands;
pub mod error;
pub mod exit_code;
pub mod lock;
pub mod report;
pub mod settings;
pub mod sys;
