//! What a node tells the DHT of others: after a restart, and of those that are gone.

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::{self, GetProvidersOk, QueryResult, RecordKey, store::MemoryStore};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2pimg::behaviour;
use p2pimg::dht_index::keys;
use p2pimg::protocol::KAD_PROTOCOL;
use p2pimg::types::ImageId;

use crate::support::{PATIENCE, Site, TestNode, eventually};

/// The first providers that one finds who knows only this node; none when the lookup ends.
fn providers_at(node: &TestNode, key: &RecordKey) -> Vec<PeerId> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lookup = async {
        let keypair = Keypair::generate_ed25519();
        let me = keypair.public().to_peer_id();
        let config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
        let kad = kad::Behaviour::with_config(me, MemoryStore::new(me), config);
        let mut swarm = behaviour::swarm(&keypair, None, kad).unwrap();
        let address: Multiaddr = node.address().parse().unwrap();
        swarm.behaviour_mut().add_address(&node.peer().parse().unwrap(), address);
        swarm.behaviour_mut().get_providers(key.clone());
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed {
                result: QueryResult::GetProviders(result),
                step,
                ..
            }) = event
            else {
                continue;
            };
            match result {
                Ok(GetProvidersOk::FoundProviders { providers, .. }) if !providers.is_empty() => {
                    return providers.into_iter().collect();
                }
                _ if step.last => return Vec::new(),
                _ => {}
            }
        }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, lookup).await }).unwrap_or_default()
}

/// A node without pictures that takes no copies, and one with a picture; and its key.
fn two() -> ([Site; 2], [TestNode; 2], RecordKey) {
    let sites = [Site::new(), Site::with_pictures([120])];
    let keeper = sites[0].start_with(&[], &["--capacity", "0"]);
    let provider = sites[1].start(&[&keeper]);
    provider.client().lists(1);
    let image = provider.client().list()[0]["hash"].as_str().unwrap().parse::<ImageId>().unwrap();
    let key = keys::image_key(&image);
    let id = id(&provider);
    eventually("the provider record", || providers_at(&keeper, &key).contains(&id).then_some(()));
    (sites, [keeper, provider], key)
}

fn id(node: &TestNode) -> PeerId {
    node.peer().parse().unwrap()
}

#[test]
fn a_restarted_node_tells_at_once_who_provides_a_picture() {
    let ([site, _photos], [keeper, provider], key) = two();
    // It can't tell the record again.
    provider.signal("STOP");
    assert_eq!(keeper.end("TERM").0.code(), Some(0));
    let keeper = site.start_with(&[], &["--capacity", "0"]);
    // Of the picture and of the members.
    assert_eq!(keeper.client().status()["records_held"], 2);
    assert_eq!(providers_at(&keeper, &key), [id(&provider)]);
    assert_eq!(keeper.events("peer_up"), [""; 0], "from its own file");
    assert_eq!(keeper.events("warning"), [""; 0]);
    // A damaged file costs the records and nothing else.
    assert_eq!(keeper.end("TERM").0.code(), Some(0));
    std::fs::write(site.path(".p2pimg/records.redb"), "no records").unwrap();
    let keeper = site.start_with(&[], &["--capacity", "0"]);
    let warning = keeper.event("warning", |_| true);
    assert!(warning["message"].as_str().unwrap().contains("records.redb.damaged"), "{warning}");
    provider.signal("CONT");
    keeper.event("peer_up", |_| true);
}

#[test]
fn a_provider_that_is_gone_is_not_told_until_it_is_back() {
    let ([_site, photos], [keeper, provider], key) = two();
    let gone = id(&provider);
    provider.kill();
    keeper.event("peer_down", |_| true);
    assert_eq!(providers_at(&keeper, &key), []);
    assert_eq!(keeper.client().status()["records_held"], 2, "the hint is kept, and that of the members");
    let provider = photos.start(&[&keeper]);
    assert_eq!(id(&provider), gone);
    eventually("the provider is told again", || providers_at(&keeper, &key).contains(&gone).then_some(()));
}
