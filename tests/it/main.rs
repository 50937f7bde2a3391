//! Integration tests: one binary, one module a promise.

mod apps;
