//! Pages of what one node holds.

use super::*;
use crate::protocol::{OwnPage, PeerRequest, PeerResponse};

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    let after = prop::option::of(any::<[u8; 65]>());
    let query = prop::option::of("[0-9a-f]{6,64}");
    (after, query, 0..=MAX_PAGE_ENTRIES as u32).prop_map(|(after, query, most)| PeerRequest::List {
        after: after.map(ByteBuf::from),
        query,
        most,
    })
}

pub(super) fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    let next = prop::option::of(any::<[u8; 65]>());
    (any_head(), some(any_entry()), any::<u128>(), next).prop_map(|(head, entries, folder, next)| {
        PeerResponse::List(OwnPage { folder: FolderId(folder), head, entries, next: next.map(ByteBuf::from) })
    })
}

#[test]
fn pages_that_ask_or_tell_too_much_are_refused() {
    let request =
        |most, after: usize| PeerRequest::List { after: Some(vec![0; after].into()), query: None, most };
    assert!(request(MAX_PAGE_ENTRIES as u32, 65).validate().is_ok());
    assert!(request(MAX_PAGE_ENTRIES as u32 + 1, 65).validate().is_err());
    assert!(request(1, 257).validate().is_err());
}
