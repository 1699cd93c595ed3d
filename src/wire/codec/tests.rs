use std::pin::Pin;
use std::task::{Context, Poll};

use futures::executor::block_on;
use libp2p::PeerId;
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;
use crate::limits::{
    CHUNK_BYTES, MAX_CONTENT_BYTES, MAX_HOLDING_KEYS, MAX_PAGE_ENTRIES, MAX_TEXT_BYTES, RUN_CHUNKS,
};
use crate::protocol::{
    CatalogEntry, CatalogPage, Decides, Held, Hello, HolderStatus, ImageRow, Keeps, ListPage, MemberAddress,
    MemberState, NodeStatus, PeerStatus, Refusal, RefusalCode, ScrubStatus,
};
use crate::types::{CaptureTime, CatalogHead, ContentId, Epoch, Facts, FolderId};
use crate::types::{Format, ImageId, RelPath, Seq, Traits, to_hex};

mod bands;
mod changes;
mod copies;
mod drops;
mod lists;
mod scrub;
mod similar;

fn written<H: Serialize + Validate + Send>(frame: Frame<H>) -> Vec<u8> {
    let mut out = Vec::new();
    block_on(write_frame(&mut out, frame)).unwrap();
    out
}

fn read<H: DeserializeOwned + Validate + Send>(mut bytes: &[u8]) -> io::Result<Frame<H>> {
    block_on(read_frame(&mut bytes))
}

fn any_peer() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(|bytes| {
        let key = libp2p::identity::Keypair::ed25519_from_bytes(bytes).expect("32 bytes are a key");
        key.public().to_peer_id()
    })
}

fn any_content() -> impl Strategy<Value = ContentId> {
    any::<[u8; 32]>().prop_map(ContentId)
}

fn any_image() -> impl Strategy<Value = ImageId> {
    (any::<[u8; 32]>(), any::<bool>())
        .prop_map(|(b, hash)| if hash { ImageId::Hash(b) } else { ImageId::Content(ContentId(b)) })
}

fn any_path() -> impl Strategy<Value = RelPath> {
    prop::collection::vec(1..=255_u8, 1..40).prop_filter_map("a plain path", RelPath::from_bytes)
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let format = prop_oneof![Just(Format::Jpeg), Just(Format::Png), Just(Format::WebP), Just(Format::Tiff)];
    let taken = prop::option::of(Just(CaptureTime::new("2016-04-21T14:03:22.12+02:00").unwrap()));
    (any_image(), any::<u64>(), any::<(u32, u32)>(), format, taken, any::<u8>(), any::<u16>()).prop_map(
        |(image, bytes, (width, height), format, taken_at, guard, traits)| Facts {
            image,
            bytes,
            width,
            height,
            format,
            taken_at,
            guard,
            traits: Traits(traits),
        },
    )
}

fn any_head() -> impl Strategy<Value = CatalogHead> {
    any::<(u64, u64)>().prop_map(|(epoch, seq)| CatalogHead { epoch: Epoch(epoch), seq: Seq(seq) })
}

fn any_entry() -> impl Strategy<Value = CatalogEntry> {
    let held = (any_facts(), any_path(), any::<(u32, bool, bool)>())
        .prop_map(|(facts, path, (files, replica, pinned))| Held { facts, path, files, replica, pinned });
    (any::<u64>(), any_content(), prop::option::of(held)).prop_map(|(seq, content, held)| CatalogEntry {
        seq: Seq(seq),
        content,
        held,
    })
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    let code = prop_oneof![
        Just(RefusalCode::Busy),
        Just(RefusalCode::NotFound),
        Just(RefusalCode::Unreadable),
        Just(RefusalCode::Unavailable),
        Just(RefusalCode::Corrupt),
        Just(RefusalCode::Forbidden),
        Just(RefusalCode::Invalid)
    ];
    (code, ".*").prop_map(|(code, message)| Refusal::new(code, message))
}

fn any_row() -> impl Strategy<Value = ImageRow> {
    let holders = prop::collection::vec(any_peer(), 0..3);
    (any_content(), any_facts(), any_path(), holders, any::<(u32, bool)>()).prop_map(
        |(content, facts, path, holders, (copies, pinned))| ImageRow {
            content,
            facts,
            path,
            holders,
            copies,
            pinned,
        },
    )
}

fn some<T>(strategy: T) -> impl Strategy<Value = Vec<T::Value>>
where
    T: Strategy,
{
    prop::collection::vec(strategy, 0..4)
}

fn any_hello() -> impl Strategy<Value = Hello> {
    (any::<(u32, u128, u64, u64)>(), any_head(), drops::any_decides(), copies::any_keeps()).prop_map(
        |((hash_version, folder, images, bytes), head, decides, keeps)| Hello {
            hash_version,
            folder: FolderId(folder),
            head,
            images,
            bytes,
            decides,
            keeps,
            crowded: images % 2 == 1,
            guest: bytes % 2 == 1,
        },
    )
}

fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    prop_oneof![
        any_hello().prop_map(PeerRequest::Hello),
        any::<(u64, u64)>().prop_map(|(e, s)| PeerRequest::Catalog { epoch: Epoch(e), after: Seq(s) }),
        some(any_image()).prop_map(|images| PeerRequest::Holding { images }),
        any_content().prop_map(|content| PeerRequest::Outline { content }),
        (any_content(), any::<u32>()).prop_map(|(content, index)| PeerRequest::Chunk { content, index }),
        (any_content(), any::<u32>(), 1..=RUN_CHUNKS)
            .prop_map(|(content, first, count)| PeerRequest::Chunks { content, first, count }),
        Just(PeerRequest::Members),
        drops::any_peer_request(),
        copies::any_peer_request(),
        scrub::any_peer_request(),
        changes::any_peer_request(),
        lists::any_peer_request(),
        bands::any_peer_request(),
    ]
}

fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    let member = (any_peer(), some(any::<[u8; 9]>())).prop_map(|(peer, addresses)| MemberAddress {
        peer,
        addresses: addresses.into_iter().map(ByteBuf::from).collect(),
    });
    prop_oneof![
        any_hello().prop_map(PeerResponse::Hello),
        (any_head(), any::<(u64, u64)>(), some(any_entry())).prop_map(|(head, (upto, from), entries)| {
            PeerResponse::Catalog(CatalogPage { head, upto: Seq(upto), from: Seq(from), entries })
        }),
        some(any_entry()).prop_map(PeerResponse::Holding),
        (0..=MAX_CONTENT_BYTES).prop_map(|bytes| PeerResponse::Outline { bytes }),
        Just(PeerResponse::Chunk),
        Just(PeerResponse::Chunks),
        some(member).prop_map(PeerResponse::Members),
        any_refusal().prop_map(PeerResponse::Refused),
        drops::any_peer_response(),
        copies::any_peer_response(),
        scrub::any_peer_response(),
        bands::any_peer_response(),
        changes::any_removal_answers().prop_map(PeerResponse::Removals),
        lists::any_peer_response(),
    ]
}

fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        Just(ClientRequest::Status),
        Just(ClientRequest::Peers),
        (prop::option::of(any::<[u8; 65]>()), prop::option::of("[a-zäö]{0,20}"))
            .prop_map(|(after, filter)| ClientRequest::List { after: after.map(ByteBuf::from), filter }),
        "[0-9a-f]{0,64}".prop_map(|query| ClientRequest::Resolve { query }),
        (any_content(), any_image()).prop_map(|(content, image)| ClientRequest::Locate { content, image }),
        (any_content(), any_image()).prop_map(|(content, image)| ClientRequest::Outline { content, image }),
        (any_content(), any_image(), any::<u32>()).prop_map(|(content, image, index)| ClientRequest::Chunk {
            content,
            image,
            index
        }),
        (any_content(), any_image(), any::<u32>(), 1..=RUN_CHUNKS).prop_map(
            |(content, image, first, count)| ClientRequest::Chunks { content, image, first, count }
        ),
        drops::any_client_request(),
        any::<bool>().prop_map(|cancel| ClientRequest::Drain { cancel }),
        scrub::any_client_request(),
        changes::any_client_request(),
        similar::any_client_request(),
    ]
}

fn any_status() -> impl Strategy<Value = NodeStatus> {
    let numbers = any::<(u64, u64, u64, u64, u32, u64, u64, u64)>();
    let scanning = prop::option::of(any::<(u64, u64)>());
    (any_peer(), numbers, any::<u128>(), scanning, some((any_path(), ".*")), any::<(bool, bool)>()).prop_map(
        |(peer, n, folder, scanning, problems, (private, open))| NodeStatus {
            peer,
            version: "0.1.0".to_owned(),
            uptime_s: n.0,
            folder: "/photos".to_owned(),
            folder_id: FolderId(folder),
            images: n.1,
            bytes: n.2,
            swarm_images: n.3,
            asked: n.4,
            peers: n.4,
            relays: n.4,
            relaying: open,
            records_held: n.5,
            published: n.6,
            to_publish: n.7,
            scanning,
            unprotected: n.0,
            problem_count: n.1,
            problems: problems.into_iter().map(|(p, why)| (p, why.chars().take(200).collect())).collect(),
            unreached: vec![("/ip4/10.0.0.2/tcp/4011".to_owned(), "nobody listens there".to_owned())],
            private,
            open,
            addresses: vec!["/ip4/10.0.0.1/tcp/4001".to_owned()],
            dedup: drops::a_dedup_status(),
            copies: copies::a_status(),
            scrub: ScrubStatus { days: 30, last_full: Some(n.1), ..ScrubStatus::default() },
        },
    )
}

fn any_client_response() -> impl Strategy<Value = ClientResponse> {
    let numbers = any::<(Option<u64>, u64, u64, u64, Option<u64>)>();
    let peer = (any_peer(), any::<bool>(), numbers, prop::option::of(".{0,50}")).prop_map(
        |(peer, connected, (rtt_us, images, known, head, seen_s), trouble)| PeerStatus {
            peer,
            connected,
            relayed: connected,
            addresses: vec!["/dns/example.org/tcp/1".to_owned()],
            rtt_us,
            images,
            catalog_known: Seq(known),
            catalog_head: Seq(head),
            seen_s,
            state: Some(MemberState::Draining),
            room: Some(head),
            trouble,
        },
    );
    let holder = (any_peer(), prop::option::of(any_path()), any::<(bool, bool, bool)>()).prop_map(
        |(peer, path, (confirmed, via_dht, via_catalog))| HolderStatus {
            peer,
            path,
            confirmed,
            via_dht,
            via_catalog,
        },
    );
    prop_oneof![
        any_status().prop_map(|status| ClientResponse::Status(Box::new(status))),
        some(peer).prop_map(ClientResponse::Peers),
        (some(any_row()), prop::option::of(any::<[u8; 65]>())).prop_map(|(rows, next)| ClientResponse::List(
            ListPage { silent: rows.len() as u32, rows, next: next.map(ByteBuf::from) }
        )),
        (some(any_row()), any::<bool>()).prop_map(|(rows, more)| ClientResponse::Found { rows, more }),
        some(holder).prop_map(ClientResponse::Located),
        (0..=MAX_CONTENT_BYTES).prop_map(|bytes| ClientResponse::Outline { bytes }),
        Just(ClientResponse::Chunk),
        any_refusal().prop_map(ClientResponse::Refused),
        drops::any_client_response(),
        copies::any_drain(),
        scrub::any_client_response(),
        changes::any_client_response(),
        similar::any_client_response(),
    ]
}

/// The message comes back, with as long a payload as it allows, and every shorter piece of
/// it is an error.
fn survives<H>(header: H) -> Result<(), TestCaseError>
where
    H: Serialize + DeserializeOwned + Validate + Send + Clone + PartialEq + std::fmt::Debug,
{
    let payload: Vec<u8> = (0..header.payload_limit().min(5000)).map(|i| i as u8).collect();
    let frame = Frame::new(header, payload);
    let bytes = written(frame.clone());
    prop_assert_eq!(&read::<H>(&bytes).unwrap(), &frame);
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
        let error = read::<H>(&bytes[..cut]).unwrap_err();
        prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {}", cut);
    }
    let longer = [bytes, vec![0]].concat();
    prop_assert!(read::<H>(&longer).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn peer_requests_survive_the_stream(message in any_peer_request()) {
        survives(message)?;
    }

    #[test]
    fn peer_responses_survive_the_stream(message in any_peer_response()) {
        survives(message)?;
    }

    #[test]
    fn client_requests_survive_the_stream(message in any_client_request()) {
        survives(message)?;
    }

    #[test]
    fn client_responses_survive_the_stream(message in any_client_response()) {
        survives(message)?;
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = read::<PeerRequest>(&bytes);
        let _ = read::<PeerResponse>(&bytes);
        let _ = read::<ClientRequest>(&bytes);
        let _ = read::<ClientResponse>(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(message in any_client_response(), at: prop::sample::Index, byte: u8) {
        let mut bytes = written(Frame::from(message));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read::<ClientResponse>(&bytes);
    }
}

fn framed(header: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, header.len());
    bytes.extend(header);
    bytes.extend(rest);
    bytes
}

fn refusal_of(bytes: &[u8]) -> String {
    read::<PeerResponse>(bytes).unwrap_err().to_string()
}

/// A stream that never ends and counts what is taken from it: zeros after `start`.
struct Endless<'a> {
    start: &'a [u8],
    taken: usize,
}

impl AsyncRead for Endless<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let (from_start, rest) = self.start.split_at(buf.len().min(self.start.len()));
        buf.fill(0);
        buf[..from_start.len()].copy_from_slice(from_start);
        self.start = rest;
        self.taken += buf.len();
        Poll::Ready(Ok(buf.len()))
    }
}

#[test]
fn announced_lengths_over_the_limit_cost_nothing() {
    for (start, part) in [
        (vec![0x81, 0x80, 0x40], "header"),
        (vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "header"),
        (framed(b"\x65chunk", &[0x81, 0x80, 0x10]), "payload"),
        (framed(b"\xa1\x67outline\xa1\x65bytes\x0a", &[0x01]), "payload"),
    ] {
        let mut stream = Endless { start: &start, taken: 0 };
        let error = block_on(read_frame::<PeerResponse, _>(&mut stream)).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("at most"), "{error}");
        assert!(stream.taken <= start.len(), "{part}: {} bytes read", stream.taken);
    }
}

#[test]
fn memory_follows_the_bytes_that_arrive() {
    let have = vec![7; 40_000];
    let read = block_on(read_bytes(&mut &have[..], have.len())).unwrap();
    assert_eq!((read.len(), read.capacity()), (have.len(), have.len()));
    let error = block_on(read_bytes(&mut &have[..], MAX_PAYLOAD_BYTES)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_whole_chunk_passes_and_one_byte_more_does_not() {
    let chunk = Frame::new(PeerResponse::Chunk, vec![9; CHUNK_BYTES]);
    let bytes = written(chunk.clone());
    assert_eq!(bytes.len(), 1 + 6 + 3 + CHUNK_BYTES, "the payload is outside of the header");
    assert_eq!(read::<PeerResponse>(&bytes).unwrap(), chunk);
    let longer = Frame::new(PeerResponse::Chunk, vec![9; CHUNK_BYTES + 1]);
    assert!(block_on(write_frame(&mut Vec::new(), longer)).is_err());
    let run = Frame::new(PeerResponse::Chunks, vec![9; RUN_CHUNKS as usize * CHUNK_BYTES]);
    assert_eq!(read::<PeerResponse>(&written(run.clone())).unwrap(), run);
    let longer = Frame::new(PeerResponse::Chunks, vec![9; RUN_CHUNKS as usize * CHUNK_BYTES + 1]);
    assert!(block_on(write_frame(&mut Vec::new(), longer)).is_err());
    let not_empty = Frame::new(PeerRequest::Members, vec![1]);
    assert!(block_on(write_frame(&mut Vec::new(), not_empty)).is_err());
    let longest = PeerResponse::Outline { bytes: MAX_CONTENT_BYTES };
    assert_eq!(longest.payload_limit(), MAX_PAYLOAD_BYTES, "limits.rs says that the outline fits");
}

#[test]
fn malformed_frames_are_told_apart() {
    assert!(refusal_of(&[0x87, 0x00]).contains("shortest form"));
    assert!(refusal_of(&framed(b"\x65chunk\x00", &[0])).contains("belong to nothing"));
    assert!(refusal_of(&framed(&[0x81; 40], &[0])).contains("deep"));
    assert!(refusal_of(&framed(b"\x64nope", &[0])).contains("not a message of this protocol"));
    assert!(refusal_of(&framed(b"\x65chunk", &[0, 0])).contains("followed by further"));
    assert!(refusal_of(&framed(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", &[0])).contains("ends before"));
    let stretched = framed(b"\x65chunk", &[0x80, 0x00]);
    assert!(refusal_of(&stretched).contains("shortest form"));
}

#[test]
fn fields_over_their_limits_are_refused_by_both_ends() {
    let images = vec![ImageId::Hash([1; 32]); MAX_HOLDING_KEYS + 1];
    let message = PeerRequest::Holding { images };
    assert!(block_on(write_frame(&mut Vec::new(), Frame::from(message.clone()))).is_err());
    let error = read::<PeerRequest>(&framed(&serde_cbor::to_vec(&message).unwrap(), &[0])).unwrap_err();
    assert!(error.to_string().contains("holding.images is 257, at most 256"), "{error}");
    let content = ContentId([0; 32]);
    for (count, valid) in [(0, false), (1, true), (RUN_CHUNKS, true), (RUN_CHUNKS + 1, false)] {
        assert_eq!(PeerRequest::Chunks { content, first: 7, count }.validate().is_ok(), valid, "{count}");
        let image = ImageId::Hash([0; 32]);
        let to_node = ClientRequest::Chunks { content, image, first: 7, count };
        assert_eq!(to_node.validate().is_ok(), valid, "{count}");
    }
    let entry = CatalogEntry { seq: Seq(1), content, held: None };
    let too_many = PeerResponse::Holding(vec![entry; MAX_PAGE_ENTRIES + 1]);
    assert!(too_many.validate().is_err());
    assert!(PeerResponse::Outline { bytes: MAX_CONTENT_BYTES + 1 }.validate().is_err());
    let refusal = Refusal::new(RefusalCode::Busy, "ä".repeat(MAX_TEXT_BYTES));
    assert!(PeerResponse::Refused(refusal.clone()).validate().is_ok(), "cut when it is made");
    let long = Refusal { message: refusal.message + "ä", ..refusal };
    assert!(PeerResponse::Refused(long).validate().is_err());
}

#[test]
fn later_fields_are_ignored() {
    let header = b"\xa1\x67outline\xa2\x65bytes\x0a\x65later\x83\x01\xf4\x61x";
    let frame = read::<PeerResponse>(&framed(header, &[0])).unwrap();
    assert_eq!(frame.header, PeerResponse::Outline { bytes: 10 });
}

/// The wire format: whoever changes one of these changes the protocol's name too.
#[test]
fn golden_bytes() {
    let hex = |bytes: Vec<u8>| to_hex(&bytes);
    assert_eq!(hex(written(Frame::from(PeerRequest::Members))), "08676d656d6265727300");
    let content = ContentId([0xab; 32]);
    let chunk = PeerRequest::Chunk { content, index: 300 };
    assert_eq!(
        hex(written(Frame::from(chunk))),
        format!("3ba1656368756e6ba267636f6e74656e745820{}65696e64657819012c00", "ab".repeat(32))
    );
    let head = CatalogHead { epoch: Epoch(u64::MAX), seq: Seq(7) };
    let hello = Hello {
        hash_version: 1,
        folder: FolderId(0x0102),
        head,
        images: 3,
        bytes: 70_000,
        decides: Decides { version: 1, lease_s: 120, copies: 2 },
        keeps: Keeps::default(),
        crowded: false,
        guest: false,
    };
    assert_eq!(
        hex(written(Frame::from(PeerResponse::Hello(hello)))),
        "a501a16568656c6c6fa76c686173685f76657273696f6e0166666f6c64657250000000000000000000000000000001026468656164\
         a26565706f63681bffffffffffffffff6373657107666\
         96d61676573036562797465731a000111706764656369646573a36776657273696f6e01676c656173655f73187866636f7069657302\
         656b65657073a466776569676874006574616b6573f468647261696e696e67f464726f6f6d00\
         00"
    );
    let refused = PeerResponse::Refused(Refusal::new(RefusalCode::NotFound, "no"));
    assert_eq!(
        hex(written(Frame::from(refused))),
        "24a16772656675736564a264636f6465696e6f745f666f756e64676d657373616765626e6f00"
    );
    let chunk = Frame::new(ClientResponse::Chunk, vec![1, 2, 3]);
    assert_eq!(hex(written(chunk)), "06656368756e6b03010203");
}
