//! Checks on a real API server and a real Prometheus: what is measured is what happens.
//!
//! Prometheus lives in real time, so times are scaled: an interval of 1 s and a `for` of 5 s stand for 30 s and 5 min.

mod invalid;
mod missing;
mod pause;
mod quiet;
mod restart;
mod rollback;
mod statuses;
