//! A peer that offers a better version of a node's picture, and the pictures for it.

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, RgbImage};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use p2pimg::limits::{DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS};
use p2pimg::node::{NodeConfig, NodeEvent};
use p2pimg::picture::same::DECISION_VERSION;
use p2pimg::picture::{PixelPlanes, Signature};
use p2pimg::protocol::{
    CatalogEntry, CatalogPage, Decides, Description, HASH_VERSION, Held, Hello, OfferAnswer, PeerRequest,
    PeerResponse, Refusal, RefusalCode,
};
use p2pimg::replication::lease::proof_key;
use p2pimg::store::decode::{Inspected, Inspection, Inspector};
use p2pimg::store::trash::{Entry, read_trash};
use p2pimg::transfer::outline::Outline;
use p2pimg::types::{CatalogHead, ContentId, FolderId, RelPath, Seq};
use p2pimg::wire::codec::Frame;

use crate::liar::{EPOCH, Liar, Lie};
use crate::net::{Node, came};
use crate::photos;

/// Several attempts at several drops, on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// Of all nodes here.
const LEASE: Duration = Duration::from_secs(6);

/// Photo `number`, no larger than it takes to be compared: each attempt decodes it.
fn photo(number: u64) -> RgbImage {
    let (width, height) = (400, 300);
    DynamicImage::from(photos::draw(number)).resize_exact(width, height, FilterType::Triangle).to_rgb8()
}

/// The photo in its best version.
pub(crate) fn best(number: u64) -> Vec<u8> {
    as_png(photo(number))
}

/// The same with a part painted over: another picture.
pub(crate) fn edited(number: u64) -> Vec<u8> {
    let mut photo = photo(number);
    for (x, y, pixel) in photo.enumerate_pixels_mut() {
        if (175..225).contains(&x) && (125..175).contains(&y) {
            pixel.0 = pixel.0.map(|value| 255 - value);
        }
    }
    as_png(photo)
}

fn as_png(photo: RgbImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(photo).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// The same photo at half its size, as a JPEG.
pub(crate) fn halved(number: u64) -> Vec<u8> {
    let photo = DynamicImage::from(photo(number));
    let small = photo.resize_exact(photo.width() / 2, photo.height() / 2, FilterType::Triangle);
    let mut file = Vec::new();
    small.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut file, 90)).unwrap();
    file
}

/// How a node that drops is started here.
pub(crate) fn dropping(config: &mut NodeConfig) {
    config.lease = LEASE;
    config.max_drop_percent = 100;
}

/// What a node that decides like these says of it.
pub(crate) fn alike() -> Decides {
    Decides { version: DECISION_VERSION, lease_s: LEASE.as_secs() as u32, copies: 2 }
}

/// A content as a peer may offer it.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) content: ContentId,
    /// As it describes itself.
    pub(crate) description: Description,
    signature: Signature,
    /// Of the bytes that it sends.
    pub(crate) outline: Outline,
    pub(crate) bytes: Vec<u8>,
}

impl Offer {
    /// Nothing but the truth.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let Inspected { facts, encoding, outline, signature, .. } = inspected(&bytes).0;
        let description = Description {
            content: outline.content(),
            facts,
            fidelity: encoding.fidelity.0,
            metadata: encoding.metadata.0,
            signature: true,
            pinned: false,
            edits: Vec::new(),
            edited_often: false,
            witnesses: 0,
        };
        Self { content: outline.content(), description, signature: signature.unwrap(), outline, bytes }
    }

    /// As a better version of `of`: its very hash and signature, twice as large.
    pub(crate) fn posing_as_better(mut self, of: &Self) -> Self {
        let length = self.bytes.len() as u64;
        self.description = Description { content: self.content, ..of.description.clone() };
        self.description.fidelity = 1001;
        self.description.facts.width *= 2;
        self.description.facts.height *= 2;
        self.description.facts.bytes = length;
        self.signature = of.signature.clone();
        self
    }

    fn entry(&self) -> CatalogEntry {
        let path = RelPath::from_bytes(b"offered.png".to_vec()).unwrap();
        let facts = self.description.facts.clone();
        let held = Held { facts, path, files: 1, replica: false, pinned: false };
        CatalogEntry { seq: Seq(1), content: self.content, held: Some(held) }
    }

    pub(crate) fn chunk(&self, index: u32) -> Vec<u8> {
        let (offset, length) = self.outline.range(index).unwrap();
        self.bytes[offset as usize..][..length].to_vec()
    }
}

/// What a file with these bytes is, and its pixels.
pub(crate) fn inspected(bytes: &[u8]) -> (Inspected, PixelPlanes) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let inspector = Inspector::new(DEFAULT_DECODE_BUDGET, DEFAULT_MAX_PIXELS);
    let Inspection::Picture(inspected) = inspector.inspect(&file, b"offered").unwrap() else {
        panic!("no picture")
    };
    (*inspected, inspector.planes(&file, b"offered").unwrap().unwrap())
}

/// What a peer was asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) outlines: AtomicUsize,
    pub(crate) chunks: AtomicUsize,
    pub(crate) leases: AtomicUsize,
}

pub(crate) fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// The right answer to a request for a lease on `bytes`.
pub(crate) fn proof(holder: &PeerId, asker: &PeerId, nonce: &[u8], bytes: &[u8]) -> Vec<u8> {
    blake3::keyed_hash(&proof_key(holder, asker, nonce), bytes).as_bytes().to_vec()
}

/// A running peer with an offer.
pub(crate) struct Offering {
    pub(crate) liar: Liar,
    pub(crate) asked: Arc<Asked>,
}

/// Joins `node` with an offer, and says what `lies` say, given its own name; where they have
/// nothing to say, the honest answer to whatever is asked.
pub(crate) fn offering<L>(node: &Node, offer: Offer, decides: Decides, lies: L) -> Offering
where
    L: Fn(&PeerId, &PeerRequest) -> Option<Lie> + Send + 'static,
{
    let keypair = Keypair::generate_ed25519();
    let (me, asker) = (keypair.public().to_peer_id(), node.id());
    let asked = Arc::new(Asked::default());
    let counts = Arc::clone(&asked);
    let head = CatalogHead { epoch: EPOCH, seq: Seq(1) };
    // Each in a folder of its own.
    let folder = FolderId(u128::from_be_bytes(me.to_bytes()[me.to_bytes().len() - 16..].try_into().unwrap()));
    let answer = move |request: &PeerRequest| {
        let counter = match request {
            PeerRequest::Outline { .. } => Some(&counts.outlines),
            PeerRequest::Chunk { .. } | PeerRequest::Chunks { .. } => Some(&counts.chunks),
            PeerRequest::Lease { .. } => Some(&counts.leases),
            _ => None,
        };
        let lie = lies(&me, request);
        // Afterwards: who waits for the count may rely on what the lie did.
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        lie.unwrap_or_else(|| match request {
            PeerRequest::Hello(_) => {
                let (images, bytes) = (1, offer.bytes.len() as u64);
                let hash_version = HASH_VERSION;
                PeerResponse::Hello(Hello {
                    hash_version,
                    folder,
                    head,
                    images,
                    bytes,
                    decides,
                    keeps: p2pimg::protocol::Keeps::default(),
                    crowded: false,
                    guest: false,
                })
                .into()
            }
            PeerRequest::Catalog { epoch, after } => {
                let from = if *epoch == EPOCH { (*after).min(head.seq) } else { Seq(0) };
                let entries = if from == head.seq { Vec::new() } else { vec![offer.entry()] };
                PeerResponse::Catalog(CatalogPage { head, upto: head.seq, from, entries }).into()
            }
            PeerRequest::Describe { .. } => Lie::Say(Frame::new(
                PeerResponse::Described(vec![offer.description.clone()]),
                offer.signature.as_array().to_vec(),
            )),
            PeerRequest::Outline { .. } => Lie::Say(Frame::new(
                PeerResponse::Outline { bytes: offer.outline.bytes() },
                offer.outline.values().to_vec(),
            )),
            PeerRequest::Chunk { index, .. } => {
                Lie::Say(Frame::new(PeerResponse::Chunk, offer.chunk(*index)))
            }
            PeerRequest::Chunks { first, count, .. } => {
                let chunks = (*first..first + count).flat_map(|index| offer.chunk(index)).collect();
                Lie::Say(Frame::new(PeerResponse::Chunks, chunks))
            }
            PeerRequest::Witnesses { .. } => PeerResponse::Witnesses(Vec::new()).into(),
            PeerRequest::Digest => PeerResponse::Digest { head, digest: vec![0; 32].into() }.into(),
            PeerRequest::Offer { contents } => {
                PeerResponse::Offered(vec![OfferAnswer::Unwanted; contents.len()]).into()
            }
            PeerRequest::Lease { nonce, .. } => {
                let proof = proof(&me, &asker, nonce, &offer.bytes).into();
                PeerResponse::Leased { proof }.into()
            }
            PeerRequest::Holding { .. } => PeerResponse::Holding(vec![offer.entry()]).into(),
            PeerRequest::Members => PeerResponse::Members(Vec::new()).into(),
            PeerRequest::Prove { nonce, .. } => {
                let proof = Some(proof(&me, &asker, nonce, &offer.bytes).into());
                PeerResponse::Proved { proof, damaged: 0 }.into()
            }
            PeerRequest::Removals(_) => PeerResponse::Removals(Vec::new()).into(),
            // It has no more to tell than an offer.
            _ => PeerResponse::Refused(Refusal::new(RefusalCode::NotFound, "no")).into(),
        })
    };
    Offering { liar: Liar::join_as(&keypair, &[node.address()], answer), asked }
}

/// What is in the trash of the node at `dir`.
pub(crate) fn trashed(dir: &Path) -> Vec<Entry> {
    let (entries, problems) = read_trash(&dir.join(".p2pimg").join("trash")).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    entries
}

/// Whether a file is in its place and no more in the trash, where others may be on their way.
pub(crate) fn is_back(dir: &Path, name: &str) -> bool {
    let (entries, problems) = read_trash(&dir.join(".p2pimg").join("trash")).unwrap();
    let its = |entry: &Entry| entry.path.as_str() == Some(name);
    dir.join(name).exists() && problems.is_empty() && !entries.iter().any(its)
}

/// Every file is in its place, byte for byte; nothing is in the trash, or ever went there for
/// good.
#[track_caller]
pub(crate) fn untouched(node: &Node, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let there = std::fs::read(node.dir.join(name));
        assert!(there.is_ok_and(|there| there == *bytes), "{name} is not what it was");
    }
    let entries = trashed(&node.dir);
    assert!(entries.is_empty(), "{entries:?}");
    assert!(!node.has_told(|event| matches!(event, NodeEvent::Dropped { .. })));
}

/// Waits longer than for anything else.
pub(crate) async fn patiently(what: &str, condition: impl AsyncFn() -> bool) {
    assert!(came(LONG, condition).await, "waited in vain for {what}");
}
