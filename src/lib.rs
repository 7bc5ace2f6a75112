//! No public API: the library exists so that tests, benches and fuzzers use the code that ships.

pub mod backend;
pub mod lock;
pub mod sys;
