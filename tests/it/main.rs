//! dlock's test program: the real binary on real servers. In reading order.

mod support;

mod contract;
mod crash;
mod exclusion;
mod run_signals;
mod run_status;
mod tidy;
mod wrong_input;
