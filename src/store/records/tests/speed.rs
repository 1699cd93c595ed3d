//! Measurements. Run by hand: `cargo test --release --lib records_memory -- --ignored --nocapture`.

use super::super::file::database;
use super::super::passing::Batch;
use super::*;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn digests(count: u32) -> Vec<Digest> {
    (0..count).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect()
}

#[test]
#[ignore = "a measurement, not a test"]
fn records_memory_per_key() {
    for (order, providers) in [("random", 1), ("random", 2), ("random", 3), ("sorted", 1)] {
        let mut digests = digests(1_000_000);
        if order == "sorted" {
            digests.sort_unstable();
        }
        let mut store = Records::new(peer(ME_PEER));
        let (before, start) = (resident(), Instant::now());
        for digest in &digests {
            for provider in 1..=providers {
                store.add_provider(record(record_key(digest), peer(provider), None)).unwrap();
            }
        }
        let (bytes, took) = (resident() - before, start.elapsed());
        assert_eq!(store.len(), digests.len() * usize::from(providers));
        let start = Instant::now();
        while !store.sweep(Instant::now(), 10_000).round_done {}
        println!(
            "{order}, {providers} providers: {} bytes a key, added in {took:?}, swept in {:?}",
            bytes / digests.len(),
            start.elapsed()
        );
    }
}

/// A million records, written, closed and read again: the memory of the whole process.
#[test]
#[ignore = "a measurement, not a test"]
fn records_memory_lasting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let begin = || {
        let mut store = Records::new(peer(ME_PEER));
        let mut lasting = Lasting::with_opener(path.clone(), Box::new(database)).unwrap();
        let start = Instant::now();
        runtime.block_on(lasting.read(&mut store, Duration::from_secs(600)));
        println!("read {} records in {:?}, resident {} MB", store.len(), start.elapsed(), resident() >> 20);
        (lasting, store)
    };
    let before = resident();
    println!("before: resident {} MB", before >> 20);
    let (lasting, mut store) = begin();
    for n in 0..1_000_000_u32 {
        let digest = *blake3::hash(&n.to_le_bytes()).as_bytes();
        store.add_provider(record(record_key(&digest), peer(1 + (n % 5) as u8), None)).unwrap();
    }
    println!("a million added: resident {} MB", resident() >> 20);
    let start = Instant::now();
    lasting.finish(store);
    let size = std::fs::metadata(&path).unwrap().len();
    println!("written in {:?}, file {} MB, resident {} MB", start.elapsed(), size >> 20, resident() >> 20);
    let (lasting, mut store) = begin();
    let grown = resident().saturating_sub(before);
    println!("{} MB more than before", grown >> 20);
    // A minute of renewals, as a node with a million records has them.
    for n in (0..1_000_000_u32).step_by(480) {
        let digest = *blake3::hash(&n.to_le_bytes()).as_bytes();
        store.remove_provider(&record_key(&digest), &peer(1 + (n % 5) as u8));
    }
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut batches = 0;
    loop {
        let step = Instant::now();
        let Batch { last, .. } = store.take_changes(Instant::now(), 1);
        longest = longest.max(step.elapsed());
        batches += 1;
        if last {
            break;
        }
    }
    println!("2,083 changes: {batches} batches taken in {:?}, the longest {longest:?}", start.elapsed());
    drop(lasting);
}
