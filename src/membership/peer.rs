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
    let mut plain = address.clone();
    if let Some(Protocol::P2p(id)) = address.iter().last() {
        if peer.is_some_and(|peer| *peer != id) {
            return None;
        }
        plain.pop();
    }
    (!nowhere && !plain.is_empty()).then_some(plain)
}

/// The peer id at the end of an address.
pub(super) fn named(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => Some(id),
        _ => None,
    }
}
