//! Messages about pictures that clients add and remove, made up.

use super::*;
use crate::limits::MAX_NAME_BYTES;
use crate::protocol::{PutRequest, PutResponse};

pub(super) fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    let put = prop_oneof![
        (any_content(), 0..=MAX_CONTENT_BYTES, ".{0,40}")
            .prop_map(|(content, bytes, name)| PutRequest::Begin { content, bytes, name }),
        any::<(u64, u32)>().prop_map(|(token, index)| PutRequest::Chunk { token, index }),
        any::<u64>().prop_map(|token| PutRequest::End { token }),
        (any_content(), any_image()).prop_map(|(content, image)| PutRequest::Copies { content, image }),
    ];
    put.prop_map(ClientRequest::Put)
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
    put.prop_map(ClientResponse::Put)
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
