//! What the libp2p swarm of a node and of a client is made of, and its limits. Nothing
//! is decided here.

// The derive makes event enums whose variants can't be documented.
#![allow(missing_docs)]

pub mod nat;

use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::{self, store::RecordStore};
use libp2p::pnet::PreSharedKey;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{PeerId, StreamProtocol, identify, mdns, noise, ping, relay};

use self::nat::Nat;
use crate::limits;
use crate::protocol::{CLIENT_PROTOCOL, IDENTIFY_VERSION, KAD_PROTOCOL, PEER_PROTOCOL};
use crate::store::records::Records;
use crate::wire::codec::{ClientCodec, PeerCodec};

pub mod avoid;

/// The swarm of a node.
#[derive(NetworkBehaviour)]
pub struct NodeBehaviour {
    /// Refuses connections beyond the limits.
    pub connections: connection_limits::Behaviour,
    /// Keeps lookups from dialling peers that have just fallen silent.
    pub avoid: avoid::Behaviour,
    /// Tells and learns addresses and protocols.
    pub identify: identify::Behaviour,
    /// Sees frozen peers. It only reports: the node closes the connection itself.
    pub ping: ping::Behaviour,
    /// The DHT, in server mode.
    pub kad: kad::Behaviour<Records>,
    /// Outbound streams of the DHT's protocol that carry many messages. It accepts none: the
    /// inbound ones are `kad`'s.
    pub streams: libp2p_stream::Behaviour,
    /// Local discovery; one instance an IP family, off without a network to look at.
    pub mdns4: Toggle<mdns::tokio::Behaviour>,
    /// See `mdns4`.
    pub mdns6: Toggle<mdns::tokio::Behaviour>,
    /// Relays and what else leads through routers.
    pub nat: Nat,
    /// Node to node, both ways.
    pub peer: request_response::Behaviour<PeerCodec>,
    /// Client to node: answers only.
    pub client: request_response::Behaviour<ClientCodec>,
}

/// The swarm of a client.
#[derive(NetworkBehaviour)]
pub struct ClientBehaviour {
    /// Says that this is a client: no DHT, no peer protocol.
    pub identify: identify::Behaviour,
    /// Answers the node's pings.
    pub ping: ping::Behaviour,
    /// Client to node: asks only.
    pub client: request_response::Behaviour<ClientCodec>,
}

impl NodeBehaviour {
    /// Composes a node's behaviour; mDNS is switched on later, by [`mdns_behaviour`].
    pub fn new(keypair: &Keypair, records: Records, nat: Nat) -> Self {
        let me = keypair.public().to_peer_id();
        Self {
            connections: connection_limits::Behaviour::new(
                ConnectionLimits::default()
                    .with_max_established(Some(limits::MAX_CONNECTIONS))
                    .with_max_established_per_peer(Some(limits::MAX_CONNECTIONS_PER_PEER))
                    .with_max_pending_incoming(Some(limits::MAX_PENDING_CONNECTIONS))
                    .with_max_pending_outgoing(Some(limits::MAX_PENDING_CONNECTIONS)),
            ),
            avoid: avoid::Behaviour::default(),
            identify: identify_behaviour(keypair, "node"),
            ping: ping_behaviour(),
            kad: kad_behaviour(me, records),
            streams: libp2p_stream::Behaviour::new(),
            mdns4: None.into(),
            mdns6: None.into(),
            nat,
            peer: request_response::Behaviour::with_codec(
                PeerCodec::default(),
                [(StreamProtocol::new(PEER_PROTOCOL), ProtocolSupport::Full)],
                request_config(limits::PEER_DEADLINE),
            ),
            client: request_response::Behaviour::with_codec(
                ClientCodec::default(),
                [(StreamProtocol::new(CLIENT_PROTOCOL), ProtocolSupport::Inbound)],
                request_config(limits::CLIENT_DEADLINE),
            ),
        }
    }
}

impl ClientBehaviour {
    /// Composes a client's behaviour.
    pub fn new(keypair: &Keypair) -> Self {
        Self {
            identify: identify_behaviour(keypair, "client"),
            ping: ping_behaviour(),
            client: request_response::Behaviour::with_codec(
                ClientCodec::default(),
                [(StreamProtocol::new(CLIENT_PROTOCOL), ProtocolSupport::Outbound)],
                request_config(limits::CLIENT_DEADLINE),
            ),
        }
    }
}

/// A swarm of `behaviour` on the program's transports, relayed connections left out.
///
/// # Errors
/// When the Noise keys can't be made from the identity.
pub fn swarm<B: NetworkBehaviour>(
    keypair: &Keypair,
    key: Option<PreSharedKey>,
    behaviour: B,
) -> Result<Swarm<B>, noise::Error> {
    swarm_with_relays(keypair, key, behaviour, None)
}

/// The same with the transport that belongs to the behaviour's relay client, if it has one.
///
/// # Errors
/// As [`swarm`].
pub fn swarm_with_relays<B: NetworkBehaviour>(
    keypair: &Keypair,
    key: Option<PreSharedKey>,
    behaviour: B,
    relayed: Option<relay::client::Transport>,
) -> Result<Swarm<B>, noise::Error> {
    let transport = crate::wire::transport::build(keypair, key, relayed)?;
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(limits::IDLE_CONNECTION)
        .with_max_negotiating_inbound_streams(limits::MAX_STREAMS_PER_CONNECTION);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config))
}

/// Looks for other nodes on the local network every `interval`.
///
/// # Errors
/// When the multicast socket can't be opened.
pub fn mdns_behaviour(
    me: PeerId,
    ipv6: bool,
    interval: std::time::Duration,
) -> std::io::Result<mdns::tokio::Behaviour> {
    let config = mdns::Config { query_interval: interval, enable_ipv6: ipv6, ..mdns::Config::default() };
    mdns::tokio::Behaviour::new(config, me)
}

fn identify_behaviour(keypair: &Keypair, role: &str) -> identify::Behaviour {
    let agent = format!("p2pimg/{} {role}", env!("CARGO_PKG_VERSION"));
    identify::Behaviour::new(
        identify::Config::new(IDENTIFY_VERSION.to_owned(), keypair.public())
            .with_agent_version(agent)
            // A new address, of a network card or at a relay, is told at once.
            .with_push_listen_addr_updates(true),
    )
}

fn ping_behaviour() -> ping::Behaviour {
    ping::Behaviour::new(
        ping::Config::new().with_interval(limits::PING_INTERVAL).with_timeout(limits::PING_TIMEOUT),
    )
}

fn request_config(deadline: std::time::Duration) -> request_response::Config {
    request_response::Config::default()
        .with_request_timeout(deadline)
        .with_max_concurrent_streams(limits::MAX_STREAMS_PER_CONNECTION)
}

fn kad_behaviour<S: RecordStore + Send + 'static>(me: PeerId, store: S) -> kad::Behaviour<S> {
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(limits::LOOKUP_DEADLINE)
        .set_substreams_timeout(limits::KAD_SUBSTREAM_TIMEOUT)
        .set_provider_record_ttl(Some(limits::RECORD_TTL))
        // The republish planner renews records; kad's own job would clone all of them.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let mut kad = kad::Behaviour::with_config(me, store, config);
    // Without an external address kad would stay a client that stores nothing.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}
