//! Messages about duplicates and drops, made up.

use super::*;
use crate::protocol::{
    BrakeStatus, Decides, DedupMode, DedupStatus, Denial, Description, DropCause, DuplicateGroup,
    DuplicateLoser, DuplicatesPage, EmptiedTrash, HistoryRow, WhyAnswer, WitnessFacts,
};

pub(super) fn any_decides() -> impl Strategy<Value = Decides> {
    any::<(u32, u32, u16)>().prop_map(|(version, lease_s, copies)| Decides { version, lease_s, copies })
}

fn any_description() -> impl Strategy<Value = Description> {
    let flags = any::<(bool, bool, bool)>();
    (any_content(), any_facts(), any::<(u16, u8, u16)>(), flags, some(any_content())).prop_map(
        |(content, facts, (fidelity, metadata, witnesses), (signature, pinned, edited_often), edits)| {
            Description {
                content,
                facts,
                fidelity,
                metadata,
                signature,
                pinned,
                edits,
                edited_often,
                witnesses,
            }
        },
    )
}

fn any_witness() -> impl Strategy<Value = WitnessFacts> {
    (any_content(), any_facts(), any::<(u16, u8)>()).prop_map(|(content, facts, (fidelity, metadata))| {
        WitnessFacts { content, facts, fidelity, metadata }
    })
}

fn any_history() -> impl Strategy<Value = HistoryRow> {
    let cause =
        prop_oneof![Just(DropCause::Superseded), Just(DropCause::LocalDuplicate), Just(DropCause::Excess)];
    let contents = (any_content(), any_image(), prop::option::of(any_content()));
    let numbers = some(("[a-z]{1,9}", "[0-9.]{1,9}"));
    (contents, cause, numbers, any_path(), any::<u64>(), prop::option::of("[0-9-]{8,20}"), some(any_peer()))
        .prop_map(|((loser, image, keeper), cause, numbers, path, at, trash, holders)| HistoryRow {
            loser,
            image,
            keeper,
            cause,
            numbers,
            path,
            at,
            trash,
            holders,
        })
}

pub(super) fn any_peer_request() -> impl Strategy<Value = PeerRequest> {
    let lease = (any_content(), any_content(), any::<bool>(), any::<[u8; 32]>(), some(any_witness()));
    prop_oneof![
        some(any_content()).prop_map(|contents| PeerRequest::Describe { contents }),
        any_content().prop_map(|content| PeerRequest::Witnesses { content }),
        lease.prop_map(|(content, subject, keeps, nonce, witnesses)| PeerRequest::Lease {
            content,
            subject,
            keeps,
            nonce: ByteBuf::from(nonce),
            witnesses
        }),
        "[0-9a-f]{6,64}".prop_map(|query| PeerRequest::History { query }),
    ]
}

pub(super) fn any_peer_response() -> impl Strategy<Value = PeerResponse> {
    prop_oneof![
        some(any_description()).prop_map(PeerResponse::Described),
        some(any_witness()).prop_map(PeerResponse::Witnesses),
        any::<[u8; 32]>().prop_map(|proof| PeerResponse::Leased { proof: ByteBuf::from(proof) }),
        Just(PeerResponse::Denied { why: Denial::BelowCopies }),
        some(any_history()).prop_map(PeerResponse::History),
    ]
}

pub(super) fn any_client_request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        any::<u32>().prop_map(|from| ClientRequest::Duplicates { from }),
        "[0-9a-f]{6,64}".prop_map(|query| ClientRequest::Why { query }),
        Just(ClientRequest::ApproveDrops),
        "[0-9-]{1,30}".prop_map(|entry| ClientRequest::RestoreTrash { entry }),
        any::<u64>().prop_map(|until| ClientRequest::EmptyTrash { until }),
    ]
}

pub(super) fn any_client_response() -> impl Strategy<Value = ClientResponse> {
    let loser = (any_row(), any::<bool>(), ".{0,30}").prop_map(|(row, same, reason)| DuplicateLoser {
        row,
        same,
        reason,
    });
    let group = (any_row(), some(loser), any::<u32>()).prop_map(|(keeper, losers, more)| DuplicateGroup {
        keeper,
        losers,
        more,
    });
    let page = (some(group), any::<(Option<u32>, Option<u64>)>())
        .prop_map(|(groups, (next, looked_s))| DuplicatesPage { groups, next, looked_s });
    let confirmed = some((any_content(), any_peer(), any::<u64>()));
    let why = (some(any_row()), some(".{0,30}"), some((any_peer(), any_history())), confirmed, any::<u32>())
        .prop_map(|(rows, qualities, history, confirmed, silent)| WhyAnswer {
            rows,
            qualities,
            history,
            confirmed,
            silent,
        });
    let emptied = (any::<(u64, u64)>(), some(".{0,30}"))
        .prop_map(|((files, bytes), problems)| EmptiedTrash { files, bytes, problems });
    prop_oneof![
        page.prop_map(ClientResponse::Duplicates),
        why.prop_map(|why| ClientResponse::Why(Box::new(why))),
        any::<u64>().prop_map(|files| ClientResponse::Approved { files }),
        any_path().prop_map(|path| ClientResponse::Restored { path }),
        emptied.prop_map(ClientResponse::Emptied),
    ]
}

pub(super) fn a_dedup_status() -> DedupStatus {
    DedupStatus {
        mode: DedupMode::Trash,
        obstacle: Some("the folder is read-only".to_owned()),
        duplicates: 3,
        brake: Some(BrakeStatus { would_take: 40, allowed: 30, files: 100 }),
        quiet_s: 17,
        ..DedupStatus::default()
    }
}

/// A lease without its 32 random bytes is no lease.
#[test]
fn nonces_and_proofs_have_one_length() {
    for length in [0, 31, 33] {
        let lease = PeerRequest::Lease {
            content: ContentId([1; 32]),
            subject: ContentId([2; 32]),
            keeps: false,
            nonce: ByteBuf::from(vec![0; length]),
            witnesses: Vec::new(),
        };
        assert!(lease.validate().is_err(), "{length}");
        assert!(PeerResponse::Leased { proof: ByteBuf::from(vec![0; length]) }.validate().is_err());
    }
}
