//! Nodes that are killed at random moments while they drop duplicates: no picture is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{ANY_PORT, Site, TestNode};
use crate::{best, halved, saved_as_jpeg};

const PHOTOS: u64 = 6;
const ROUNDS: u64 = 8;

/// Attempts that failed because of a kill are repeated after growing pauses.
const SETTLED: Duration = Duration::from_secs(120);

/// Splitmix64: the printed seed tells all that was random.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All files below a folder, by their bytes; the state's own databases left out.
fn files(folder: &Path, found: &mut BTreeMap<[u8; 32], String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(data) = fs::read(&path) {
            found.insert(*blake3::hash(&data).as_bytes(), path.display().to_string());
        }
    }
}

fn start(site: &Site, other: Option<&TestNode>) -> TestNode {
    let mut args = vec!["--listen", ANY_PORT, "--lease-seconds", "2"];
    if let Some(other) = other {
        args.extend(["--bootstrap", other.address()]);
    }
    TestNode::start(&site.home(), &site.photos(), &args)
}

#[test]
fn no_picture_is_lost_whenever_a_node_is_killed() {
    let seed = std::env::var("P2PIMG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("P2PIMG_TEST_SEED={state}");
    let sites = [Site::new(), Site::new()];
    let mut originals = BTreeMap::new();
    for number in 0..PHOTOS {
        let versions = [best(number), saved_as_jpeg(number, 85), halved(number)];
        for (at, data) in versions.iter().enumerate() {
            let site = &sites[(at + number as usize) % 2];
            site.add(&format!("{number}-{at}.{}", if at == 0 { "png" } else { "jpg" }), data);
        }
        originals.insert(number, *blake3::hash(&versions[0]).as_bytes());
    }
    let mut nodes: [Option<TestNode>; 2] = [None, None];
    for round in 0..ROUNDS {
        for at in 0..2 {
            if nodes[at].is_none() {
                nodes[at] = Some(start(&sites[at], nodes[1 - at].as_ref()));
            }
        }
        std::thread::sleep(Duration::from_millis(1000 + dice(&mut state) % 5000));
        let victim = (dice(&mut state) % 2) as usize;
        nodes[victim].take().unwrap().kill();
        let mut found = BTreeMap::new();
        for site in &sites {
            files(site.root(), &mut found);
        }
        for (number, hash) in &originals {
            assert!(found.contains_key(hash), "round {round}: the best version of {number} is lost");
        }
    }
    for at in 0..2 {
        if nodes[at].is_none() {
            nodes[at] = Some(start(&sites[at], nodes[1 - at].as_ref()));
        }
    }
    // When it is over, one version of each is left, twice, and it is the best.
    let client = nodes[0].as_ref().unwrap().client();
    let began = Instant::now();
    loop {
        let rows = client.list();
        if rows.len() as u64 == PHOTOS && rows.iter().all(|row| row["copies"] == 2) {
            break;
        }
        let shown: Vec<String> = rows
            .iter()
            .map(|r| format!("{} {} {} {}", r["path"], r["format"], r["copies"], r["holders"]))
            .collect();
        assert!(began.elapsed() < SETTLED, "one version of each, twice:\n{}", shown.join("\n"));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(client.list().iter().all(|row| row["format"] == "png"));
}
