//! The transports: TCP, optionally behind a pre-shared key, then Noise and Yamux; relayed
//! connections, which are made the same way; QUIC where there is no key; names looked up.
//!
//! There is one module, so that no part of the program can listen or dial on a transport
//! that does not carry the swarm key: a keyless QUIC listener beside a keyed TCP one lets
//! strangers in. QUIC has its own handshake and no place for the key, so with a key there
//! is no QUIC. A relayed connection is a stream on the relay's connection, which had to show
//! the key; its two ends show it to each other once more, so that the rule has no exception.

use std::io;
use std::time::Duration;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OptionalTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, Transport, dns, noise, quic, relay, tcp, yamux};

use crate::limits::{MAX_STREAMS_PER_CONNECTION, QUIC_CONNECTION_WINDOW, QUIC_STREAM_WINDOW};

/// How long a connection may take from the first byte to the last handshake. A wrong
/// swarm key often shows only as silence.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(8);

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport. With `key`, only peers with the same key get as far as Noise.
/// `relayed`: connections through relays, for nodes.
///
/// # Errors
/// When the Noise keys can't be made from the identity.
pub fn build(
    keypair: &Keypair,
    key: Option<PreSharedKey>,
    relayed: Option<relay::client::Transport>,
) -> Result<Connections, noise::Error> {
    let direct = named(|| direct(keypair, key))?;
    let Some(relayed) = relayed else { return Ok(direct) };
    // Outside: the relay's own address may be a name.
    let relayed = secured(relayed, keypair, key)?;
    Ok(relayed.or_transport(direct).map(|either, _| either.into_inner()).boxed())
}

/// Whether an address is of a transport that does not carry the swarm key.
#[must_use]
pub fn is_keyless(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Udp(_) | Protocol::QuicV1 | Protocol::Quic))
}

/// Whether this machine says where names are looked up.
///
/// # Errors
/// Why not.
pub fn looks_up_names() -> io::Result<()> {
    dns::tokio::Transport::system(()).map(drop)
}

fn direct(keypair: &Keypair, key: Option<PreSharedKey>) -> Result<Connections, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = secured(tcp, keypair, key)?;
    let quic = match key {
        // No transport that passes the key by.
        Some(_) => OptionalTransport::none(),
        None => OptionalTransport::some(quic_transport(keypair)),
    };
    Ok(quic.or_transport(tcp).map(|either, _| either.into_inner()).boxed())
}

fn secured<T>(streams: T, keypair: &Keypair, key: Option<PreSharedKey>) -> Result<Connections, noise::Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::ListenerUpgrade: Send,
    T::Dial: Send,
{
    let guarded = streams.and_then(move |stream, _| async move {
        match key {
            Some(key) => {
                PnetConfig::new(key).handshake(stream).await.map(Either::Left).map_err(io::Error::other)
            }
            None => Ok(Either::Right(stream)),
        }
    });
    Ok(guarded
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE_DEADLINE)
        .boxed())
}

fn quic_transport(keypair: &Keypair) -> Connections {
    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = HANDSHAKE_DEADLINE;
    config.max_concurrent_stream_limit = MAX_STREAMS_PER_CONNECTION as u32;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    quic::tokio::Transport::new(config)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .boxed()
}

/// Looks names up as the system says. Where it says nothing, addresses work all the same and names
/// fail: asking a public server instead would tell it whom a person's photos are shared with.
fn named(direct: impl Fn() -> Result<Connections, noise::Error>) -> Result<Connections, noise::Error> {
    match dns::tokio::Transport::system(direct()?) {
        Ok(named) => Ok(named.boxed()),
        Err(error) => {
            tracing::debug!(%error, "names are not looked up");
            let nowhere = dns::ResolverConfig::default();
            Ok(dns::tokio::Transport::custom(direct()?, nowhere, dns::ResolverOpts::default()).boxed())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use libp2p::swarm::{SwarmEvent, dummy};

    fn swarm(key: Option<PreSharedKey>) -> libp2p::Swarm<dummy::Behaviour> {
        crate::behaviour::swarm(&Keypair::generate_ed25519(), key, dummy::Behaviour).unwrap()
    }

    const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

    /// The story: a private node that listened on QUIC too let in whoever dialled that.
    #[tokio::test]
    async fn a_keyless_quic_peer_does_not_get_in() {
        let key = Some(PreSharedKey::new([1; 32]));
        let mut private = swarm(key);
        assert!(private.listen_on(QUIC.parse().unwrap()).is_err(), "no transport for it");
        // Nor does a private node call out that way.
        let mut open = swarm(None);
        open.listen_on(QUIC.parse().unwrap()).unwrap();
        let there = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = open.select_next_some().await {
                break address;
            }
        };
        private.dial(there.clone()).unwrap();
        let mut guest = swarm(None);
        guest.dial(there).unwrap();
        // With the same patience for both: the guest without a key arrives, the private node fails.
        let (mut arrived, mut failed) = (false, false);
        while !(arrived && failed) {
            tokio::select! {
                event = private.select_next_some() => match event {
                    SwarmEvent::OutgoingConnectionError { .. } => failed = true,
                    SwarmEvent::ConnectionEstablished { .. } => panic!("without the key"),
                    _ => {}
                },
                event = guest.select_next_some() => {
                    arrived |= matches!(event, SwarmEvent::ConnectionEstablished { .. });
                }
                _ = open.select_next_some() => {}
            }
        }
    }

    #[test]
    fn only_tcp_carries_the_key() {
        for (address, keyless) in
            [(QUIC, true), ("/ip4/127.0.0.1/tcp/1", false), ("/dnsaddr/x.example", false)]
        {
            assert_eq!(is_keyless(&address.parse().unwrap()), keyless, "{address}");
        }
    }
}
