//! Honest nodes, their clients, and waiting for what they tell.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use image::{ImageFormat, RgbImage};
use libp2p::{Multiaddr, PeerId};
use p2pimg::client::{ChunkSink, Client};
use p2pimg::node::{self, NodeConfig, NodeEvent, NodeHandle};
use p2pimg::protocol::ImageRow;
use p2pimg::types::ContentId;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine, be it with ten times the work that its
/// cores can do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running honest node, stopped with its runtime; its folders go with it.
pub(crate) struct Node {
    pub(crate) handle: NodeHandle,
    pub(crate) dir: PathBuf,
    events: Arc<Mutex<Vec<NodeEvent>>>,
    _temp: TempDir,
}

/// A noisy picture of `side` pixels squared: about three bytes a pixel as PNG, and no two
/// numbers alike.
pub(crate) fn picture(number: u64, side: u32) -> RgbImage {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    RgbImage::from_fn(side, side, |x, y| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Large shapes for the hash, noise for the size.
        let shape = if (u64::from(x * 8 / side) * 7 + u64::from(y * 8 / side) * 3 + number).is_multiple_of(3)
        {
            160
        } else {
            20
        };
        image::Rgb([0, 8, 16].map(|bits| shape + (state >> bits) as u8 % 64))
    })
}

impl Node {
    /// A node with pictures of the given numbers and sides, joined to `others`.
    pub(crate) async fn start(pictures: &[(u64, u32)], others: &[Multiaddr]) -> Self {
        let files = pictures.iter().map(|(number, side)| {
            let mut file = Cursor::new(Vec::new());
            picture(*number, *side).write_to(&mut file, ImageFormat::Png).unwrap();
            (format!("{number}.png"), file.into_inner())
        });
        Self::start_with(files, others, |_| {}).await
    }

    /// A node with these files, all of them pictures, and other settings than the usual ones.
    pub(crate) async fn start_with(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        others: &[Multiaddr],
        change: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("pictures");
        std::fs::create_dir(&dir).unwrap();
        let mut wanted = 0;
        for (name, bytes) in files {
            std::fs::write(dir.join(name), bytes).unwrap();
            wanted += 1;
        }
        let mut config = NodeConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            bootstrap: others.to_vec(),
            mdns: false,
            home: Some(temp.path().join("home")),
            // Only where a test says so: copies that appear would change what is listed.
            capacity: Some(0),
            ..NodeConfig::new(&dir)
        };
        change(&mut config);
        let (handle, mut incoming) = node::start(config).await.unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        tokio::spawn(async move {
            while let Some(event) = incoming.next().await {
                told.lock().unwrap().push(event);
            }
        });
        let node = Self { handle, dir, events, _temp: temp };
        node.told(
            "its scan to end",
            |event| matches!(event, NodeEvent::ScanDone { images, .. } if *images == wanted),
        )
        .await;
        node
    }

    pub(crate) fn id(&self) -> PeerId {
        self.handle.peer_id()
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.handle.addresses()[0].clone()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address(), None).await.unwrap()
    }

    /// Waits until the node has told such an event.
    pub(crate) async fn told(&self, what: &str, wanted: impl Fn(&NodeEvent) -> bool) {
        let told = async || self.has_told(&wanted);
        let came = came(PATIENCE, &told).await;
        assert!(came, "waited in vain for {what}; it told {:#?}", self.events.lock().unwrap());
    }

    pub(crate) fn has_told(&self, wanted: impl Fn(&NodeEvent) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(wanted)
    }

    pub(crate) fn names_liar(&self, liar: PeerId, of: ContentId) -> bool {
        self.has_told(|event| {
            matches!(event, NodeEvent::WrongBytes { peer, content } if *peer == liar && *content == of.to_string())
        })
    }
}

/// Looks at a condition again and again, for at most [`PATIENCE`].
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    assert!(came(PATIENCE, condition).await, "waited in vain for {what}");
}

/// Looks at a condition again and again, for at most `patience`. Whether it came true.
pub(crate) async fn came(patience: Duration, condition: impl AsyncFn() -> bool) -> bool {
    let began = Instant::now();
    while !condition().await {
        if began.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// All rows of the list.
pub(crate) async fn list(client: &Client) -> Vec<ImageRow> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = client.list(after, None).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next.into_vec()),
            None => return rows,
        }
    }
}

/// Verified bytes in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Vec<u8>);

impl ChunkSink for Memory {
    fn begin(&mut self, bytes: u64) -> std::io::Result<()> {
        self.0 = vec![0; usize::try_from(bytes).unwrap()];
        Ok(())
    }

    fn chunk(&mut self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
