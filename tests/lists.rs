//! Lists of swarms whose catalogs are not all known, or known wrongly: the real binary, over loopback.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

#[path = "lists/catalogs.rs"]
mod catalogs;
#[path = "lists/limited.rs"]
mod limited;
#[path = "lists/partial.rs"]
mod partial;
