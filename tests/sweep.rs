//! Publishing in a swarm of real nodes: who holds the records, and who finds them.

#![allow(clippy::unwrap_used)] // in helpers of tests too

use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::{self, GetProvidersOk, QueryResult};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, StreamProtocol};
use p2pimg::behaviour;
use p2pimg::client::Client;
use p2pimg::dht_index::keys;
use p2pimg::node::{self, NodeConfig, NodeEvent, NodeEvents, NodeHandle};
use p2pimg::protocol::KAD_PROTOCOL;
use p2pimg::types::ImageId;

#[allow(dead_code, reason = "made for the tests of the binary")]
#[path = "support/pictures.rs"]
mod pictures;

const PATIENCE: Duration = Duration::from_secs(120);

async fn start(place: &Path, name: &str, images: &[u64], others: &[&NodeHandle]) -> (NodeHandle, NodeEvents) {
    let dir = place.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    for number in images {
        std::fs::write(dir.join(format!("{number}.jpg")), pictures::jpeg(*number)).unwrap();
    }
    let mut config = NodeConfig::new(dir);
    config.home = Some(place.join(format!("home-{name}")));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.bootstrap = others.iter().map(|node| node.addresses()[0].clone()).collect();
    config.mdns = false;
    // Copies that appear would be published too.
    config.capacity = Some(0);
    node::start(config).await.unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let came = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, came).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

async fn told(events: &mut NodeEvents, wanted: impl Fn(&NodeEvent) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("the node stopped")) {} };
    tokio::time::timeout(PATIENCE, found).await.expect("the event did not come");
}

/// Every node has a record of every key, and of the members: with so few nodes all of them are the
/// closest ones.
async fn all_hold(nodes: &[&NodeHandle], keys: u64) {
    for node in nodes {
        until("all records", async || {
            let status = node.status().await.unwrap();
            status.records_held == keys + 1 && status.to_publish == 0
        })
        .await;
    }
}

async fn images(node: &NodeHandle) -> Vec<ImageId> {
    let client = Client::connect(node.addresses()[0].clone(), None).await.unwrap();
    let page = client.list(None, None).await.unwrap();
    page.rows.iter().map(|row| row.facts.image).collect()
}

/// Whom `node` names as provider when somebody asks who knows nothing but the DHT.
async fn providers(node: &NodeHandle, image: &ImageId) -> Vec<PeerId> {
    let keypair = Keypair::generate_ed25519();
    let me = keypair.public().to_peer_id();
    let config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    let mut client = kad::Behaviour::with_config(me, kad::store::MemoryStore::new(me), config);
    client.add_address(&node.peer_id(), node.addresses()[0].clone());
    let mut swarm = behaviour::swarm(&keypair, None, client).unwrap();
    swarm.behaviour_mut().get_providers(keys::image_key(image));
    let mut found = Vec::new();
    let asked = async {
        loop {
            if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                result: QueryResult::GetProviders(result),
                step,
                ..
            }) = swarm.select_next_some().await
            {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    found.extend(providers);
                }
                if step.last {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("an answer");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_holds_the_records_and_who_joins_gets_them_too() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (one, mut one_events) = start(place, "one", &[1, 2, 3], &[]).await;
    told(&mut one_events, |event| matches!(event, NodeEvent::ScanDone { images: 3, .. })).await;
    // Alone, nothing is published.
    assert_eq!(one.status().await.unwrap().to_publish, 3);
    let (two, mut two_events) = start(place, "two", &[4, 5], &[&one]).await;
    told(&mut two_events, |event| matches!(event, NodeEvent::Published { keys: 2 })).await;
    told(&mut one_events, |event| matches!(event, NodeEvent::Published { keys: 3 })).await;
    all_hold(&[&one, &two], 5).await;

    // It joins later, and gets what was published before it was there.
    let (three, _three_events) = start(place, "three", &[], &[&one]).await;
    all_hold(&[&one, &two, &three], 5).await;
    let image = images(&two).await[0];
    let named = providers(&three, &image).await;
    assert!(named.contains(&one.peer_id()) || named.contains(&two.peer_id()), "{named:?}");

    // A new picture is everywhere, and one that is gone is not named by its node any more.
    std::fs::write(place.join("one/9.jpg"), pictures::jpeg(9)).unwrap();
    all_hold(&[&one, &two, &three], 6).await;
    std::fs::remove_file(place.join("one/9.jpg")).unwrap();
    until("its own record to go", async || one.status().await.unwrap().records_held == 6).await;
    for node in [&three, &two, &one] {
        node.shutdown().await;
    }
}

/// What was published is not published again: the others hear nothing after a restart, and have
/// the records still.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_publish_everything_again() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    let (one, _one_events) = start(place, "one", &[], &[]).await;
    let (two, mut two_events) = start(place, "two", &[4, 5], &[&one]).await;
    told(&mut two_events, |event| matches!(event, NodeEvent::Published { keys: 2 })).await;
    all_hold(&[&one, &two], 2).await;
    two.shutdown().await;
    drop((two, two_events));
    assert!(place.join("two/.p2pimg/published").exists());

    // While it was off a picture came; only that is new.
    std::fs::write(place.join("two/6.jpg"), pictures::jpeg(6)).unwrap();
    let (two, _two_events) = start(place, "two", &[], &[&one]).await;
    all_hold(&[&one, &two], 3).await;
    two.shutdown().await;
    one.shutdown().await;
}
