//! The connections to each peer, and which of them counts.
//!
//! A relayed connection waits for a direct one: whatever runs on it when hole punching succeeds
//! would be lost. It is used after [`HOLE_PUNCH_WAIT`], and goes as soon as there is a direct one,
//! because requests are dealt out to all connections of a peer alike.
//!
//! **This machine.** Without a swarm key only who is on this machine is trusted. That is said by
//! the address at the other end of a connection, and by nothing else: a relayed connection ends at
//! the relay, whose own address says nothing about the peer behind it.

use std::collections::HashMap;
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::limits::HOLE_PUNCH_WAIT;
use crate::membership::is_relayed;

use super::on_event::without_peer;
use super::reach::is_loopback;

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    relayed: bool,
    local: bool,
    /// Where it leads.
    remote: Multiaddr,
    /// That is where the peer listens.
    dialled: bool,
}

/// A relayed connection that nobody was told of yet.
#[derive(Debug)]
struct Held {
    until: Instant,
    /// What was dialled.
    address: Option<Multiaddr>,
}

/// A peer that membership is to hear of, and the address that was dialled.
pub(super) type Told = (PeerId, Option<Multiaddr>);

/// What a new connection means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// Whom to tell membership of, now.
    pub(super) tell: Option<Told>,
    /// Relayed connections that have become useless.
    pub(super) close: Vec<ConnectionId>,
}

/// What the end of a connection means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    /// Nobody was told yet that the peer was there.
    pub(super) untold: Option<Told>,
    /// It was the last one from this machine, and others are left.
    pub(super) no_more_local: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Links {
    peers: HashMap<PeerId, Vec<Link>>,
    held: HashMap<PeerId, Held>,
}

impl Links {
    /// A connection is open.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Opened {
        let remote = endpoint.get_remote_address().clone();
        let relayed = endpoint.is_relayed() || is_relayed(&remote);
        let local = !relayed && is_loopback(&remote);
        let address = endpoint.is_dialer().then(|| remote.clone());
        let remote = without_peer(remote);
        let links = self.peers.entry(peer).or_default();
        let had_direct = links.iter().any(|link| !link.relayed);
        let had_any = !links.is_empty();
        let useless = |link: &Link| link.relayed.then_some(link.connection);
        let mut close = Vec::new();
        if !relayed {
            close = links.iter().filter_map(useless).collect();
        } else if had_direct {
            close.push(connection);
        }
        links.push(Link { connection, relayed, local, remote, dialled: endpoint.is_dialer() });
        let tell = if !relayed {
            self.held.remove(&peer);
            Some((peer, address))
        } else if had_direct {
            None
        } else if had_any {
            // Both dialled. The first one decides how long; an own dial is to be answered.
            if let Some(held) = self.held.get_mut(&peer) {
                held.address = held.address.take().or(address);
                None
            } else {
                Some((peer, address))
            }
        } else {
            self.held.insert(peer, Held { until: now + HOLE_PUNCH_WAIT, address });
            None
        };
        Opened { tell, close }
    }

    /// A connection is closed.
    pub(super) fn closed(&mut self, peer: PeerId, connection: ConnectionId) -> Closed {
        let Some(links) = self.peers.get_mut(&peer) else { return Closed::default() };
        let was_local = links.iter().any(|link| link.local);
        links.retain(|link| link.connection != connection);
        if links.is_empty() {
            self.peers.remove(&peer);
            let untold = self.held.remove(&peer).map(|held| (peer, held.address));
            return Closed { untold, no_more_local: false };
        }
        Closed { untold: None, no_more_local: was_local && !links.iter().any(|link| link.local) }
    }

    /// No direct connection will come: the relayed one is used.
    pub(super) fn give_up(&mut self, peer: PeerId) -> Option<Told> {
        self.held.remove(&peer).map(|held| (peer, held.address))
    }

    /// Those that have waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Told> {
        let late: Vec<_> = self.held.extract_if(|_, held| held.until <= now).collect();
        late.into_iter().map(|(peer, held)| (peer, held.address)).collect()
    }

    /// When [`Links::due`] finds somebody.
    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).min()
    }

    /// Whether the peer is on this machine.
    pub(super) fn is_local(&self, peer: &PeerId) -> bool {
        self.any(peer, |link| link.local)
    }

    /// Whether there is more than one connection to it.
    pub(super) fn is_doubled(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|links| links.len() > 1)
    }

    /// Whether it is reached through a relay only.
    pub(super) fn is_relayed(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer) && !self.any(peer, |link| !link.relayed)
    }

    /// Where it was reached without a relay.
    pub(super) fn reached_at(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.peers.get(peer)?.iter().find(|link| !link.relayed && link.dialled).map(|link| &link.remote)
    }

    /// The connection that leads there, when it is not the only one to the peer.
    pub(super) fn spare(&self, peer: &PeerId, remote: &Multiaddr) -> Option<ConnectionId> {
        let links = self.peers.get(peer).filter(|links| links.len() > 1)?;
        let remote = without_peer(remote.clone());
        links.iter().rev().find(|link| link.remote == remote).map(|link| link.connection)
    }

    fn any(&self, peer: &PeerId, which: impl Fn(&Link) -> bool) -> bool {
        self.peers.get(peer).is_some_and(|links| links.iter().any(which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    fn dialled(address: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: address.parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        }
    }

    fn came_from(local: &str, remote: &str) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: local.parse().unwrap(),
            send_back_addr: remote.parse().unwrap(),
        }
    }

    fn circuit(relay_at: &str, to: PeerId) -> String {
        format!("{relay_at}/p2p/{}/p2p-circuit/p2p/{to}", PeerId::random())
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    /// Trust without a key goes by the address: the relay's own must not give its guests the
    /// trust that it has, be it on this machine ten times.
    #[test]
    fn nobody_is_on_this_machine_because_the_relay_is() {
        let now = Instant::now();
        let peer = PeerId::random();
        let through = circuit("/ip4/127.0.0.1/tcp/4011", peer);
        let own = circuit("/ip4/127.0.0.1/tcp/4011", PeerId::random());
        let (relayed_from, plain) = (format!("/p2p/{peer}"), "/ip4/127.0.0.1/udp/7/quic-v1");
        for (endpoint, local) in [
            (dialled(&through), false),
            (came_from(&own, &relayed_from), false),
            // Whatever the far end may be called.
            (came_from(&own, "/ip4/127.0.0.1/tcp/9"), false),
            (came_from("/ip4/127.0.0.1/tcp/4011", &through), false),
            (came_from("/ip4/127.0.0.1/tcp/4011", "/ip4/192.0.2.7/tcp/9"), false),
            (came_from("/ip4/127.0.0.1/udp/4011/quic-v1", "/ip4/192.0.2.7/udp/9/quic-v1"), false),
            (dialled("/dns4/localhost/tcp/4011"), false),
            (dialled("/ip4/127.0.0.1/tcp/4011"), true),
            (came_from("/ip4/127.0.0.1/udp/4011/quic-v1", plain), true),
        ] {
            let mut links = Links::default();
            links.opened(now, peer, id(1), &endpoint);
            assert_eq!(links.is_local(&peer), local, "{endpoint:?}");
        }
    }

    #[test]
    fn who_leaves_this_machine_is_told_of() {
        let now = Instant::now();
        let (peer, mut links) = (PeerId::random(), Links::default());
        links.opened(now, peer, id(1), &dialled("/ip4/127.0.0.1/tcp/1"));
        links.opened(now, peer, id(2), &dialled("/ip4/192.0.2.1/tcp/1"));
        assert!(links.is_local(&peer) && links.is_doubled(&peer));
        assert!(links.closed(peer, id(1)).no_more_local);
        assert!(!links.is_local(&peer) && !links.is_doubled(&peer));
        assert_eq!(links.closed(peer, id(2)), Closed::default());
    }

    #[test]
    fn a_connection_that_only_tried_an_address_is_found_again() {
        let now = Instant::now();
        let (peer, mut links) = (PeerId::random(), Links::default());
        let (at, elsewhere) = ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/2".parse().unwrap());
        let tried: Multiaddr = at.parse().unwrap();
        links.opened(now, peer, id(1), &dialled(&format!("{at}/p2p/{peer}")));
        assert_eq!(links.spare(&peer, &tried), None, "the only one");
        links.opened(now, peer, id(2), &came_from("/ip4/192.0.2.9/tcp/1", "/ip4/192.0.2.1/tcp/5555"));
        assert_eq!(links.spare(&peer, &tried), Some(id(1)));
        assert_eq!(links.spare(&peer, &elsewhere), None);
        assert_eq!(links.reached_at(&peer), Some(&tried));
    }

    #[test]
    fn a_relayed_connection_waits_and_goes_when_there_is_a_direct_one() {
        let now = Instant::now();
        let (peer, mut links) = (PeerId::random(), Links::default());
        let through = circuit("/ip4/203.0.113.1/tcp/4011", peer);
        assert_eq!(links.opened(now, peer, id(1), &dialled(&through)), Opened::default());
        assert!(links.is_relayed(&peer));
        let direct = dialled("/ip4/203.0.113.9/tcp/4011");
        let opened = links.opened(now, peer, id(2), &direct);
        assert_eq!(opened.tell, Some((peer, Some(direct.get_remote_address().clone()))));
        assert_eq!(opened.close, [id(1)]);
        assert!(!links.is_relayed(&peer));
        assert_eq!((links.next_wakeup(), links.due(now + HOLE_PUNCH_WAIT)), (None, Vec::new()));
        // One that comes too late is closed at once.
        links.closed(peer, id(1));
        let late = links.opened(now, peer, id(3), &dialled(&through));
        assert_eq!(late, Opened { tell: None, close: vec![id(3)] });
    }

    #[test]
    fn a_relayed_connection_is_used_when_no_direct_one_comes() {
        let now = Instant::now();
        let (peer, mut links) = (PeerId::random(), Links::default());
        let through = circuit("/ip4/203.0.113.1/tcp/4011", peer);
        let told = (peer, Some(through.parse().unwrap()));
        // It dialled, and so did we: membership waits for what came of the own dial.
        links.opened(now, peer, id(1), &came_from(&through, &format!("/p2p/{peer}")));
        assert_eq!(links.opened(now, peer, id(2), &dialled(&through)), Opened::default());
        assert!(links.due(now).is_empty());
        assert_eq!(links.next_wakeup(), Some(now + HOLE_PUNCH_WAIT));
        assert_eq!(links.due(now + HOLE_PUNCH_WAIT), std::slice::from_ref(&told));
        assert!(links.is_relayed(&peer) && links.reached_at(&peer).is_none());

        let (peer, mut links) = (PeerId::random(), Links::default());
        let through = circuit("/ip4/203.0.113.1/tcp/4011", peer);
        let told = (peer, Some(through.parse().unwrap()));
        links.opened(now, peer, id(1), &dialled(&through));
        assert_eq!(links.closed(peer, id(1)).untold, Some(told.clone()), "the dial is to be answered");
        links.opened(now, peer, id(2), &dialled(&through));
        assert_eq!(links.give_up(peer), Some(told));
        assert_eq!(links.give_up(peer), None);
    }
}
