//! Two copies of every picture: real nodes in processes of their own.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "copies/kept.rs"]
mod kept;
#[path = "support/mod.rs"]
mod support;

use support::{Site, TestNode, eventually};

/// What nodes of these tests are started with: they take copies, and are soon given up.
const OPTIONS: [&str; 8] =
    ["--capacity", "1T", "--repair-after", "1s", "--trim-after", "1s", "--lease-seconds", "6"];

/// Starts a node that joins `others`.
fn start(site: &Site, others: &[&TestNode], more: &[&str]) -> TestNode {
    site.start_with(others, &[&OPTIONS, more].concat())
}

/// The copies of each row.
fn copies(node: &TestNode) -> Vec<u64> {
    node.client().list().iter().map(|row| row["copies"].as_u64().unwrap()).collect()
}

/// Waits until each of `number` pictures has `wanted` copies.
#[track_caller]
fn settled(node: &TestNode, number: usize, wanted: u64) {
    let what = format!("{number} pictures with {wanted} copies each");
    eventually(&what, || {
        let all = copies(node);
        (all.len() == number && all.iter().all(|copies| *copies == wanted)).then_some(())
    });
}
