//! A real node with many pictures: its first scan, its memory and CPU at rest, and what
//! the second start costs. With `pair`: how long two such nodes take to know each other's
//! pictures and to publish their own.
//!
//! `cargo bench --bench idle` (under three minutes) and `cargo bench --bench idle -- pair`
//! (one). `P2PIMG_BENCH_IMAGES` sets the pictures a node (100,000, and 20,000 each of a
//! pair), `P2PIMG_BENCH_REST` the seconds of rest (30), `P2PIMG_BENCH_DIR` the folder.

mod kit;

use std::path::Path;
use std::time::{Duration, Instant};

use kit::{MIB, Node, Usage};

/// How long publishing is watched.
const WATCH: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Pictures of noise, all different, 500 a folder.
fn fill(root: &Path, name: &str, images: u64) {
    let start = Instant::now();
    for image in 0..images {
        let dir = root.join(name).join(format!("holidays-{:04}", image / 500));
        if image % 500 == 0 {
            std::fs::create_dir_all(&dir).expect("temporary folder");
        }
        let seed = image + name.bytes().fold(1, |sum, byte| sum * 257 + u64::from(byte));
        std::fs::write(dir.join(format!("IMG_{image:06}.BMP")), kit::bmp(20, 20, seed)).expect("write");
    }
    // A scan leaves out what has just been written.
    std::thread::sleep(Duration::from_millis(1500));
    println!("{images} pictures made in {:.1} s", start.elapsed().as_secs_f64());
}

fn show_memory(when: &str, usage: Usage) {
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    println!(
        "{when}: resident {:.0} MiB (anonymous {:.0}, peak {:.0}), {} threads",
        mib(usage.resident),
        mib(usage.anonymous),
        mib(usage.peak),
        usage.threads,
    );
}

/// Starts a node and waits for its scan.
fn scan(root: &Path, name: &str, bootstrap: Option<&str>, images: u64) -> (Node, Usage) {
    let start = Instant::now();
    let node = Node::start(root, name, bootstrap);
    let done = node.scanned(images);
    let usage = node.process.usage();
    println!(
        "scan: {} of {} files inspected, {:.2} CPU s, {:.1} s",
        done["inspected"],
        done["looked_at"],
        usage.cpu,
        start.elapsed().as_secs_f64(),
    );
    (node, usage)
}

fn rest(node: &Node, seconds: u64) {
    // What the scan left to do is no part of the rest.
    std::thread::sleep(Duration::from_secs(3));
    let before = node.process.usage();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = node.process.usage();
    show_memory("at rest", after);
    let minutes = seconds as f64 / 60.0;
    println!(
        "at rest: {:.2} CPU s and {:.0} wake-ups a minute",
        (after.cpu - before.cpu) / minutes,
        (after.switches - before.switches) as f64 / minutes,
    );
}

fn alone(root: &Path, images: u64) {
    let seconds = number("P2PIMG_BENCH_REST", 30);
    fill(root, "one", images);
    println!("\nfirst start");
    let (node, usage) = scan(root, "one", None, images);
    show_memory("after the scan", usage);
    rest(&node, seconds.div_ceil(3));
    node.process.end();
    let index = root.join("one-state/index.redb").metadata().expect("an index").len();
    println!("index: {} MiB", index / MIB);
    println!("\nsecond start, nothing changed");
    let (node, usage) = scan(root, "one", None, images);
    show_memory("after the scan", usage);
    rest(&node, seconds);
    node.process.end();
}

fn pair(root: &Path, images: u64) {
    for name in ["one", "two"] {
        fill(root, name, images);
        let (node, _) = scan(root, name, None, images);
        node.process.end();
    }
    println!("\nboth start again");
    let one = Node::start(root, "one", None);
    one.scanned(images);
    let start = Instant::now();
    let two = Node::start(root, "two", Some(&one.address));
    for node in [&one, &two] {
        node.wait("synced", |told| told["swarm_images"] == 2 * images);
        println!("catalog of {images} known after {:.1} s", start.elapsed().as_secs_f64());
    }
    show_memory("one", one.process.usage());
    let (home, begun) = (root.join("home"), one.process.usage().cpu);
    loop {
        let mut client = kit::binary(&home);
        client.args(["client", "--peer", &one.address, "status", "--json"]);
        let answer = client.output().expect("run the client");
        let status: serde_json::Value = serde_json::from_slice(&answer.stdout).expect("a status");
        let (published, left) = (status["published"].as_u64(), status["to_publish"].as_u64());
        if left == Some(0) || start.elapsed() > WATCH {
            let (published, seconds) = (published.unwrap_or_default(), start.elapsed().as_secs_f64());
            println!(
                "{published} of {images} published after {seconds:.1} s: {:.0} a second, {:.1} CPU s",
                published as f64 / seconds,
                one.process.usage().cpu - begun,
            );
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    show_memory("one", one.process.usage());
    show_memory("two", two.process.usage());
    one.process.end();
    two.process.end();
}

fn main() {
    let temp = kit::temp();
    let images = |default| number("P2PIMG_BENCH_IMAGES", default);
    if std::env::args().any(|argument| argument == "pair") {
        pair(temp.path(), images(20_000));
    } else {
        alone(temp.path(), images(100_000));
    }
}
