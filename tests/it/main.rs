//! dlock's test program: the real binary on real servers. In reading order.

mod support;

// What a lock is.
mod contract;

// Each backend by itself.
mod file;

mod redis;
mod redis_and_zookeeper;

mod moving;

mod zookeeper;

// That it excludes.
mod exclusion;

// A command under it.
mod run_status;

mod run_signals;

mod stopping;

mod habitats;

mod fence_floor;

mod fencing;

mod transparency;

mod cost;

mod benchmarks;

// What may go wrong.
mod corpus;

mod crash;

mod hostile;

mod matrix;

mod slow_stderr;

mod storm;

#[path = "../torture/mod.rs"]
mod torture;

mod strict;

mod traps;

mod wrong_input;

mod security;

// What is told to dlock.
mod configuration;

mod doctor;

mod bench;

mod talking;

mod watching;

mod top;

mod crowded;

mod load;

mod taking_back;

mod completing;

// As its users have it.
mod examples;

// The project around it.
mod install;

mod messages;

mod reliability;

mod rows;

mod tidy;
