//! dlock's test program: the real thing on real servers.

mod redis;
