//! One large picture over loopback, through the real program, against a raw libp2p stream
//! on the same transport: alternately, in the same run. Then what the same transfer costs
//! each process in memory.
//!
//! `cargo bench --bench transfer`; about a minute. `P2PIMG_BENCH_MB` sets the size (300),
//! `P2PIMG_BENCH_ROUNDS` the rounds (5), `P2PIMG_BENCH_DIR` the folder.
//!
//! "direct" is a client and the node that holds the picture, "relayed" a client, a node,
//! and the node that holds it. Both are `p2pimg client get`: connecting, looking up,
//! verifying at each hop, fsync and rename included. "raw" connects, and throws away what
//! it reads.

mod kit;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kit::{MIB, Node, Process, Usage};

/// What one transfer took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    /// Largest size of the reading process.
    peak: u64,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs `reader` to its end; `servers` are the processes at the other end.
fn run(reader: &mut Command, servers: &[&Process]) -> Cost {
    let cpu = |children: f64| children + servers.iter().map(|server| server.usage().cpu).sum::<f64>();
    let before = cpu(kit::children_cpu());
    let start = Instant::now();
    let mut child = reader.spawn().expect("start a process");
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("wait") {
            break ended;
        }
        peak = Usage::of(child.id()).peak.max(peak);
        std::thread::sleep(Duration::from_millis(2));
    };
    let wall = start.elapsed().as_secs_f64();
    assert!(ended.success(), "{reader:?}");
    Cost { wall, cpu: cpu(kit::children_cpu()) - before, peak }
}

fn get(home: &Path, node: &Node, content: &str, to: &Path) -> Command {
    let _ = std::fs::remove_file(to);
    let mut command = kit::binary(home);
    command.args(["--quiet", "client", "--peer", &node.address, "get", content, "-o"]).arg(to);
    command.stdout(std::process::Stdio::null());
    command
}

/// This program again, in another role.
fn role(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.env("P2PIMG_BENCH_ROLE", role);
    command
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn show(name: &str, bytes: u64, costs: &mut [Cost], raw: Option<f64>) -> f64 {
    costs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    let rate = |wall: f64| bytes as f64 / wall / 1e6;
    let median = costs[costs.len() / 2];
    let cpu = costs.iter().map(|cost| cost.cpu).sum::<f64>() / costs.len() as f64;
    let share = raw.map_or(String::new(), |raw| format!("{:6.0} % of raw", rate(median.wall) / raw * 100.0));
    println!(
        "{name:8} {:7.0} MB/s (best {:.0}, worst {:.0})  {:5.2} CPU s/GB{share}",
        rate(median.wall),
        rate(costs[0].wall),
        rate(costs[costs.len() - 1].wall),
        cpu / (bytes as f64 / 1e9),
    );
    rate(median.wall)
}

fn main() {
    match std::env::var("P2PIMG_BENCH_ROLE").as_deref() {
        Ok("serve") => return runtime().block_on(kit::raw::serve()),
        Ok("read") => {
            let address = std::env::var("P2PIMG_BENCH_ADDRESS").expect("an address");
            let bytes = number("P2PIMG_BENCH_BYTES", 0);
            return runtime()
                .block_on(async { kit::raw::RawClient::connect(&address).await.read(bytes).await });
        }
        _ => {}
    }
    let rounds = number("P2PIMG_BENCH_ROUNDS", 5) as usize;
    let temp = kit::temp();
    let root = temp.path();
    std::fs::create_dir(root.join("far")).expect("temporary folder");
    let large = root.join("far/large.tif");
    kit::write_tiff(&large, number("P2PIMG_BENCH_MB", 300) * 1_000_000, 1);
    let small = kit::bmp(64, 64, 2);
    std::fs::write(root.join("far/small.bmp"), &small).expect("temporary folder");
    let bytes = large.metadata().expect("just written").len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(&large).expect("a file")).expect("readable");
    let content = format!("c:{}", hasher.finalize());
    let tiny = format!("c:{}", blake3::hash(&small));

    let near = Node::start(root, "near", None);
    near.scanned(0);
    let far = Node::start(root, "far", Some(&near.address));
    far.scanned(2);
    near.wait("synced", |told| told["swarm_images"] == 2);
    let server = Process::start(&mut role("serve"));
    let address = server.line();
    println!("{} MB over loopback, {rounds} rounds, medians", bytes / 1_000_000);

    let (home, to) = (root.join("home"), root.join("got.tif"));
    let read = || {
        let mut command = role("read");
        command.env("P2PIMG_BENCH_ADDRESS", &address).env("P2PIMG_BENCH_BYTES", bytes.to_string());
        command
    };
    // What a transfer of nothing costs is no part of the memory that a transfer takes.
    let alone = run(&mut get(&home, &near, &tiny, &to), &[]).peak;
    let processes = [("near node", near.process.id()), ("far node", far.process.id())];
    let sizes = processes.map(|(_, id)| Usage::of(id).resident);
    for (_, id) in processes {
        kit::forget_peak(id);
    }
    let (mut raw, mut direct, mut relayed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        raw.push(run(&mut read(), &[&server]));
        relayed.push(run(&mut get(&home, &near, &content, &to), &[&near.process, &far.process]));
        if round == 0 {
            assert!(same(&large, &to), "other bytes arrived");
        }
        direct.push(run(&mut get(&home, &far, &content, &to), &[&far.process]));
    }
    let peaks = processes.map(|(_, id)| Usage::of(id).peak);
    let rate = show("raw", bytes, &mut raw, None);
    show("direct", bytes, &mut direct, Some(rate));
    show("relayed", bytes, &mut relayed, Some(rate));
    let client = relayed.iter().chain(&direct).map(|cost| cost.peak).max().unwrap_or_default();
    println!("extra memory, peak in all rounds (the promise: 32 MiB)");
    println!("  client    {:5.1} MiB", client.saturating_sub(alone) as f64 / MIB as f64);
    for (((name, _), peak), before) in processes.iter().zip(peaks).zip(sizes) {
        println!("  {name:9} {:5.1} MiB", peak.saturating_sub(before) as f64 / MIB as f64);
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let hash = |path: &Path| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(path).expect("a file")).expect("readable");
        hasher.finalize()
    };
    hash(one) == hash(other)
}
