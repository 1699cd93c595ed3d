//! A node that is not told of any other node finds its swarm: by those it knew, and by
//! those of this user on this machine.

#![allow(clippy::unwrap_used)] // in helpers of tests too

use std::path::Path;
use std::time::Duration;

use p2pimg::node::{self, NodeConfig, NodeEvent, NodeEvents, NodeHandle};

async fn start(
    place: &Path,
    (name, home): (&str, &str),
    bootstrap: Option<&NodeHandle>,
) -> (NodeHandle, NodeEvents) {
    let dir = place.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = NodeConfig::new(dir);
    config.home = Some(place.join(home));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.bootstrap = bootstrap.map(|node| node.addresses().to_vec()).unwrap_or_default();
    node::start(config).await.unwrap()
}

async fn until(events: &mut NodeEvents, wanted: impl Fn(&NodeEvent) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("the node stopped")) {} };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("the event did not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_joins_by_those_it_knew() {
    let place = tempfile::tempdir().unwrap();
    let (one, _one_events) = start(place.path(), ("one", "home1"), None).await;
    let (two, mut two_events) = start(place.path(), ("two", "home2"), Some(&one)).await;
    let is_one =
        |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { peer, .. } if *peer == one.peer_id());
    until(&mut two_events, is_one).await;
    two.shutdown().await;
    drop((two, two_events));

    let (two, mut two_events) = start(place.path(), ("two", "home2"), None).await;
    until(&mut two_events, is_one).await;
    two.shutdown().await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_user_on_one_machine_find_each_other() {
    let place = tempfile::tempdir().unwrap();
    // At the same moment: neither is in the list of running nodes when the other looks first.
    let ((one, _one_events), (two, mut two_events)) =
        tokio::join!(start(place.path(), ("one", "home"), None), start(place.path(), ("two", "home"), None),);
    let is_one =
        |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { peer, .. } if *peer == one.peer_id());
    until(&mut two_events, is_one).await;
    two.shutdown().await;
    one.shutdown().await;
}
