//! What joins machines beyond one network: relays, hole punching, finding out which own addresses
//! others reach. All of it is off in a node that stays on its machine.

use std::num::NonZeroU32;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{autonat, dcutr, relay, upnp};

use crate::limits;

/// What a node does about routers that let nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatOptions {
    /// The node leaves its machine at all; without that there is nothing to do.
    pub anywhere: bool,
    /// It relays for others.
    pub relay: bool,
    /// It asks the router for a port.
    pub upnp: bool,
}

/// See the module.
#[derive(NetworkBehaviour)]
pub struct Nat {
    /// Has places at relays, and dials through them.
    pub relayed: Toggle<relay::client::Behaviour>,
    /// Relays for others.
    pub relay: Toggle<relay::Behaviour>,
    /// Makes direct connections of relayed ones.
    pub punch: Toggle<dcutr::Behaviour>,
    /// Asks others to try the own addresses.
    pub tried: Toggle<autonat::v2::client::Behaviour>,
    /// Tries the addresses of others.
    pub tries: Toggle<autonat::v2::server::Behaviour>,
    /// Asks the router for a port.
    pub upnp: Toggle<upnp::tokio::Behaviour>,
}

impl Nat {
    /// With the transport for relayed connections, when there are any.
    pub fn new(keypair: &Keypair, options: NatOptions) -> (Self, Option<relay::client::Transport>) {
        let me = keypair.public().to_peer_id();
        if !options.anywhere {
            let nothing = Self {
                relayed: None.into(),
                relay: None.into(),
                punch: None.into(),
                tried: None.into(),
                tries: None.into(),
                upnp: None.into(),
            };
            return (nothing, None);
        }
        let (transport, relayed) = relay::client::new(me);
        let nat = Self {
            relayed: Some(relayed).into(),
            relay: options.relay.then(|| relay::Behaviour::new(me, relay_config())).into(),
            punch: Some(dcutr::Behaviour::new(me)).into(),
            // Ten addresses at most, every five seconds until each is known: its own bounds do.
            tried: Some(autonat::v2::client::Behaviour::default()).into(),
            tries: Some(autonat::v2::server::Behaviour::default()).into(),
            upnp: options.upnp.then(upnp::tokio::Behaviour::default).into(),
        };
        (nat, Some(transport))
    }
}

fn relay_config() -> relay::Config {
    let burst = NonZeroU32::new(limits::RELAY_BURST).unwrap_or(NonZeroU32::MIN);
    // Nothing per IP address: behind one router there may be a whole office.
    let config = relay::Config {
        max_reservations: limits::MAX_RELAYED_NODES,
        max_reservations_per_peer: limits::MAX_PLACES_PER_NODE,
        reservation_duration: limits::RELAY_PLACE_TIME,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits::MAX_CIRCUITS,
        max_circuits_per_peer: limits::MAX_CIRCUITS_PER_NODE,
        max_circuit_duration: limits::MAX_CIRCUIT_TIME,
        max_circuit_bytes: limits::MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    };
    config
        .reservation_rate_per_peer(burst, limits::RELAY_REFILL)
        .circuit_src_per_peer(burst, limits::RELAY_REFILL)
}
