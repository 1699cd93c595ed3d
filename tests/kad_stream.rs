//! Many records and many lookups on one stream, against libp2p's own Kademlia.

use std::time::Duration;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::kad::{self, QueryResult, RecordKey};
use libp2p::swarm::{Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId};
use p2pimg::behaviour::nat::{Nat, NatOptions};
use p2pimg::behaviour::{NodeBehaviour, NodeBehaviourEvent, swarm};
use p2pimg::store::records::Records;
use p2pimg::wire::kad_stream::{ask_providers, publish};

const PATIENCE: Duration = Duration::from_secs(120);

fn node() -> Swarm<NodeBehaviour> {
    let keypair = Keypair::generate_ed25519();
    let records = Records::new(keypair.public().to_peer_id());
    let (nat, _) = Nat::new(&keypair, NatOptions::default());
    let mut swarm = swarm(&keypair, None, NodeBehaviour::new(&keypair, records, nat)).expect("a swarm");
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listening");
    swarm
}

async fn address(swarm: &mut Swarm<NodeBehaviour>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

fn key(n: u64) -> [u8; 34] {
    let mut key = [7; 34];
    key[..2].copy_from_slice(&[0x12, 0x20]);
    key[2..10].copy_from_slice(&n.to_be_bytes());
    key
}

fn drive(mut swarm: Swarm<NodeBehaviour>) {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
}

/// Who provides `key`, asked as any libp2p program would.
async fn plainly(swarm: &mut Swarm<NodeBehaviour>, key: [u8; 34]) -> Vec<PeerId> {
    let query = swarm.behaviour_mut().kad.get_providers(RecordKey::new(&key));
    let mut found = Vec::new();
    loop {
        let SwarmEvent::Behaviour(NodeBehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
            id,
            result: QueryResult::GetProviders(result),
            step,
            ..
        })) = swarm.select_next_some().await
        else {
            continue;
        };
        if id == query {
            if let Ok(kad::GetProvidersOk::FoundProviders { providers, .. }) = result {
                found.extend(providers);
            }
            if step.last {
                return found;
            }
        }
    }
}

#[tokio::test]
async fn what_is_published_on_a_stream_is_found_by_streams_and_by_queries() {
    let test = async {
        let (mut server, mut sender) = (node(), node());
        let (me, peer) = (*sender.local_peer_id(), *server.local_peer_id());
        let (mine, its) = (address(&mut sender).await, address(&mut server).await);
        drive(server);
        sender.dial(its.clone()).expect("a dial");
        while !sender.is_connected(&peer) {
            sender.select_next_some().await;
        }
        let mut control = sender.behaviour().streams.new_control();
        drive(sender);

        let mut acks = Vec::new();
        let keys = (0..5_000).map(key);
        let done = publish(&mut control, peer, me, std::slice::from_ref(&mine), keys, |n| acks.push(n)).await;
        assert_eq!(done.expect("published"), 5_000);
        assert_eq!(acks, [2_000, 4_000, 5_000]);

        // Somebody else: who asks is never told of itself.
        let mut third = node();
        third.behaviour_mut().kad.add_address(&peer, its);
        assert_eq!(plainly(&mut third, key(17)).await, [me]);
        assert!(plainly(&mut third, key(6_000)).await.is_empty());
        let mut control = third.behaviour().streams.new_control();
        drive(third);

        let wanted: Vec<_> = (4_500..5_500).map(key).collect();
        let found = ask_providers(&mut control, peer, &wanted).await.expect("answers");
        for (n, providers) in found.iter().enumerate() {
            let named: Vec<_> = providers.0.iter().map(|provider| provider.id).collect();
            assert_eq!(named, if n < 500 { vec![me] } else { vec![] }, "{n}");
        }
        let told = &found[0].0[0].addresses;
        assert!(told.iter().any(|address| address.to_string().starts_with(&mine.to_string())), "{told:?}");
    };
    tokio::time::timeout(PATIENCE, Box::pin(test)).await.expect("in time");
}
