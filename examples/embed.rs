//! Two nodes and a client inside one program, through the library.
//!
//! ```text
//! cargo run --example embed
//! ```

mod pictures;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libp2p::Multiaddr;
use p2pimg::client::{ChunkSink, Client};
use p2pimg::node::{self, NodeConfig, NodeEvent, NodeEvents, NodeHandle};
use p2pimg::protocol::ImageRow;

/// Nothing here takes seconds; waiting longer than this means that something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let temp = tempfile::tempdir()?;
    for (folder, numbers) in [("one", 1..=3), ("two", 4..=6)] {
        std::fs::create_dir(temp.path().join(folder))?;
        for number in numbers {
            pictures::write(&temp.path().join(folder), number)?;
        }
    }

    let (one, mut one_events, one_address) = start(temp.path(), "one", None).await?;
    let (two, mut two_events, _) = start(temp.path(), "two", Some(one_address.clone())).await?;
    // A node works whether or not somebody reads its events; these are not needed.
    tokio::spawn(async move { while two_events.next().await.is_some() {} });
    let all_known =
        |event: &NodeEvent| matches!(event, NodeEvent::Synced { swarm_images: 6.., .. }).then_some(());
    wait_for(&mut one_events, "both nodes to know all pictures", all_known).await?;
    tokio::spawn(async move { while one_events.next().await.is_some() {} });

    // The client talks to node one only.
    let client = Client::connect(one_address, None).await?;
    let rows = list(&client).await?;
    println!("{} pictures in the swarm:", rows.len());
    for row in &rows {
        println!("  {:?}  {}x{}  {}", row.facts.image, row.facts.width, row.facts.height, row.path);
    }
    let elsewhere = rows.iter().find(|row| !row.holders.contains(&client.node()));
    let row = elsewhere.context("a picture that only node two holds")?;

    let mut bytes = Memory::default();
    client.fetch(row.facts.image, row.content, &mut bytes).await?;
    let original = std::fs::read(row.path.in_folder(&temp.path().join("two")))?;
    ensure!(bytes.0 == original, "the bytes differ");
    println!("got {} through node one: {} bytes, the same as in folder two", row.path, original.len());

    tokio::join!(one.shutdown(), two.shutdown());
    Ok(())
}

/// Starts a node on any free port of this machine, and waits for its address.
async fn start(
    temp: &Path,
    folder: &str,
    bootstrap: Option<Multiaddr>,
) -> Result<(NodeHandle, NodeEvents, Multiaddr)> {
    let config = NodeConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
        bootstrap: bootstrap.into_iter().collect(),
        mdns: false,
        // Keep this user's own list of folders and nodes out of it.
        home: Some(temp.join("home")),
        ..NodeConfig::new(temp.join(folder))
    };
    let (node, mut events) = node::start(config).await?;
    let listening = |event: &NodeEvent| match event {
        NodeEvent::Listening { address } => Some(address.clone()),
        _ => None,
    };
    let address = wait_for(&mut events, "the node to listen", listening).await?;
    Ok((node, events, address))
}

/// Reads events until one of them is what `wanted` looks for.
async fn wait_for<T>(
    events: &mut NodeEvents,
    what: &str,
    wanted: impl Fn(&NodeEvent) -> Option<T>,
) -> Result<T> {
    let search = async {
        while let Some(event) = events.next().await {
            if let Some(found) = wanted(&event) {
                return Ok(found);
            }
        }
        anyhow::bail!("the node stopped while waiting for {what}")
    };
    tokio::time::timeout(PATIENCE, search).await.with_context(|| format!("waited too long for {what}"))?
}

/// All pages of the list.
async fn list(client: &Client) -> Result<Vec<ImageRow>> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = client.list(after, None).await?;
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next.into_vec()),
            None => return Ok(rows),
        }
    }
}

/// Verified bytes, kept in memory.
#[derive(Default)]
struct Memory(Vec<u8>);

impl ChunkSink for Memory {
    fn begin(&mut self, bytes: u64) -> std::io::Result<()> {
        self.0 = vec![0; usize::try_from(bytes).map_err(std::io::Error::other)?];
        Ok(())
    }

    fn chunk(&mut self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let place = self.0.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..data.len()));
        place.ok_or(std::io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
