//! Messages about similar pictures, made up.

use super::*;
use crate::limits::{MAX_SIMILAR, MAX_SIMILAR_DISTANCE};
use crate::protocol::{SimilarPage, SimilarQuery, SimilarRow};

pub(super) fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    (any::<u32>(), any_image(), 0..=MAX_SIMILAR_DISTANCE, 0..=MAX_SIMILAR as u32).prop_map(
        |(hash_version, image, distance, limit)| {
            ClientRequest::Similar(SimilarQuery { hash_version, image, distance, limit })
        },
    )
}

pub(super) fn any_client_response() -> impl Strategy<Value = ClientResponse> {
    let row = (any::<u32>(), any_row()).prop_map(|(distance, row)| SimilarRow { distance, row });
    (some(row), any::<(u64, u64, bool)>()).prop_map(|(rows, (compared, within, more))| {
        ClientResponse::Similar(SimilarPage { rows, compared, within, more })
    })
}

#[test]
fn a_question_for_everything_is_refused() {
    let image = ImageId::Hash([0; 32]);
    let asked = |distance, limit| {
        ClientRequest::Similar(SimilarQuery { hash_version: 1, image, distance, limit }).validate()
    };
    assert!(asked(MAX_SIMILAR_DISTANCE, MAX_SIMILAR as u32).is_ok());
    assert!(asked(MAX_SIMILAR_DISTANCE + 1, 1).is_err());
    assert!(asked(0, MAX_SIMILAR as u32 + 1).is_err());
}
