//! Lists of swarms whose catalogs are not all known, or known wrongly: the real binary, over loopback.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

use serde_json::Value;

use support::{Client, eventually};

/// Waits for a list of so many rows that lacks nothing, and gives it.
#[track_caller]
fn complete(client: &Client, rows: usize) -> Vec<Value> {
    eventually(&format!("a complete list of {rows} rows"), || {
        let run = client.run(&["list", "--json"]);
        let found = run.text();
        let lines = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        (run.code == 0 && lines.len() == rows).then_some(lines)
    })
}

#[path = "lists/catalogs.rs"]
mod catalogs;
#[path = "lists/limited.rs"]
mod limited;
#[path = "lists/partial.rs"]
mod partial;
