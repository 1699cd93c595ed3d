//! Everything at once, for a while: nodes die and come back, pictures come, change and go, disks are
//! lost; and then every picture that there ever was is asked for.
//!
//! `cargo test --release --test copies -- --ignored --nocapture soak`, with `P2PIMG_SOAK_ROUNDS` (10)
//! and `P2PIMG_SOAK_SEED` (of the clock; it is printed). The seed fixes what is done, not how the nodes
//! come to act on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use super::support::{Site, TestNode, names, pictures};
use super::{all_come_from, copies, replicas, start};

const NODES: usize = 4;

/// Two copies of everything, after whatever happened, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

struct Soak {
    sites: Vec<Site>,
    nodes: Vec<TestNode>,
    /// Every picture that there ever was, with its content.
    ever: BTreeMap<u64, String>,
    next: u64,
    dice: u64,
    /// How often each thing was done.
    done: BTreeMap<&'static str, usize>,
    /// How long it took until all had two copies again after the loss of a disk.
    repaired: Vec<Duration>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Soak {
    fn new(seed: u64) -> Self {
        let mut soak = Self {
            sites: (0..NODES).map(|_| Site::new()).collect(),
            nodes: Vec::new(),
            ever: BTreeMap::new(),
            next: 1000,
            dice: seed,
            done: BTreeMap::new(),
            repaired: Vec::new(),
        };
        for site in 0..NODES {
            for _ in 0..3 {
                soak.add(site);
            }
            soak.start(site);
        }
        soak
    }

    /// Splitmix64.
    fn dice(&mut self, below: usize) -> usize {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    /// Starts the node of a site, as the last of those that run.
    fn start(&mut self, site: usize) {
        let others: Vec<&TestNode> = self.nodes.iter().collect();
        let node = start(&self.sites[site], &others, &[]);
        self.nodes.insert(site.min(self.nodes.len()), node);
    }

    fn file(&mut self, site: usize, name: &str) {
        let number = self.next;
        self.next += 1;
        let data = pictures::jpeg(number);
        self.sites[site].add(name, &data);
        self.ever.insert(number, blake3::hash(&data).to_string());
    }

    fn add(&mut self, site: usize) {
        let name = format!("{}.jpg", self.next);
        self.file(site, &name);
    }

    /// A picture file of the site, if it has any.
    fn some(&mut self, site: usize) -> Option<String> {
        let files = files(&self.sites[site]);
        (!files.is_empty()).then(|| files[self.dice(files.len())].clone())
    }

    /// Copies of each picture that are on the disks, whatever anybody says.
    fn on_disk(&self) -> Vec<(u64, u64)> {
        let held: Vec<BTreeSet<String>> = self.sites.iter().map(contents).collect();
        let copies = |hash: &String| held.iter().filter(|site| site.contains(hash)).count() as u64;
        self.ever.iter().map(|(number, hash)| (*number, copies(hash))).collect()
    }

    /// Waits until every picture is on two disks, at least or exactly, and every node lists that.
    fn settled(&self, exactly: bool) {
        let end = Instant::now() + PATIENCE;
        let right = |copies: u64| if exactly { copies == 2 } else { copies >= 2 };
        loop {
            let disks = self.on_disk();
            // The disks first: the lists don't know yet what was done to them.
            let there = disks.iter().all(|(_, copies)| right(*copies));
            let listed = |node: &TestNode| {
                let all = copies(node);
                all.len() == self.ever.len() && all.into_iter().all(right)
            };
            if there && self.nodes.iter().all(listed) {
                return;
            }
            let lists: Vec<_> = self.nodes.iter().map(copies).collect();
            assert!(Instant::now() < end, "not two copies each: {disks:?}; as listed: {lists:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn round(&mut self) {
        let site = self.dice(NODES);
        let what = match self.dice(6) {
            0 => {
                self.nodes.remove(site).kill();
                self.start(site);
                "kill -9, and back"
            }
            1 => {
                self.nodes.remove(site).end("TERM");
                self.start(site);
                "SIGTERM, and back"
            }
            2 => {
                for _ in 0..=self.dice(3) {
                    self.add(site);
                }
                "pictures added"
            }
            // The promise is about pictures that have had the time to get a second copy.
            3 => {
                self.settled(false);
                if let Some(name) = self.some(site) {
                    fs::remove_file(self.sites[site].path(&name)).unwrap();
                }
                "picture deleted by hand"
            }
            4 => {
                self.settled(false);
                if let Some(name) = self.some(site) {
                    self.file(site, &name);
                }
                "picture overwritten"
            }
            _ => {
                self.settled(false);
                self.nodes.remove(site).kill();
                self.sites[site] = Site::new();
                self.start(site);
                let since = Instant::now();
                self.settled(false);
                self.repaired.push(since.elapsed());
                "whole disk lost"
            }
        };
        eprintln!("  node {site}: {what}");
        *self.done.entry(what).or_default() += 1;
    }
}

/// The pictures in the folder of a site.
fn files(site: &Site) -> Vec<String> {
    names(&site.photos()).into_iter().filter(|name| !name.starts_with(".p2pimg")).collect()
}

/// What a disk has: files of the folder, and replicas.
fn contents(site: &Site) -> BTreeSet<String> {
    // A file may be on its way out.
    let hash = |name: String| Some(blake3::hash(&fs::read(site.path(&name)).ok()?).to_string());
    let shards = fs::read_dir(site.path(".p2pimg/replicas")).into_iter().flatten().flatten();
    let replicas = shards.flat_map(|shard| fs::read_dir(shard.path()).into_iter().flatten().flatten());
    let replicas = replicas.map(|entry| entry.file_name().to_string_lossy().into_owned());
    files(site).into_iter().filter_map(hash).chain(replicas).collect()
}

#[test]
fn three_rounds_of_the_soak() {
    soak_for(3);
}

#[test]
#[ignore = "takes minutes; three rounds of it run always"]
fn soak() {
    soak_for(setting("P2PIMG_SOAK_ROUNDS", 10));
}

fn soak_for(rounds: u64) {
    let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = setting("P2PIMG_SOAK_SEED", clock);
    eprintln!("soak: {rounds} rounds, P2PIMG_SOAK_SEED={seed}");
    let began = Instant::now();
    let mut soak = Soak::new(seed);
    soak.settled(true);
    for _ in 0..rounds {
        soak.round();
    }
    soak.settled(true);
    let mut slowest = Duration::ZERO;
    for node in &soak.nodes {
        slowest = slowest.max(all_come_from(node, soak.ever.keys().copied()));
    }
    let kept: usize = soak.sites.iter().map(|site| replicas(&site.path(".p2pimg"))).sum();
    eprintln!(
        "soak: {:.0?}; {} pictures ever, each got from each of {NODES} nodes, the slowest in {slowest:.1?}; \
         {kept} replicas; {:?}; two copies again after a lost disk: {:.1?}",
        began.elapsed(),
        soak.ever.len(),
        soak.done,
        soak.repaired
    );
}
