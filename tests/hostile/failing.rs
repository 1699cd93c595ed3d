//! A member that answers everything but the bytes.

use p2pimg::limits::{MAX_PROBE_FAILURES, PROBE_EVERY};
use p2pimg::node::NodeEvent;
use p2pimg::protocol::{MemberState, PeerResponse, Refusal, RefusalCode};

use crate::liar::{Liar, Lie, claims};
use crate::net::{Node, came, list, until};
use crate::offers::LONG;

/// What a node says whose disk is gone.
fn broken() -> Lie {
    PeerResponse::Refused(Refusal::new(RefusalCode::Unreadable, "input/output error")).into()
}

/// Its copy counts until it has been asked for often enough. Then another is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_one_that_never_delivers_does_not_count_for_long() {
    assert!(PROBE_EVERY * (MAX_PROBE_FAILURES + 2) < LONG);
    let holder = Node::start(&[(1, 100)], &[]).await;
    let client = holder.client().await;
    let row = list(&client).await.remove(0);
    let claimed = [(row.facts.image, row.content, row.facts.bytes)];
    let liar = Liar::join(&[holder.address()], claims(&claimed, true, |_| broken()));
    until("its copy counts", async || {
        client.status().await.unwrap().copies.census.is_some_and(|census| census.two == 1)
    })
    .await;
    let taker = Node::start_with([], &[holder.address()], |config| config.capacity = None).await;
    let failing = async || {
        let peers = client.peers().await.unwrap();
        peers.iter().any(|peer| peer.peer == liar.id && peer.state == Some(MemberState::Failing))
    };
    assert!(came(LONG, failing).await, "it delivered nothing, and is not failing");
    taker.told("a copy", |event| matches!(event, NodeEvent::Replicated { .. })).await;
    until("two copies that can be had", async || {
        client
            .status()
            .await
            .unwrap()
            .copies
            .census
            .is_some_and(|census| census.two == 1 && census.short == 0)
    })
    .await;
}
