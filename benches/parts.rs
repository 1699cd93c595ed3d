//! Parts of the program on their own, to see which one became slower.
//!
//! `cargo bench --bench parts`; under a minute.

// The macro makes a public function.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use futures::io::Cursor;
use libp2p::kad::{ProviderRecord, RecordKey};
use libp2p::multihash::Multihash;
use libp2p::request_response::Codec as _;
use libp2p::{PeerId, StreamProtocol};
use p2pimg::dht_index::keys;
use p2pimg::limits::{CHUNK_BYTES, INDEX_BATCH, MAX_PAGE_ENTRIES};
use p2pimg::picture::Signature;
use p2pimg::picture::quality::{Encoding, Fidelity, Metadata};
use p2pimg::protocol::PeerResponse;
use p2pimg::store::index::{Change, Fingerprint, Found, Index};
use p2pimg::store::records::Records;
use p2pimg::transfer::outline::{Outline, OutlineBuilder};
use p2pimg::types::{CaptureTime, Epoch, Facts, Format, ImageId, RelPath, Seq, Standing, Traits};
use p2pimg::wire::codec::{Frame, PeerCodec};

/// Contents in the index and keys in the record store.
const MANY: u64 = 10_000;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/p2pimg-bench");

fn outline(data: &[u8]) -> Outline {
    let mut builder = OutlineBuilder::new();
    builder.update(data);
    builder.finish()
}

fn hash(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn peer(number: u8) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &[number; 36]).expect("short")).expect("a peer id")
}

fn change(number: u64) -> Change {
    let outline = outline(&number.to_le_bytes());
    let facts = Facts {
        image: ImageId::Hash(hash(number)),
        bytes: outline.bytes(),
        width: 4000,
        height: 3000,
        format: Format::Jpeg,
        taken_at: CaptureTime::new("2016-04-21T14:03:22"),
        guard: 50,
        traits: Traits(0),
    };
    let signature = Some(Signature::from_array([number as u8; Signature::LEN]));
    let encoding = Encoding { fidelity: Fidelity(870), metadata: Metadata::CAMERA };
    Change::Seen {
        path: RelPath::from_bytes(format!("holidays/{}/IMG_{number:06}.JPG", number / 500).into())
            .expect("a path"),
        fingerprint: Fingerprint { bytes: 8, mtime_ns: 1, ctime_ns: 1, inode: number, device: 1 },
        found: Found::Picture { facts, encoding, outline, signature, problem: None },
    }
}

fn index() -> Index {
    let index = Index::in_memory(peer(1)).expect("an index");
    for first in (0..MANY).step_by(INDEX_BATCH) {
        index.apply((first..MANY.min(first + INDEX_BATCH as u64)).map(change).collect()).expect("room");
    }
    index
}

fn write(frame: Frame<PeerResponse>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    block_on(PeerCodec::default().write_response(&PROTOCOL, &mut out, frame)).expect("a message");
    out.into_inner()
}

fn read(bytes: &[u8]) -> Frame<PeerResponse> {
    block_on(PeerCodec::default().read_response(&PROTOCOL, &mut Cursor::new(bytes))).expect("a message")
}

fn outlines(criterion: &mut Criterion) {
    let data = vec![7; 16 * CHUNK_BYTES];
    let whole = outline(&data);
    let mut group = criterion.benchmark_group("outline");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("build, 4 MiB", |bench| bench.iter(|| outline(black_box(&data))));
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    group.bench_function("check a chunk", |bench| {
        bench.iter(|| assert!(whole.matches(3, black_box(&data[3 * CHUNK_BYTES..4 * CHUNK_BYTES]))));
    });
    group.throughput(Throughput::Elements(1));
    let large = outline(&vec![1; 300 << 20]);
    group.bench_function("verify, 300 MiB", |bench| {
        bench.iter(|| Outline::verify(large.content(), large.bytes(), black_box(large.values())).is_some());
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let chunk = || Frame::new(PeerResponse::Chunk, vec![7; CHUNK_BYTES]);
    let bytes = write(chunk());
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
    group.bench_function("write a chunk", |bench| {
        bench.iter_batched(chunk, |chunk| write(chunk).len(), BatchSize::LargeInput);
    });
    group.bench_function("read a chunk", |bench| bench.iter(|| read(black_box(&bytes)).payload.len()));
    let page = index().catalog_page(Epoch(0), Seq(0)).expect("a page");
    group.throughput(Throughput::Elements(page.entries.len() as u64));
    let page = PeerResponse::Catalog(page);
    let bytes = write(page.clone().into());
    group.bench_function("write a catalog page", |bench| {
        bench.iter_batched(|| page.clone().into(), |page| write(page).len(), BatchSize::LargeInput);
    });
    group.bench_function("read a catalog page", |bench| bench.iter(|| read(black_box(&bytes))));
    group.finish();
}

fn lists(criterion: &mut Criterion) {
    let index = index();
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(MAX_PAGE_ENTRIES as u64));
    group.bench_function("list page", |bench| {
        bench.iter(|| index.list(None, None, &|_| Standing::Trusted).expect("a page").0.len());
    });
    group.bench_function("list page, nothing fits the filter", |bench| {
        bench.iter(|| index.list(None, Some("nowhere"), &|_| Standing::Trusted).expect("a page").0.len());
    });
    group.bench_function("catalog page", |bench| {
        bench.iter(|| index.catalog_page(Epoch(0), Seq(0)).expect("a page").entries.len());
    });
    group.throughput(Throughput::Elements(INDEX_BATCH as u64));
    let mut next = MANY;
    group.bench_function("take in a batch of new pictures", |bench| {
        bench.iter_batched(
            || {
                next += INDEX_BATCH as u64;
                (next..next + INDEX_BATCH as u64).map(change).collect()
            },
            |batch| index.apply(batch).expect("room"),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let now = Instant::now();
    let key = |number: u64| -> RecordKey { keys::image_key(&ImageId::Hash(hash(number))) };
    let record = |number: u64| ProviderRecord {
        key: key(number),
        provider: peer((number % 50) as u8),
        expires: Some(now + Duration::from_secs(3600)),
        addresses: Vec::new(),
    };
    let mut records = Records::new(peer(255));
    for number in 0..MANY {
        records.add_provider_at(&record(number), now).expect("room");
    }
    let mut group = criterion.benchmark_group("records");
    let mut next = 0;
    group.bench_function("insert", |bench| {
        bench.iter_batched(
            || {
                next += 1;
                record(MANY + next % MANY)
            },
            |record| records.add_provider_at(&record, now).expect("room"),
            BatchSize::SmallInput,
        );
    });
    let wanted = key(77);
    group.bench_function("lookup", |bench| {
        bench.iter(|| assert_eq!(records.providers_at(black_box(&wanted), now).len(), 1));
    });
    group.finish();
}

criterion_group! {
    name = parts;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = outlines, messages, lists, records
}
criterion_main!(parts);
