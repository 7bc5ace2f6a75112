//! No public API: the library exists so that tests, benches and fuzzers use the code that ships.

pub mod backend {
    //! The places where locks live.
    pub mod redis;
}
pub mod lock;
pub mod sys;
