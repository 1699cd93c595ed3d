//! A node that lies to its client.

use std::process::Command;

use futures::StreamExt as _;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, identify, ping};
use p2pimg::behaviour;
use p2pimg::error::ExitCode;
use p2pimg::protocol::{CLIENT_PROTOCOL, ClientRequest, ClientResponse, IDENTIFY_VERSION, ImageRow};
use p2pimg::types::{ContentId, ImageId};
use p2pimg::wire::codec::{ClientCodec, Frame};

use crate::liar::held;

#[derive(NetworkBehaviour)]
struct FakeNode {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    client: request_response::Behaviour<ClientCodec>,
}

/// Says that it has one picture of three bytes, and sends three others.
async fn fake_node(image: ImageId, content: ContentId) -> Multiaddr {
    let keypair = Keypair::generate_ed25519();
    let behaviour = FakeNode {
        identify: identify::Behaviour::new(identify::Config::new(
            IDENTIFY_VERSION.to_owned(),
            keypair.public(),
        )),
        ping: ping::Behaviour::default(),
        client: request_response::Behaviour::with_codec(
            ClientCodec::default(),
            [(StreamProtocol::new(CLIENT_PROTOCOL), ProtocolSupport::Inbound)],
            request_response::Config::default(),
        ),
    };
    let mut swarm = behaviour::swarm(&keypair, None, behaviour).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with_p2p(*swarm.local_peer_id()).unwrap();
        }
    };
    tokio::spawn(async move {
        loop {
            let event = swarm.select_next_some().await;
            let SwarmEvent::Behaviour(FakeNodeEvent::Client(request_response::Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            })) = event
            else {
                continue;
            };
            let held = held(image, 3);
            let row = ImageRow {
                content,
                facts: held.facts,
                path: held.path,
                holders: vec![*swarm.local_peer_id()],
                copies: 1,
                pinned: false,
            };
            let frame: Frame<ClientResponse> = match request.header {
                ClientRequest::Outline { .. } => ClientResponse::Outline { bytes: 3 }.into(),
                ClientRequest::Chunk { .. } => Frame::new(ClientResponse::Chunk, b"bad".to_vec()),
                _ => ClientResponse::Found { rows: vec![row], more: false }.into(),
            };
            let _ = swarm.behaviour_mut().client.send_response(channel, frame);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_lying_node_ends_with_corrupt_and_keeps_nothing() {
    let content = ContentId(*blake3::hash(b"yes").as_bytes());
    let image = ImageId::Hash([0xab; 32]);
    let address = fake_node(image, content).await;
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env_clear().env("P2PIMG_HOME", temp.path()).args([
        "client",
        "--peer",
        &address.to_string(),
        "get",
    ]);
    command.arg(image.to_string()).arg("-o").arg(&out);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(run.status.code(), Some(ExitCode::Corrupt as i32), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "no file, whole or partial");
}
