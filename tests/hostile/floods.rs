//! More of everything than anybody needs.

use std::time::{Duration, Instant};

use futures::future::join_all;
use libp2p::{Multiaddr, PeerId};
use p2pimg::dht_index::keys;
use p2pimg::limits::{MAX_ADDRESSES_PER_PEER, MAX_KNOWN_PEERS, MAX_MEMBERS};
use p2pimg::node::NodeEvent;
use p2pimg::protocol::{Decides, HASH_VERSION, Hello, MemberAddress, PeerRequest, PeerResponse};
use p2pimg::types::{CatalogHead, ContentId, FolderId, ImageId, Seq};
use serde_bytes::ByteBuf;

use crate::liar::{EPOCH, Liar, Lie, claims, hello, settled};
use crate::net::{Memory, Node, PATIENCE, list, until};

/// Thousands of requests at once: each comes to an end, and a client is served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_starves_nobody() {
    let node = Node::start(&[(1, 500)], &[]).await;
    let client = node.client().await;
    let row = list(&client).await.remove(0);
    let liar = Liar::join(&[node.address()], claims(&[], true, |_| Lie::Silence));
    node.told("the flooder", |e| matches!(e, NodeEvent::PeerUp { .. })).await;
    let said = Hello {
        hash_version: HASH_VERSION,
        folder: FolderId(1),
        head: CatalogHead { epoch: EPOCH, seq: Seq(0) },
        images: 0,
        bytes: 0,
        decides: Decides::default(),
        keeps: p2pimg::protocol::Keeps::default(),
        crowded: false,
        guest: false,
    };
    for _ in 0..1500 {
        liar.ask(node.id(), PeerRequest::Hello(said.clone())).await;
        liar.ask(node.id(), PeerRequest::Chunk { content: row.content, index: 0 }).await;
    }
    let began = Instant::now();
    let mut memory = Memory::default();
    client.fetch(row.facts.image, row.content, &mut memory).await.unwrap();
    assert!(memory.0 == std::fs::read(node.dir.join("1.png")).unwrap());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    tokio::time::timeout(Duration::from_secs(5), client.status()).await.unwrap().unwrap();
    settled(&liar, 3000, PATIENCE).await;
}

/// One peer publishes records for thousands of keys that mean nothing: the honest records
/// stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_provider_records_pushes_no_honest_one_out() {
    let one = Node::start(&[(1, 60)], &[]).await;
    let two = Node::start(&[(2, 60)], &[one.address()]).await;
    two.told("its records to be published", |e| matches!(e, NodeEvent::Published { .. })).await;
    let liar = Liar::join(&[one.address()], claims(&[], true, |_| Lie::Silence));
    one.told("the flooder", |e| matches!(e, NodeEvent::PeerUp { peer, .. } if *peer == liar.id)).await;
    let before = one.handle.status().await.unwrap().records_held;
    let keys = (0..2000_u64).map(|n| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        keys::image_key(&ImageId::Hash(id))
    });
    liar.provide(keys.collect()).await;
    until("the flood to arrive", async || one.handle.status().await.unwrap().records_held > before + 500)
        .await;
    // A third node knows nothing yet: what it resolves it has from the DHT.
    let client = one.client().await;
    for row in list(&client).await {
        let located = client.locate(row.facts.image, row.content).await.unwrap();
        assert!(located.iter().any(|holder| holder.confirmed), "{located:?}");
    }
}

/// A list of thousands of members that do not exist: the node keeps as many as it says, and
/// still finds the one that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_do_not_exist_keep_no_real_one_out() {
    let one = Node::start(&[(1, 60)], &[]).await;
    let liar = Liar::join(&[one.address()], |request| match request {
        PeerRequest::Members => {
            let nobody = |_| {
                let port = |n| 1 + (n as u16 % 9);
                let address =
                    |n| format!("/ip4/127.0.0.{}/tcp/{}", 2 + n, port(n)).parse::<Multiaddr>().unwrap();
                let addresses =
                    (0..MAX_ADDRESSES_PER_PEER).map(|n| ByteBuf::from(address(n).to_vec())).collect();
                MemberAddress { peer: PeerId::random(), addresses }
            };
            PeerResponse::Members((0..MAX_MEMBERS).map(nobody).collect()).into()
        }
        PeerRequest::Hello(_) => hello(CatalogHead { epoch: EPOCH, seq: Seq(0) }).into(),
        _ => Lie::Silence,
    });
    one.told("the liar", |e| matches!(e, NodeEvent::PeerUp { peer, .. } if *peer == liar.id)).await;
    let client = one.client().await;
    until("the list of nobodies", async || client.peers().await.unwrap().len() > 100).await;
    let two = Node::start(&[(2, 60)], &[one.address()]).await;
    one.told("the real one", |e| matches!(e, NodeEvent::PeerUp { peer, .. } if *peer == two.id())).await;
    assert!(client.peers().await.unwrap().len() <= MAX_KNOWN_PEERS);
    until("both pictures", async || list(&client).await.len() == 2).await;
}

/// Every one of 64 clients at once gets its picture through a node that doesn't hold it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_once_are_all_served() {
    let holder = Node::start(&[(1, 100), (2, 400), (3, 110), (4, 300)], &[]).await;
    let node = Node::start(&[], &[holder.address()]).await;
    node.told("the pictures", |e| matches!(e, NodeEvent::Synced { swarm_images: 4, .. })).await;
    let rows = list(&node.client().await).await;
    let right: Vec<_> = rows.iter().map(|r| std::fs::read(r.path.in_folder(&holder.dir)).unwrap()).collect();
    let clients = (0..64).map(|n| {
        let (node, row, right) = (&node, &rows[n % 4], &right[n % 4]);
        async move {
            let client = node.client().await;
            let mut memory = Memory::default();
            client.fetch(row.facts.image, row.content, &mut memory).await.unwrap();
            assert!(memory.0 == *right, "client {n}");
        }
    });
    join_all(clients).await;
    // And what nobody has is not found, whoever asks.
    let nothing =
        node.client().await.fetch(ImageId::Hash([9; 32]), ContentId([9; 32]), &mut Memory::default()).await;
    assert!(nothing.is_err());
}
