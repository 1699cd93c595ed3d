//! Pictures that clients add and remove, with the real binary.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

#[path = "put_rm/put.rs"]
mod put;
