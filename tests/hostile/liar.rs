//! A peer that speaks the protocols of a node and says whatever a test wants.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::io::Cursor;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::kad::store::RecordStore as _;
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, identify, kad, ping};
use p2pimg::behaviour;
use p2pimg::protocol::{
    CatalogEntry, CatalogPage, Decides, HASH_VERSION, Held, Hello, IDENTIFY_VERSION, KAD_PROTOCOL,
    PEER_PROTOCOL, PeerRequest, PeerResponse,
};
use p2pimg::store::records::Records;
use p2pimg::types::{CatalogHead, ContentId, Epoch, Facts, FolderId, Format, ImageId, RelPath, Seq, Traits};
use p2pimg::wire::codec::{Frame, PeerCodec};
use tokio::sync::{mpsc, oneshot};

/// What a liar answers.
pub(crate) enum Lie {
    /// A message like any other.
    Say(Frame<PeerResponse>),
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
    /// Nothing, but the stream stays open.
    Silence,
    /// The stream is reset at once.
    Reset,
}

impl From<PeerResponse> for Lie {
    fn from(header: PeerResponse) -> Self {
        Self::Say(header.into())
    }
}

/// Reads requests as they are, and writes raw bytes.
#[derive(Debug, Clone, Default)]
struct RawCodec(PeerCodec);

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Frame<PeerRequest>;
    type Response = Result<Frame<PeerResponse>, Vec<u8>>;

    async fn read_request<T>(&mut self, p: &StreamProtocol, io: &mut T) -> std::io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.0.read_request(p, io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> std::io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.take(4 << 20).read_to_end(&mut bytes).await?;
        Ok(Err(bytes))
    }

    async fn write_request<T>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
        req: Self::Request,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.0.write_request(p, io, req).await
    }

    async fn write_response<T>(
        &mut self,
        p: &StreamProtocol,
        io: &mut T,
        response: Self::Response,
    ) -> std::io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match response {
            Ok(frame) => self.0.write_response(p, io, frame).await,
            Err(bytes) => io.write_all(&bytes).await,
        }
    }
}

#[derive(NetworkBehaviour)]
struct LiarBehaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: kad::Behaviour<Records>,
    peer: request_response::Behaviour<RawCodec>,
}

/// What a test tells its liar to do.
enum Order {
    Ask(PeerId, Box<Frame<PeerRequest>>, Option<oneshot::Sender<Vec<u8>>>),
    Provide(Vec<kad::RecordKey>),
}

/// A running liar; ends with the test's runtime.
pub(crate) struct Liar {
    pub(crate) id: PeerId,
    orders: mpsc::Sender<Order>,
    /// Questions of it that came to an end.
    pub(crate) answered: Arc<AtomicUsize>,
}

impl Liar {
    /// Joins the swarm of the nodes at `dial`, and answers what `answer` says.
    pub(crate) fn join(dial: &[Multiaddr], answer: impl Fn(&PeerRequest) -> Lie + Send + 'static) -> Self {
        Self::join_as(&Keypair::generate_ed25519(), dial, answer)
    }

    /// The same, under a name that the answers may depend on.
    pub(crate) fn join_as(
        keypair: &Keypair,
        dial: &[Multiaddr],
        answer: impl Fn(&PeerRequest) -> Lie + Send + 'static,
    ) -> Self {
        let id = keypair.public().to_peer_id();
        let identify = identify::Config::new(IDENTIFY_VERSION.to_owned(), keypair.public());
        let mut kad = kad::Behaviour::with_config(
            id,
            Records::new(id),
            kad::Config::new(StreamProtocol::new(KAD_PROTOCOL)),
        );
        kad.set_mode(Some(kad::Mode::Server));
        let config = request_response::Config::default()
            .with_request_timeout(Duration::from_secs(60))
            .with_max_concurrent_streams(100_000);
        let behaviour = LiarBehaviour {
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad,
            peer: request_response::Behaviour::with_codec(
                RawCodec::default(),
                [(StreamProtocol::new(PEER_PROTOCOL), ProtocolSupport::Full)],
                config,
            ),
        };
        let mut swarm = behaviour::swarm(keypair, None, behaviour).unwrap();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        for address in dial {
            swarm.dial(address.clone()).unwrap();
        }
        let (orders, mut inbox) = mpsc::channel(64);
        let answered = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answered);
        tokio::spawn(async move {
            let (mut silent, mut asked) = (Vec::new(), HashMap::new());
            loop {
                let event = tokio::select! {
                    event = swarm.select_next_some() => event,
                    Some(order) = inbox.recv() => {
                        match order {
                            Order::Ask(peer, request, reply) => {
                                let id = swarm.behaviour_mut().peer.send_request(&peer, *request);
                                asked.extend(reply.map(|reply| (id, reply)));
                            }
                            Order::Provide(keys) => for key in keys {
                                let kad = &mut swarm.behaviour_mut().kad;
                                // Its own store is not what is tested.
                                kad.store_mut().remove_provider(&key, &id);
                                let _ = kad.start_providing(key);
                            },
                        }
                        continue;
                    }
                };
                match event {
                    SwarmEvent::NewListenAddr { address, .. } => swarm.add_external_address(address),
                    SwarmEvent::Behaviour(LiarBehaviourEvent::Identify(identify::Event::Received {
                        peer_id,
                        info,
                        ..
                    })) => {
                        for address in info.listen_addrs {
                            swarm.behaviour_mut().kad.add_address(&peer_id, address);
                        }
                    }
                    SwarmEvent::Behaviour(LiarBehaviourEvent::Peer(event)) => match event {
                        request_response::Event::Message {
                            message: Message::Request { request, channel, .. },
                            ..
                        } => {
                            let peer = &mut swarm.behaviour_mut().peer;
                            match answer(&request.header) {
                                Lie::Say(frame) => drop(peer.send_response(channel, Ok(frame))),
                                Lie::Raw(bytes) => drop(peer.send_response(channel, Err(bytes))),
                                Lie::Silence => silent.push(channel),
                                Lie::Reset => drop(channel),
                            }
                        }
                        request_response::Event::Message {
                            message: Message::Response { request_id, response },
                            ..
                        } => {
                            count.fetch_add(1, Ordering::Relaxed);
                            if let (Some(reply), Err(bytes)) = (asked.remove(&request_id), response) {
                                let _ = reply.send(bytes);
                            }
                        }
                        request_response::Event::OutboundFailure { request_id, .. } => {
                            count.fetch_add(1, Ordering::Relaxed);
                            asked.remove(&request_id);
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        });
        Self { id, orders, answered }
    }

    /// Asks a node it is connected to; the answer is only counted.
    pub(crate) async fn ask(&self, peer: PeerId, request: impl Into<Frame<PeerRequest>>) {
        self.orders.send(Order::Ask(peer, Box::new(request.into()), None)).await.unwrap();
    }

    /// Asks, and returns the answer; `None` when there was none.
    pub(crate) async fn question(
        &self,
        peer: PeerId,
        request: Frame<PeerRequest>,
    ) -> Option<Frame<PeerResponse>> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(Order::Ask(peer, Box::new(request), Some(reply))).await.unwrap();
        let mut bytes = Cursor::new(answer.await.ok()?);
        let protocol = StreamProtocol::new(PEER_PROTOCOL);
        let codec = &mut PeerCodec::default();
        request_response::Codec::read_response(codec, &protocol, &mut bytes).await.ok()
    }

    /// Publishes provider records that name itself.
    pub(crate) async fn provide(&self, keys: Vec<kad::RecordKey>) {
        self.orders.send(Order::Provide(keys)).await.unwrap();
    }
}

pub(crate) const EPOCH: Epoch = Epoch(7);

pub(crate) fn hello(head: CatalogHead) -> PeerResponse {
    PeerResponse::Hello(Hello {
        hash_version: HASH_VERSION,
        folder: FolderId(0xbad),
        head,
        // One that claims more than there is room for is not even asked.
        images: head.seq.0.min(1000),
        bytes: 1,
        decides: Decides::default(),
        keeps: p2pimg::protocol::Keeps::default(),
        crowded: false,
        guest: false,
    })
}

/// A picture as a liar describes it.
pub(crate) fn held(image: ImageId, bytes: u64) -> Held {
    let facts = Facts {
        image,
        bytes,
        width: 1,
        height: 1,
        format: Format::Png,
        taken_at: None,
        guard: 50,
        traits: Traits::default(),
    };
    let path = RelPath::from_bytes(b"claimed.png".to_vec()).unwrap();
    Held { facts, path, files: 1, replica: false, pinned: false }
}

/// The answers of a peer whose catalog names contents that it does not have; `chunk` and
/// `outline` are what it sends of them.
pub(crate) fn claims(
    contents: &[(ImageId, ContentId, u64)],
    in_catalog: bool,
    bytes: impl Fn(&PeerRequest) -> Lie + Send + 'static,
) -> impl Fn(&PeerRequest) -> Lie + Send + 'static {
    let head = CatalogHead { epoch: EPOCH, seq: Seq(if in_catalog { contents.len() as u64 } else { 0 }) };
    let entries: Vec<CatalogEntry> = contents
        .iter()
        .zip(1..)
        .map(|((image, content, length), seq)| CatalogEntry {
            seq: Seq(seq),
            content: *content,
            held: Some(held(*image, *length)),
        })
        .collect();
    move |request| match request {
        PeerRequest::Hello(_) => hello(head).into(),
        PeerRequest::Members => PeerResponse::Members(Vec::new()).into(),
        PeerRequest::Catalog { epoch, after } => {
            let from = if *epoch == EPOCH { (*after).min(head.seq) } else { Seq(0) };
            let entries = entries.iter().filter(|e| in_catalog && e.seq > from).cloned().collect();
            PeerResponse::Catalog(CatalogPage { head, upto: head.seq, from, entries }).into()
        }
        PeerRequest::Holding { .. } => PeerResponse::Holding(entries.clone()).into(),
        request => bytes(request),
    }
}

/// Waits until `answered` stands at `n`, for at most `patience`.
pub(crate) async fn settled(liar: &Liar, n: usize, patience: Duration) {
    let began = Instant::now();
    while liar.answered.load(Ordering::Relaxed) < n {
        assert!(began.elapsed() < patience, "{} of {n} ended", liar.answered.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
