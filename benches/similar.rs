//! How long a client waits for the pictures that look most like one, in a swarm of 100,000
//! pictures on five nodes; and whether it gets all of them. Each answer is compared with what
//! comparing the hash with every row of the node's list finds.
//!
//! One picture in five is one of others with some pixels changed, so that there is something
//! to be found at any distance. Half of the questions are about pictures that are not in the
//! swarm.
//!
//! `cargo bench --bench similar` (some minutes, most of them to make and scan the
//! pictures). `P2PIMG_BENCH_IMAGES` sets the pictures (100,000), `P2PIMG_BENCH_QUESTIONS` the
//! questions (1,000), `P2PIMG_BENCH_DIR` the folder.

mod kit;

use std::path::Path;
use std::time::{Duration, Instant};

use kit::{MIB, Node, Noise, Usage};
use p2pimg::client::Client;
use p2pimg::limits::MAX_SIMILAR;
use p2pimg::picture::distance;
use p2pimg::protocol::SimilarPage;
use p2pimg::types::{ContentId, ImageId};

/// What the rule takes for possibly the same picture, and the most that can be asked for.
const DISTANCES: [u32; 2] = [24, 64];
/// Width and height. Noise has structure enough for a hash at any size.
const SIDE: u32 = 20;
/// Pictures in a row of which the first is new and the others are like one of the first.
const LIKE: u64 = 5;
/// Bytes of the header of a BMP.
const HEADER: usize = 54;

type Content = (ContentId, [u8; 32]);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Picture `seed` with some of its pixels drawn anew.
fn like(seed: u64, touch: u64) -> Vec<u8> {
    let mut file = kit::bmp(SIDE, SIDE, seed);
    let mut drawn = vec![0; file.len()];
    Noise::new(touch + (1 << 40)).fill(&mut drawn);
    // One that is always another content.
    file[HEADER..HEADER + 8].copy_from_slice(&touch.to_le_bytes());
    // From next to nothing to a third of them.
    let share = 2 + touch * 7 % 80;
    for pixel in HEADER / 3 + 1..file.len() / 3 {
        let bytes = pixel * 3..pixel * 3 + 3;
        if u64::from(drawn[bytes.start]) < share {
            file[bytes.clone()].copy_from_slice(&drawn[bytes]);
        }
    }
    file
}

/// The pictures of one node, all different, 500 a folder.
fn fill(root: &Path, name: &str, node: u64, images: u64) {
    for image in 0..images {
        let dir = root.join(name).join(format!("holidays-{:04}", image / 500));
        if image % 500 == 0 {
            std::fs::create_dir_all(&dir).expect("temporary folder");
        }
        let number = node * images + image;
        let data = match number % LIKE {
            // Of a few pictures there are many.
            0 => like(number / LIKE % (images / 50 + 1), number + 1),
            _ => kit::bmp(SIDE, SIDE, number),
        };
        std::fs::write(dir.join(format!("IMG_{image:06}.BMP")), data).expect("write");
    }
    // A scan leaves out what has just been written.
    std::thread::sleep(Duration::from_millis(1500));
}

/// Every hash that the node lists.
async fn all(client: &Client) -> Vec<Content> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.list(after, None).await.expect("a list");
        all.extend(page.rows.iter().filter_map(|row| match row.facts.image {
            ImageId::Hash(hash) => Some((row.content, hash)),
            ImageId::Content(_) => None,
        }));
        match page.next {
            Some(next) => after = Some(next.into_vec()),
            None => return all,
        }
    }
}

/// What is asked about: hashes of the swarm, and as many that are near one of these.
fn questions(all: &[Content], count: u64) -> Vec<[u8; 32]> {
    let mut dice = [0; 8];
    let mut noise = Noise::new(7);
    let mut next = move || {
        noise.fill(&mut dice);
        u64::from_le_bytes(dice) >> 11
    };
    let mut asked = Vec::new();
    for question in 0..count {
        let (_, mut hash) = all[next() as usize % all.len()];
        if question % 2 == 1 {
            for _ in 0..=next() % 12 {
                let bit = next() as usize % 256;
                hash[bit / 8] ^= 1 << (bit % 8);
            }
        }
        asked.push(hash);
    }
    asked
}

/// How many of those that are near the answer has; it must have nothing else, and all as far
/// as it goes.
fn recall(all: &[Content], hash: &[u8; 32], most: u32, page: &SimilarPage) -> (u64, u64) {
    let near = |(content, other): &Content| {
        let distance = distance(hash, other);
        (distance <= most).then_some((distance, *content))
    };
    let mut expected: Vec<(u32, ContentId)> = all.iter().filter_map(near).collect();
    expected.sort_unstable();
    let mut found: Vec<_> = page.rows.iter().map(|row| (row.distance, row.row.content)).collect();
    found.sort_unstable();
    assert!(found.iter().all(|one| expected.binary_search(one).is_ok()), "something that is not near");
    assert_eq!(page.more, expected.len() > MAX_SIMILAR, "says whether that is all");
    let all_due = expected.len().min(MAX_SIMILAR);
    assert_eq!(
        expected.iter().take(all_due).map(|(distance, _)| distance).collect::<Vec<_>>(),
        found.iter().map(|(distance, _)| distance).collect::<Vec<_>>(),
        "the nearest"
    );
    (found.len() as u64, all_due as u64)
}

async fn measure(client: &Client, all: &[Content], asked: &[[u8; 32]], most: u32) {
    let (mut times, mut found, mut due, mut compared, mut within) = (Vec::new(), 0, 0, 0, 0);
    for hash in asked {
        let begun = Instant::now();
        let page = client.similar(ImageId::Hash(*hash), most, MAX_SIMILAR as u32).await.expect("an answer");
        times.push(begun.elapsed());
        let (has, all_due) = recall(all, hash, most, &page);
        (found, due) = (found + has, due + all_due);
        (compared, within) = (compared + page.compared, within + page.within);
    }
    let count = asked.len() as f64;
    times.sort_unstable();
    println!(
        "within {most} bits: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms; recall {:.4} ({found} of {due}); a question: \
         {:.0} compared, {:.1} candidates",
        kit::percentile(&times, 0.50),
        kit::percentile(&times, 0.99),
        kit::percentile(&times, 1.0),
        found as f64 / (due as f64).max(1.0),
        compared as f64 / count,
        within as f64 / count,
    );
    assert_eq!(found, due, "all that comparing with every row finds");
}

fn memory(when: &str, usage: Usage) {
    println!("{when}: resident {} MiB, anonymous {} MiB", usage.resident / MIB, usage.anonymous / MIB);
}

/// Waits until the node knows all pictures, and has told where its own are.
async fn settle(client: &Client, images: u64) {
    let end = Instant::now() + kit::PATIENCE;
    loop {
        let status = client.status().await.expect("a status");
        if status.swarm_images == images && status.to_publish == 0 {
            return;
        }
        assert!(
            Instant::now() < end,
            "{} pictures known, {} to publish",
            status.swarm_images,
            status.to_publish
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(node: &Node, images: u64, questions_count: u64) {
    let client = Client::connect(node.address.parse().expect("an address"), None).await.expect("connect");
    settle(&client, images).await;
    let all = all(&client).await;
    println!("{} hashes listed", all.len());
    memory("before the first question", node.process.usage());
    let asked = questions(&all, questions_count);
    let begun = Instant::now();
    client.similar(ImageId::Hash(asked[0]), 24, 20).await.expect("an answer");
    println!("first question, which reads all hashes: {:.0} ms", begun.elapsed().as_secs_f64() * 1000.0);
    for most in DISTANCES {
        let before = node.process.usage().cpu;
        measure(&client, &all, &asked, most).await;
        println!(
            "the asked node: {:.2} ms of CPU a question",
            (node.process.usage().cpu - before) * 1000.0 / asked.len() as f64
        );
    }
    memory("after the questions", node.process.usage());
}

fn main() {
    let images = number("P2PIMG_BENCH_IMAGES", 100_000) / 5 * 5;
    let temp = kit::temp();
    let root = temp.path();
    let begun = Instant::now();
    let mut nodes: Vec<Node> = Vec::new();
    for (at, name) in (0..).zip(["one", "two", "three", "four", "five"]) {
        fill(root, name, at, images / 5);
        let bootstrap = nodes.first().map(|node| node.address.clone());
        let node = Node::start_with(root, name, bootstrap.as_deref(), &["--dedup", "off"]);
        node.scanned(images / 5);
        nodes.push(node);
    }
    let last = nodes.last().expect("five nodes");
    println!("{images} pictures on 5 nodes after {:.0} s", begun.elapsed().as_secs_f64());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ask(last, images, number("P2PIMG_BENCH_QUESTIONS", 1_000)));
    for node in nodes {
        node.process.end();
    }
}
