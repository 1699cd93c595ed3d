//! A relay, and what being relayed does not give: trust.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, relay};
use p2pimg::behaviour;
use p2pimg::node::{self, NodeConfig, NodeHandle, StartError};
use p2pimg::protocol::{CLIENT_PROTOCOL, ClientRequest, ClientResponse};
use p2pimg::wire::codec::{ClientCodec, Frame};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(NetworkBehaviour)]
struct Visitor {
    relayed: relay::client::Behaviour,
    client: request_response::Behaviour<ClientCodec>,
}

fn visitor() -> Swarm<Visitor> {
    let keypair = Keypair::generate_ed25519();
    let (transport, relayed) = relay::client::new(keypair.public().to_peer_id());
    let protocol = [(StreamProtocol::new(CLIENT_PROTOCOL), ProtocolSupport::Outbound)];
    let client = request_response::Behaviour::with_codec(
        ClientCodec::default(),
        protocol,
        request_response::Config::default(),
    );
    behaviour::swarm_with_relays(&keypair, None, Visitor { relayed, client }, Some(transport)).unwrap()
}

/// Connects there, and asks for something that only who is on this machine may have done.
async fn asks(address: &Multiaddr, node: PeerId) -> ClientResponse {
    let mut swarm = visitor();
    swarm.dial(address.clone()).unwrap();
    let answer = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == node => {
                    let request = Frame::from(ClientRequest::ApproveDrops);
                    swarm.behaviour_mut().client.send_request(&node, request);
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{address}: {error}"),
                SwarmEvent::Behaviour(VisitorEvent::Client(event)) => match event {
                    request_response::Event::Message {
                        message: Message::Response { response, .. }, ..
                    } => return response.header,
                    other => panic!("{other:?}"),
                },
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
}

async fn open_node(temp: &TempDir, name: &str, change: impl FnOnce(&mut NodeConfig)) -> NodeHandle {
    let dir = temp.path().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = NodeConfig::new(&dir);
    config.open = true;
    config.mdns = false;
    config.home = Some(temp.path().join("home"));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    change(&mut config);
    node::start(config).await.unwrap().0
}

/// Without a key only this machine is trusted, and the far end of a relayed connection is anywhere,
/// also when the relay is on this machine: the address of the connection begins with the relay's.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_through_a_relay_on_this_machine_is_not_from_this_machine() {
    let temp = tempfile::tempdir().unwrap();
    let relay = open_node(&temp, "relay", |config| config.relay = true).await;
    let through = relay.addresses()[0].clone();
    let node = open_node(&temp, "node", |config| config.bootstrap = vec![through.clone()]).await;
    let began = Instant::now();
    while node.status().await.unwrap().relays == 0 {
        assert!(began.elapsed() < PATIENCE, "no place at the relay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let direct = asks(&node.addresses()[0], node.peer_id()).await;
    assert!(!matches!(direct, ClientResponse::Refused(_)), "on this machine: {direct:?}");

    let circuit: Multiaddr = format!("{through}/p2p-circuit/p2p/{}", node.peer_id()).parse().unwrap();
    let relayed = asks(&circuit, node.peer_id()).await;
    assert!(matches!(relayed, ClientResponse::Refused(_)), "through the relay: {relayed:?}");
    node.shutdown().await;
    relay.shutdown().await;
}

/// An open node that listens on QUIC is reached by it.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_quic_works_beside_tcp() {
    let temp = tempfile::tempdir().unwrap();
    let both = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
    let listen = both.map(|address| address.parse().unwrap()).to_vec();
    let node = open_node(&temp, "node", |config| config.listen = listen).await;
    assert_eq!(node.addresses().len(), 2, "{:?}", node.addresses());
    for address in node.addresses() {
        let answer = asks(address, node.peer_id()).await;
        assert!(!matches!(answer, ClientResponse::Refused(_)), "on this machine: {answer:?}");
    }
    node.shutdown().await;
}

/// QUIC passes the swarm key by: a node that has one must not listen on it, nor dial by it.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_there_is_no_quic() {
    let temp = tempfile::tempdir().unwrap();
    let quic: Multiaddr = "/ip4/127.0.0.1/udp/4011/quic-v1".parse().unwrap();
    for field in ["listen", "bootstrap"] {
        let mut config = NodeConfig::new(temp.path());
        config.home = Some(temp.path().join("home"));
        config.swarm_key = Some(libp2p::pnet::PreSharedKey::new([7; 32]));
        match field {
            "listen" => config.listen = vec![quic.clone()],
            _ => config.bootstrap = vec![quic.clone()],
        }
        let Err(error) = node::start(config).await else { panic!("{field}") };
        assert!(matches!(error, StartError::Keyless { .. }), "{error}");
    }
}
