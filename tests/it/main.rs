//! dlock's test program.

mod zookeeper;
