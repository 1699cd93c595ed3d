//! Measurements, run by hand:
//! `cargo test --release index_speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::limits::INDEX_BATCH;

fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / 1024 / 1024
}

fn name(number: u32) -> String {
    format!("holidays/{}/IMG_{number:06}.JPG", number / 500)
}

#[test]
#[ignore = "a measurement, not a test"]
fn index_speed_with_100_000_contents() {
    const ALL: u32 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    let index = Index::open(&file, peer(1)).unwrap();
    let before = resident_mib();
    let start = Instant::now();
    let mut longest = std::time::Duration::ZERO;
    for first in (0..ALL).step_by(INDEX_BATCH) {
        let changes: Vec<_> =
            (first..(first + INDEX_BATCH as u32).min(ALL)).map(|n| seen(&name(n), n)).collect();
        let batch = Instant::now();
        index.apply(changes).unwrap();
        longest = longest.max(batch.elapsed());
    }
    println!("apply: {:?}, longest batch {longest:?}, +{} MiB", start.elapsed(), resident_mib() - before);
    println!("file: {} MiB", std::fs::metadata(&file).unwrap().len() / 1024 / 1024);
    let reader = Index::open(&dir.path().join("reader.redb"), peer(2)).unwrap();
    for other in [3, 4] {
        let start = Instant::now();
        pull(&reader, &index, other, FolderId(u128::from(other)));
        println!("pull: {:?}", start.elapsed());
    }
    for filter in [None, Some("img_0999"), Some("nowhere")] {
        let start = Instant::now();
        let rows = list(&reader, filter, &|_| Standing::Trusted).len();
        println!("list {filter:?}: {rows} rows of two holders in {:?}", start.elapsed());
    }
    let start = Instant::now();
    let mut after = None;
    while let Some((last, _)) = index.files(after.as_ref(), 1024).unwrap().pop() {
        after = Some(last);
    }
    println!("all file records: {:?}", start.elapsed());
    let start = Instant::now();
    for number in 0..1000 {
        index
            .resolve(
                &Prefix::parse(&image(number).to_string()[..8]).unwrap_or(Prefix::Image("0".repeat(6))),
                &|_| Standing::Trusted,
            )
            .unwrap();
    }
    println!("resolve: {:?} each", start.elapsed() / 1000);
    let start = Instant::now();
    reader.forget_peer(&peer(3)).unwrap();
    println!("forget: {:?}, resident +{} MiB in all", start.elapsed(), resident_mib() - before);
    let crashed = dir.path().join("crashed.redb");
    std::fs::copy(&file, &crashed).unwrap();
    let start = Instant::now();
    drop(Index::open(&crashed, peer(1)).unwrap());
    println!("open after a crash: {:?}", start.elapsed());
    drop(index);
    let start = Instant::now();
    drop(Index::open(&file, peer(1)).unwrap());
    println!("open after a clean end: {:?}", start.elapsed());
}
