//! Renews a lease until it is lost. The only place that compares a lease with the clock.
