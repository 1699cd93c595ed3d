//! Pictures that clients add and remove, with the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../examples/pictures/mod.rs"]
#[allow(dead_code, reason = "the example writes whole folders")]
mod photos;
mod support;

#[path = "put_rm/put.rs"]
mod put;
#[path = "put_rm/rm.rs"]
mod rm;
