//! Messages about pictures that clients add and remove, made up.

use super::*;
use crate::limits::MAX_NAME_BYTES;
use crate::limits::MAX_REMOVALS_TOLD;
use crate::protocol::{PutRequest, PutResponse, Removal, RemovalAnswer, RemovalEnd};

fn any_removal() -> impl Strategy<Value = Removal> {
    (any_content(), any_peer(), any::<(u64, u64, u64, bool)>(), any_peer()).prop_map(
        |(content, peer, (epoch, seq, at, spared), by)| Removal {
            content,
            peer,
            epoch: Epoch(epoch),
            seq: Seq(seq),
            at,
            by,
            spared,
        },
    )
}

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    some(any_removal()).prop_map(PeerRequest::Removals)
}

pub(super) fn any_removal_answers() -> impl Strategy<Value = Vec<RemovalAnswer>> {
    use RemovalEnd::{Away, Later, NotHere, Removed, Spared};
    let end = prop::sample::select(vec![Removed, NotHere, Later, Away, Spared]);
    let why = prop::option::of(".{0,30}");
    some(
        (any_content(), any_peer(), end, any::<u32>(), why)
            .prop_map(|(content, peer, end, files, why)| RemovalAnswer { content, peer, end, files, why }),
    )
}

#[test]
fn a_flood_of_removals_is_refused() {
    let (content, peer) = (ContentId([1; 32]), PeerId::random());
    let one = Removal { content, peer, epoch: Epoch(1), seq: Seq(1), at: 1, by: peer, spared: false };
    let many = |number| PeerRequest::Removals(vec![one.clone(); number]);
    assert!(many(MAX_REMOVALS_TOLD).validate().is_ok());
    assert!(many(MAX_REMOVALS_TOLD + 1).validate().is_err());
    let why = Some("a".repeat(MAX_TEXT_BYTES + 1));
    let answer = RemovalAnswer { content, peer, end: RemovalEnd::Spared, files: 0, why };
    assert!(PeerResponse::Removals(vec![answer]).validate().is_err());
}

pub(super) fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    let put = prop_oneof![
        (any_content(), 0..=MAX_CONTENT_BYTES, ".{0,40}")
            .prop_map(|(content, bytes, name)| PutRequest::Begin { content, bytes, name }),
        any::<(u64, u32)>().prop_map(|(token, index)| PutRequest::Chunk { token, index }),
        any::<u64>().prop_map(|token| PutRequest::End { token }),
        (any_content(), any_image()).prop_map(|(content, image)| PutRequest::Copies { content, image }),
    ];
    prop_oneof![
        put.prop_map(ClientRequest::Put),
        any_content().prop_map(|content| ClientRequest::Remove { content }),
    ]
}

pub(super) fn any_client_response() -> impl Strategy<Value = ClientResponse> {
    let put = prop_oneof![
        any_row().prop_map(|row| PutResponse::Known(Box::new(row))),
        any::<u64>().prop_map(|token| PutResponse::Begun { token }),
        Just(PutResponse::Taken),
        prop::option::of(any_path()).prop_map(|path| PutResponse::Stored { path }),
        any::<(u32, u32, u32)>().prop_map(|(have, wanted, nodes)| PutResponse::Copies {
            have,
            wanted,
            nodes
        }),
    ];
    prop_oneof![put.prop_map(ClientResponse::Put), any_removal_answers().prop_map(ClientResponse::Removed),]
}

#[test]
fn a_put_is_bounded_by_what_it_says() {
    let begin = |bytes, name: usize| {
        let (content, name) = (ContentId([1; 32]), "a".repeat(name));
        ClientRequest::Put(PutRequest::Begin { content, bytes, name })
    };
    assert!(begin(MAX_CONTENT_BYTES, MAX_NAME_BYTES).validate().is_ok());
    assert!(begin(MAX_CONTENT_BYTES + 1, 1).validate().is_err());
    assert!(begin(1, MAX_NAME_BYTES + 1).validate().is_err());
    assert_eq!(begin(1, 1).payload_limit(), 0);
    assert_eq!(begin(CHUNK_BYTES as u64 + 1, 1).payload_limit(), 64);
    let chunk = ClientRequest::Put(PutRequest::Chunk { token: 1, index: 0 });
    assert_eq!(chunk.payload_limit(), CHUNK_BYTES);
    assert_eq!(ClientRequest::Put(PutRequest::End { token: 1 }).payload_limit(), 0);
}
