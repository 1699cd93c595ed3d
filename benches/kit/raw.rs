//! A raw libp2p stream on p2pimg's transport, to compare with: the reader says how many
//! bytes it wants, the writer writes so many, the reader throws them away. No disk, no
//! hash, no message.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::identity::Keypair;
use libp2p::request_response::{self, Event, Message, ProtocolSupport};
use libp2p::swarm::{Swarm, SwarmEvent, dial_opts::DialOpts};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

/// Bytes handed to the stream at a time.
const PIECE: usize = 64 * 1024;

#[derive(Debug, Clone, Default)]
pub(crate) struct RawCodec;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = u64;
    type Response = u64;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<u64>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = [0; 8];
        io.read_exact(&mut bytes).await?;
        Ok(u64::from_le_bytes(bytes))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<u64>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut piece = vec![0; PIECE];
        let mut total = 0;
        loop {
            match io.read(&mut piece).await? {
                0 => return Ok(total),
                n => total += n as u64,
            }
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: u64) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes.to_le_bytes()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: u64) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let piece = vec![7; PIECE];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(PIECE as u64);
            io.write_all(&piece[..now as usize]).await?;
            left -= now;
        }
        Ok(())
    }
}

pub(crate) type Raw = request_response::Behaviour<RawCodec>;

fn swarm() -> Swarm<Raw> {
    let protocols = [(StreamProtocol::new("/p2pimg-bench/raw"), ProtocolSupport::Full)];
    let config = request_response::Config::default()
        .with_request_timeout(super::PATIENCE)
        .with_max_concurrent_streams(256);
    p2pimg::behaviour::swarm(&Keypair::generate_ed25519(), None, Raw::new(protocols, config))
        .expect("a swarm")
}

/// Prints its address, then serves until it is killed.
pub(crate) async fn serve() {
    let mut swarm = swarm();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listen");
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => println!("{address}"),
            SwarmEvent::Behaviour(Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            }) => drop(swarm.behaviour_mut().send_response(channel, request)),
            _ => {}
        }
    }
}

/// A connection to [`serve`].
pub(crate) struct RawClient {
    swarm: Swarm<Raw>,
    server: PeerId,
}

impl RawClient {
    pub(crate) async fn connect(address: &str) -> Self {
        let mut swarm = swarm();
        let address: Multiaddr = address.parse().expect("an address");
        swarm.dial(DialOpts::from(address)).expect("dial");
        loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
                return Self { swarm, server: peer_id };
            }
        }
    }

    /// Reads `bytes` over one stream.
    pub(crate) async fn read(&mut self, bytes: u64) {
        self.swarm.behaviour_mut().send_request(&self.server, bytes);
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::Behaviour(Event::Message {
                    message: Message::Response { response, .. }, ..
                }) => {
                    assert_eq!(response, bytes);
                    return;
                }
                SwarmEvent::Behaviour(Event::OutboundFailure { error, .. }) => panic!("{error}"),
                _ => {}
            }
        }
    }
}
