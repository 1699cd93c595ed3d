//! The transport: TCP, optionally behind a pre-shared key, then Noise and Yamux.
//!
//! There is one function, so that no part of the program can listen or dial on a
//! transport that does not carry the swarm key: a keyless QUIC listener beside a keyed
//! TCP one lets strangers in.

use std::time::Duration;

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{PeerId, Transport as _, noise, tcp, yamux};

/// How long a connection may take from the first byte to the last handshake. A wrong
/// swarm key often shows only as silence.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(8);

/// Builds the transport. With `key`, only peers with the same key get as far as Noise.
///
/// # Errors
/// When the Noise keys can't be made from the identity.
pub fn build(
    keypair: &Keypair,
    key: Option<PreSharedKey>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let guarded = tcp.and_then(move |socket, _| async move {
        match key {
            Some(key) => {
                PnetConfig::new(key).handshake(socket).await.map(Either::Left).map_err(std::io::Error::other)
            }
            None => Ok(Either::Right(socket)),
        }
    });
    Ok(guarded
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE_DEADLINE)
        .boxed())
}
