//! The kernel, where `nix` lacks a call or a call needs `unsafe`. Knows nothing of locks or commands.

pub mod boottime;
pub mod interrupt;
pub mod readiness;
pub mod stdio;
