//! What is remembered of one peer.

use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_PEER, MAX_TEXT_BYTES};
use crate::protocol::Hello;
use crate::types::printable;

/// How far a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Not connected; to be dialled at this time, if there is an address.
    Away(Instant),
    /// Being dialled since.
    Dialling(Instant),
    /// Connected; hello is to be said at this time.
    Connected(Instant),
    /// Connected; hello was said at this time and is not answered yet.
    Greeted(Instant),
    /// Connected, and its hello is here.
    Member(Box<Member>),
}

/// A live member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) hello: Hello,
    pub(super) ask_at: Instant,
    pub(super) asked: u32,
}

#[derive(Debug)]
pub(super) struct Peer {
    /// The best first.
    addresses: Vec<Multiaddr>,
    /// Whether the first of them worked.
    first_worked: bool,
    /// Named on the command line: never forgotten.
    pub(super) bootstrap: bool,
    pub(super) link: Link,
    /// Dials, or greetings, in a row that brought nothing.
    pub(super) failures: u32,
    /// Connected, but gave no proper hello: not dialled often.
    pub(super) stranger: bool,
    /// It said a proper hello, but one of the two has no room for the other.
    pub(super) guest: bool,
    /// This node opened the connection.
    pub(super) dialled: bool,
    /// It is no member and was asked something then; the connection is for that only.
    pub(super) visited: Option<Instant>,
    pub(super) ping_failures: u32,
    pub(super) rtt_us: Option<u64>,
    /// Last sign of life; the first mention, as long as there was none.
    pub(super) seen: Instant,
    pub(super) met: bool,
    pub(super) trouble: Option<String>,
    /// The entry in the planner's timers.
    pub(super) timer: Option<Instant>,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            addresses: Vec::new(),
            first_worked: false,
            bootstrap: false,
            link: Link::Away(now),
            failures: 0,
            stranger: false,
            guest: false,
            dialled: false,
            visited: None,
            ping_failures: 0,
            rtt_us: None,
            seen: now,
            met: false,
            trouble: None,
            timer: None,
        }
    }

    pub(super) fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// The addresses for the next dial. All that are dialled are dialled at once and the fastest wins, so
    /// every other time, TCP without a relay is alone: a relayed connection is slow and costs a third
    /// party, and QUIC costs both ends half as much CPU again. When nothing else worked last, nothing is
    /// tried before it.
    pub(super) fn to_dial(&self) -> Vec<Multiaddr> {
        let best = |address: &&Multiaddr| is_best(address);
        let best_worked = !self.first_worked || self.addresses.first().is_some_and(is_best);
        let first_choice = self.failures.is_multiple_of(2) && best_worked;
        let some: Vec<_> = self.addresses.iter().filter(best).cloned().collect();
        if first_choice && !some.is_empty() { some } else { self.addresses.clone() }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected(_) | Link::Greeted(_) | Link::Member(_))
    }

    pub(super) fn hello(&self) -> Option<&Hello> {
        if let Link::Member(member) = &self.link { Some(&member.hello) } else { None }
    }

    /// Remembers an address; `worked`: a connection was made through it. Returns whether it
    /// is new. What worked last is first, then the newest.
    pub(super) fn learn(&mut self, address: Multiaddr, worked: bool) -> bool {
        let known = self.addresses.iter().position(|a| *a == address);
        match known {
            Some(at) if worked => {
                self.addresses.remove(at);
            }
            Some(_) => return false,
            None => {}
        }
        let at = usize::from(self.first_worked && !worked);
        self.addresses.insert(at, address);
        self.first_worked |= worked;
        self.addresses.truncate(MAX_ADDRESSES_PER_PEER);
        known.is_none()
    }

    pub(super) fn troubled(&mut self, reason: &str) {
        let short: String = reason.chars().take(MAX_TEXT_BYTES / 16).collect();
        self.trouble = Some(printable(&short));
    }
}

/// Whether an address leads through a relay.
#[must_use]
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether an address leads through `peer`, which relays.
pub(super) fn leads_through(address: &Multiaddr, peer: &PeerId) -> bool {
    is_relayed(address) && address.iter().any(|part| part == Protocol::P2p(*peer))
}

fn is_best(address: &Multiaddr) -> bool {
    !is_relayed(address) && !address.iter().any(|part| matches!(part, Protocol::Udp(_)))
}

/// The address without the peer's id at its end, when it can be an address of `peer` at all.
pub(super) fn plain(address: &Multiaddr, peer: Option<&PeerId>) -> Option<Multiaddr> {
    if address.is_empty() || address.as_ref().len() > MAX_ADDRESS_BYTES {
        return None;
    }
    let nowhere = address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_unspecified(),
        Protocol::Ip6(ip) => ip.is_unspecified(),
        Protocol::Tcp(0) | Protocol::Udp(0) => true,
        _ => false,
    });
    // Through itself: of no use to anybody.
    let circular = peer.is_some_and(|peer| {
        is_relayed(address)
            && address
                .iter()
                .take_while(|part| *part != Protocol::P2pCircuit)
                .any(|part| part == Protocol::P2p(*peer))
    });
    let mut plain = address.clone();
    if let Some(Protocol::P2p(id)) = address.iter().last() {
        if peer.is_some_and(|peer| *peer != id) {
            return None;
        }
        plain.pop();
    }
    (!nowhere && !circular && !plain.is_empty()).then_some(plain)
}

/// The peer id at the end of an address.
pub(super) fn named(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("an address")
    }

    #[test]
    fn relays_and_quic_are_tried_every_other_time() {
        let relay = PeerId::random();
        let tcp = address("/ip4/192.0.2.1/tcp/4011");
        let quic = address("/ip4/192.0.2.1/udp/4011/quic-v1");
        let circuit = address(&format!("/ip4/203.0.113.1/tcp/4011/p2p/{relay}/p2p-circuit"));
        let mut peer = Peer::new(Instant::now());
        for address in [&circuit, &quic, &tcp] {
            peer.learn(address.clone(), false);
        }
        assert_eq!(peer.to_dial(), std::slice::from_ref(&tcp));
        peer.failures = 1;
        assert_eq!(peer.to_dial().len(), 3);
        peer.failures = 2;
        assert_eq!(peer.to_dial(), std::slice::from_ref(&tcp));
        // Last time only the relay led there: that is not put off.
        peer.learn(circuit.clone(), true);
        assert_eq!(peer.to_dial().len(), 3);
        assert_eq!(peer.to_dial().first(), Some(&circuit));

        let mut behind = Peer::new(Instant::now());
        behind.learn(circuit.clone(), false);
        assert_eq!(behind.to_dial(), [circuit]);
    }

    #[test]
    fn nobody_is_reached_through_itself() {
        let (peer, relay) = (PeerId::random(), PeerId::random());
        let through = |relay| address(&format!("/ip4/203.0.113.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}"));
        assert!(plain(&through(peer), Some(&peer)).is_none());
        let good = plain(&through(relay), Some(&peer)).expect("through another one");
        assert!(is_relayed(&good) && leads_through(&good, &relay) && !leads_through(&good, &peer));
        assert!(plain(&through(relay), Some(&relay)).is_none(), "it is another's");
    }
}
