//! How long getting a picture of 500 KB through a second node takes, with 1, 8 and 64
//! clients at once, each connected already and getting one picture after another; against
//! one hop of plain request-response of as many bytes, in the same run.
//!
//! `cargo bench --bench latency`; about a minute. `P2PIMG_BENCH_SECONDS` sets the seconds
//! of each measurement (6).

mod kit;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::raw::RawClient;
use kit::{Node, Process};
use p2pimg::client::{ChunkSink, Client};
use p2pimg::protocol::ImageRow;

/// Different pictures, so that not everything is one file.
const PICTURES: u64 = 16;
/// Width and height: 500 KB.
const SIDE: u32 = 408;

/// Counts what arrives.
struct Nowhere(u64);

impl ChunkSink for Nowhere {
    fn begin(&mut self, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn chunk(&mut self, _: u64, data: &[u8]) -> std::io::Result<()> {
        self.0 += data.len() as u64;
        Ok(())
    }

    fn name(&self) -> String {
        "nowhere".to_owned()
    }
}

async fn rows(client: &Client) -> Vec<ImageRow> {
    client.list(None, None).await.expect("a list").rows
}

/// What `clients` tasks measure until the time is over.
async fn measure<C, F>(name: &str, clients: Vec<C>, each: impl Fn(C, u64) -> F + Send + Sync + 'static)
where
    C: Send + 'static,
    F: Future<Output = C> + Send,
{
    let seconds = std::env::var("P2PIMG_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let (count, each) = (clients.len(), Arc::new(each));
    let start = Instant::now();
    let tasks = clients.into_iter().enumerate().map(|(number, mut client)| {
        let each = Arc::clone(&each);
        tokio::spawn(async move {
            let mut times = Vec::new();
            let mut turn = number as u64;
            // The first is not measured: nothing has been looked up before it.
            client = each(client, turn).await;
            while start.elapsed() < Duration::from_secs(seconds) {
                turn += 1;
                let begun = Instant::now();
                client = each(client, turn).await;
                times.push(begun.elapsed());
            }
            times
        })
    });
    let mut times: Vec<Duration> = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        times.extend(task.await.expect("a task"));
    }
    times.sort_unstable();
    println!(
        "{name:16} {count:3} at once: p50 {:7.2} ms, p99 {:7.2} ms, {:6.0} a second",
        kit::percentile(&times, 0.50),
        kit::percentile(&times, 0.99),
        times.len() as f64 / start.elapsed().as_secs_f64(),
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if std::env::var_os("P2PIMG_BENCH_ROLE").is_some() {
        return runtime.block_on(kit::raw::serve());
    }
    let temp = kit::temp();
    let root = temp.path();
    std::fs::create_dir(root.join("far")).expect("temporary folder");
    for seed in 0..PICTURES {
        std::fs::write(root.join(format!("far/{seed}.bmp")), kit::bmp(SIDE, SIDE, seed)).expect("write");
    }
    let bytes = kit::bmp(SIDE, SIDE, 0).len() as u64;
    let near = Node::start(root, "near", None);
    near.scanned(0);
    let far = Node::start(root, "far", Some(&near.address));
    far.scanned(PICTURES);
    near.wait("synced", |told| told["swarm_images"] == PICTURES);
    let mut server = Command::new(std::env::current_exe().expect("own path"));
    let server = Process::start(server.env("P2PIMG_BENCH_ROLE", "serve"));
    let address = server.line();
    println!("a picture of {bytes} bytes");
    runtime.block_on(async {
        for count in [1, 8, 64] {
            let mut plain = Vec::new();
            for _ in 0..count {
                plain.push(RawClient::connect(&address).await);
            }
            measure("plain, one hop", plain, move |mut client, _| async move {
                client.read(bytes).await;
                client
            })
            .await;
            for (name, node) in [("get, one hop", &far), ("get, two hops", &near)] {
                let mut clients = Vec::new();
                for _ in 0..count {
                    let address = node.address.parse().expect("an address");
                    clients.push(Client::connect(address, None).await.expect("connect"));
                }
                let rows = Arc::new(rows(&clients[0]).await);
                assert_eq!(rows.len() as u64, PICTURES);
                measure(name, clients, move |client, turn| {
                    let rows = Arc::clone(&rows);
                    async move {
                        let row = &rows[turn as usize % rows.len()];
                        let mut sink = Nowhere(0);
                        client.fetch(row.facts.image, row.content, &mut sink).await.expect("the picture");
                        assert_eq!(sink.0, bytes);
                        client
                    }
                })
                .await;
            }
        }
    });
}
