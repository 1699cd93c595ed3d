//! Messages about reading copies again, made up.

use super::*;
use crate::protocol::{HolderProof, ProofState};

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    (any_content(), any::<[u8; 32]>())
        .prop_map(|(content, nonce)| PeerRequest::Prove { content, nonce: ByteBuf::from(nonce) })
}

pub(super) fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    (prop::option::of(any::<[u8; 32]>()), any::<u32>())
        .prop_map(|(proof, damaged)| PeerResponse::Proved { proof: proof.map(ByteBuf::from), damaged })
}

pub(super) fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        any::<bool>().prop_map(|now| ClientRequest::Scrub { now }),
        (any_content(), any_image()).prop_map(|(content, image)| ClientRequest::Verify { content, image }),
    ]
}

pub(super) fn any_client_response() -> impl Strategy<Value = ClientResponse> {
    let state = prop_oneof![
        Just(ProofState::Good),
        Just(ProofState::Damaged),
        Just(ProofState::Silent),
        Just(ProofState::Unchecked)
    ];
    let holder =
        (any_peer(), state, ".{0,30}").prop_map(|(peer, state, note)| HolderProof { peer, state, note });
    let numbers = any::<(u32, bool, Option<u64>, [u64; 6])>();
    let status =
        numbers.prop_map(|(days, asked, last_full, [contents, bytes, total, found, healed, damaged])| {
            ScrubStatus { days, asked, contents, bytes, total, last_full, found, healed, damaged }
        });
    prop_oneof![status.prop_map(ClientResponse::Scrub), some(holder).prop_map(ClientResponse::Verified)]
}

#[test]
fn a_proof_has_one_length_and_a_note_an_end() {
    let content = ContentId([1; 32]);
    for length in [0, 31, 33] {
        let nonce = ByteBuf::from(vec![0; length]);
        assert!(PeerRequest::Prove { content, nonce: nonce.clone() }.validate().is_err());
        assert!(PeerResponse::Proved { proof: Some(nonce), damaged: 0 }.validate().is_err());
    }
    let note = "x".repeat(1025);
    let holder = HolderProof { peer: PeerId::random(), state: ProofState::Silent, note };
    assert!(ClientResponse::Verified(vec![holder]).validate().is_err());
}
