//! Two copies of every picture: real nodes in processes of their own.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "copies/faults.rs"]
mod faults;
#[path = "copies/kept.rs"]
mod kept;
#[cfg(target_os = "linux")]
#[path = "copies/partition.rs"]
mod partition;
#[path = "copies/soak.rs"]
mod soak;
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Site, TestNode, eventually, names, pictures};

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

/// The pictures that `get` brings from a node, checked against what was put in. How long the slowest
/// took.
fn all_come_from(node: &TestNode, numbers: impl IntoIterator<Item = u64>) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let mut slowest = Duration::ZERO;
    for number in numbers {
        let data = pictures::jpeg(number);
        let to = folder.path().join(format!("{number}.jpg"));
        let hash = format!("c:{}", blake3::hash(&data));
        let run = node.client().run(&["get", &hash, "-o", to.to_str().unwrap()]);
        slowest = slowest.max(run.took);
        run.succeeds();
        assert_eq!(fs::read(&to).unwrap(), data, "picture {number}");
    }
    slowest
}

/// The file of picture `number` among the replicas of a state folder.
fn replica(state: &Path, number: u64) -> PathBuf {
    let hash = blake3::hash(&pictures::jpeg(number)).to_string();
    state.join("replicas").join(&hash[..2]).join(hash)
}

/// Replicas in a state folder.
fn replicas(state: &Path) -> usize {
    let folder = state.join("replicas");
    let shards = names(&folder).into_iter().filter(|name| name != "incoming");
    let names = shards.flat_map(|shard| names(&folder.join(shard)));
    names.filter(|name| name.len() == 64).count()
}

fn replicas_of(sites: &[Site]) -> usize {
    sites.iter().map(|site| replicas(&site.path(".p2pimg"))).sum()
}
