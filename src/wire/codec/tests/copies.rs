//! Messages about copies, made up.

use super::*;
use crate::protocol::{Census, CopiesStatus, DrainStatus, Keeps, OfferAnswer, Offered};

pub(super) fn any_keeps() -> impl Strategy<Value = Keeps> {
    (any::<(u16, bool, bool, u64)>(), prop::option::of("[a-z]{1,9}")).prop_map(
        |((weight, takes, draining, room), zone)| {
            let zone = zone.map(|zone| zone.parse().unwrap());
            Keeps { weight, zone, takes, draining, room }
        },
    )
}

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    let offered = (any_content(), any::<(u64, u16, bool)>(), any_path()).prop_map(
        |(content, (bytes, copies, carries), path)| Offered { content, bytes, path, copies, carries },
    );
    prop_oneof![some(offered).prop_map(|contents| PeerRequest::Offer { contents }), Just(PeerRequest::Digest),]
}

pub(super) fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    use OfferAnswer::{Busy, Coming, Full, Held, Unwanted};
    let answer = prop_oneof![Just(Coming), Just(Held), Just(Busy), Just(Full), Just(Unwanted)];
    let digest = (any_head(), any::<[u8; 32]>())
        .prop_map(|(head, digest)| PeerResponse::Digest { head, digest: ByteBuf::from(digest) });
    prop_oneof![some(answer).prop_map(PeerResponse::Offered), digest]
}

pub(super) fn any_drain() -> impl Strategy<Value = ClientResponse> {
    any::<(bool, bool, u64, u64, u64)>().prop_map(|(draining, surveyed, left, sole, without_taker)| {
        ClientResponse::Drain(DrainStatus { draining, surveyed, left, sole, without_taker })
    })
}

pub(super) fn a_status() -> CopiesStatus {
    let census = Census { contents: 3, none: 1, one: 0, two: 2, more: 0, short: 1, awaited: 1 };
    CopiesStatus { wanted: 2, census: Some(census), surveyed_s: Some(1), rate: 9, ..CopiesStatus::default() }
}
