//! The kernel, where `nix` lacks a call or a call needs `unsafe`. Knows nothing of locks or commands.

pub mod boottime;
pub mod command_line;
pub mod entry;
mod environment;
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
mod heap;
pub mod interrupt;
pub mod lifeline;
pub mod lock_helper;
pub mod memory;
pub mod ofd_lock;
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod origin;
pub mod own_socket;
pub mod packet_socket;
pub mod process;
pub mod program_pages;
pub mod readiness;
pub(crate) mod seeded;
pub mod shared_page;
pub mod signals;
pub mod spawn;
pub mod stat;
pub mod stdio;
pub mod users;
pub mod window;
