//! The kernel, where `nix` lacks a call or a call needs `unsafe`. Knows nothing of locks or commands.

pub mod boottime;
pub mod lock_helper;
pub mod ofd_lock;
pub mod readiness;
