//! Messages about bands, made up.

use super::*;
use crate::limits::{MAX_BANDS_ASKED, MAX_BANDS_STORED, MAX_NEAR_DISTANCE, MAX_NEAR_TOLD};
use crate::protocol::{
    AskBands, BANDS_ENTRY_BYTES, BANDS_FOUND_BYTES, BANDS_QUESTION_BYTES, BandsFound, BandsStored, StoreBands,
};

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    let store = (any::<u8>(), 0..=MAX_BANDS_STORED as u32)
        .prop_map(|(scheme, count)| PeerRequest::StoreBands(StoreBands { scheme, count }));
    let ask = (any::<u8>(), 0..=MAX_BANDS_ASKED as u32, 0..=MAX_NEAR_DISTANCE)
        .prop_map(|(scheme, count, most)| PeerRequest::AskBands(AskBands { scheme, count, most }));
    prop_oneof![store, ask]
}

pub(super) fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    let stored = any::<(u32, u32, u32)>()
        .prop_map(|(stored, refused, hot)| PeerResponse::BandsStored(BandsStored { stored, refused, hot }));
    let found = (0..=MAX_NEAR_TOLD as u32, some(any_peer()), any::<(u64, u32, u32)>()).prop_map(
        |(count, holders, (looked, hot, cut))| {
            PeerResponse::BandsFound(BandsFound { count, holders, looked, hot, cut })
        },
    );
    prop_oneof![stored, found]
}

#[test]
fn a_payload_is_as_long_as_its_entries_at_most() {
    let store = PeerRequest::StoreBands(StoreBands { scheme: 1, count: 3 });
    assert_eq!(store.payload_limit(), 3 * BANDS_ENTRY_BYTES);
    let ask = |count, most| PeerRequest::AskBands(AskBands { scheme: 1, count, most });
    assert_eq!(ask(2, 24).payload_limit(), 2 * BANDS_QUESTION_BYTES);
    let found = |count| {
        PeerResponse::BandsFound(BandsFound { count, holders: Vec::new(), looked: 0, hot: 0, cut: 0 })
    };
    assert_eq!(found(5).payload_limit(), 5 * BANDS_FOUND_BYTES);
    let too_many = MAX_BANDS_STORED as u32 + 1;
    assert!(PeerRequest::StoreBands(StoreBands { scheme: 1, count: too_many }).validate().is_err());
    assert!(ask(MAX_BANDS_ASKED as u32 + 1, 24).validate().is_err());
    assert!(ask(1, MAX_NEAR_DISTANCE + 1).validate().is_err());
    assert!(found(MAX_NEAR_TOLD as u32 + 1).validate().is_err());
}
