//! Whom to dial and when, and who is a live member.
//!
//! A peer becomes a member by an answered `hello` and by nothing else: clients connect too,
//! and anybody can be named by anybody. A member that is down is dialled again with growing
//! pauses, as is every bootstrap address, for ever; other peers are forgotten after
//! [`FORGET_AFTER`]. Members are asked for their members, often at first and then rarely, so
//! that a node that knows one member soon knows all.
//!
//! Two nodes that dial each other at once get two connections. That is left so: closing one
//! of them needs an agreement which, and getting it wrong closes both.
//!
//! Each peer has one timer for whatever is due next with it; an event touches one peer and
//! its timer, so the cost of an event is logarithmic in the number of peers.

mod bootstrap;
mod duties;
pub mod meeting;
mod peer;
pub mod relays;
mod status;
mod visits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use self::bootstrap::Bootstraps;
pub use self::peer::is_relayed;
use self::peer::{Link, Member, Peer, leads_through, plain};
use crate::backoff::Jitter;
#[cfg(doc)]
use crate::limits::FORGET_AFTER;
use crate::limits::{
    ASK_MEMBERS_FIRST, MAX_KNOWN_PEERS, MAX_MEMBERS, MAX_PING_FAILURES, REDIAL_FIRST, REDIAL_LONGEST,
    STRANGER_FIRST, STRANGER_LONGEST,
};
use crate::protocol::{HASH_VERSION, Hello};

/// Who named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer itself, on the local network, just now.
    Mdns,
    /// The peer itself, after connecting.
    Identify,
    /// Another member.
    Members,
    /// Kademlia.
    Kad,
}

/// What an outgoing dial was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// [`Action::Dial`].
    Peer(PeerId),
    /// [`Action::DialAddress`].
    Address(Multiaddr),
}

/// What the planner is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// The node's own addresses, all of them: never dialled, whoever names them.
    OwnAddresses(Vec<Multiaddr>),
    /// An address to stay connected to, with or without the peer's id.
    Bootstrap(Multiaddr),
    /// Somebody named addresses of a peer.
    Discovered {
        /// Of whom.
        peer: PeerId,
        /// With or without the peer's id.
        addresses: Vec<Multiaddr>,
        /// Who said so.
        source: Source,
    },
    /// A connection is open. May come several times for one peer.
    Connected {
        /// To whom.
        peer: PeerId,
        /// The address that was dialled; `None` when the peer dialled.
        address: Option<Multiaddr>,
    },
    /// The last connection to the peer is closed.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// A dial failed.
    DialFailed {
        /// What it was for.
        target: Target,
        /// Trying again soon is pointless: another peer answers there, another network, ...
        permanent: bool,
        /// For people.
        reason: String,
    },
    /// A bootstrap address led to this very node.
    DialledSelf {
        /// As in [`Action::DialAddress`].
        address: Multiaddr,
    },
    /// The peer answered a hello, or sent one: that makes nobody a member, but a stranger is
    /// greeted again at once.
    HelloOk {
        /// Who.
        peer: PeerId,
        /// What it said.
        hello: Hello,
    },
    /// It did not answer, or not properly.
    HelloBad {
        /// Who.
        peer: PeerId,
        /// For people.
        reason: String,
    },
    /// A peer that may be no member is asked something.
    Visiting {
        /// Who.
        peer: PeerId,
    },
    /// A peer that is no member answered that, or did not.
    Visited {
        /// Who.
        peer: PeerId,
        /// It answered.
        ok: bool,
    },
    /// A ping came back.
    PingOk {
        /// From whom.
        peer: PeerId,
        /// How long it took.
        rtt: Duration,
    },
    /// A ping did not come back in time.
    PingFailed {
        /// From whom.
        peer: PeerId,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial the peer; report [`Event::Connected`] or [`Event::DialFailed`].
    Dial {
        /// Whom.
        peer: PeerId,
        /// Where, the most promising first.
        addresses: Vec<Multiaddr>,
    },
    /// Dial the address, as it was given; report as above.
    DialAddress(Multiaddr),
    /// Send a hello; report [`Event::HelloOk`] or [`Event::HelloBad`].
    SayHello {
        /// Whom.
        peer: PeerId,
    },
    /// Ask for its members; report each as [`Event::Discovered`]. A failure needs no report.
    AskMembers {
        /// Whom.
        peer: PeerId,
    },
    /// Close all connections to the peer.
    Close {
        /// Whom.
        peer: PeerId,
        /// For the log.
        reason: String,
    },
    /// A member is up.
    MemberUp {
        /// Who.
        peer: PeerId,
        /// What it said.
        hello: Hello,
    },
    /// A member is gone.
    MemberDown {
        /// Who.
        peer: PeerId,
    },
    /// To be logged.
    Note(String),
}

/// The plan for all peers.
#[derive(Debug)]
pub struct Membership {
    me: PeerId,
    own: BTreeSet<Multiaddr>,
    peers: BTreeMap<PeerId, Peer>,
    timers: BTreeSet<(Instant, PeerId)>,
    bootstraps: Bootstraps,
    jitter: Jitter,
    dialling: usize,
    members: usize,
    /// How many there may be.
    limit: usize,
    /// Filled by events, a few entries each; emptied by `next_action`.
    outbox: VecDeque<Action>,
}

impl Membership {
    /// Knows nobody; `seed` spreads the pauses.
    #[must_use]
    pub fn new(me: PeerId, seed: u64) -> Self {
        Self {
            me,
            own: BTreeSet::new(),
            peers: BTreeMap::new(),
            timers: BTreeSet::new(),
            bootstraps: Bootstraps::default(),
            jitter: Jitter::new(seed),
            dialling: 0,
            members: 0,
            limit: MAX_MEMBERS,
            outbox: VecDeque::new(),
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::OwnAddresses(own) => self.own = own.iter().filter_map(|a| plain(a, None)).collect(),
            Event::Bootstrap(address) => self.bootstrap(now, address),
            Event::Discovered { peer, addresses, source } => self.discovered(now, peer, &addresses, source),
            Event::Connected { peer, address } => self.connected(now, peer, address.as_ref()),
            Event::Disconnected { peer } => self.disconnected(now, peer),
            Event::DialFailed { target: Target::Address(address), permanent, reason } => {
                self.bootstrap_failed(now, &address, permanent, &reason);
            }
            Event::DialFailed { target: Target::Peer(peer), permanent, reason } => {
                self.dial_failed(now, peer, permanent, &reason);
            }
            Event::DialledSelf { address } => self.drop_self(&address),
            Event::HelloOk { peer, hello } => self.hello_ok(now, peer, hello),
            Event::Visiting { peer } => self.visiting(now, &peer),
            Event::Visited { peer, ok } => self.visited(&peer, ok),
            Event::HelloBad { peer, reason } => self.hello_bad(now, peer, &reason),
            Event::PingOk { peer, rtt } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.ping_failures = 0;
                    peer.seen = now;
                    peer.rtt_us = u64::try_from(rtt.as_micros()).ok();
                }
            }
            Event::PingFailed { peer } => self.ping_failed(peer),
        }
    }

    fn bootstrap(&mut self, now: Instant, address: Multiaddr) {
        let named = peer::named(&address);
        let own = plain(&address, None).is_none_or(|plain| self.own.contains(&plain));
        if own || named == Some(self.me) {
            self.outbox
                .push_back(Action::Note(format!("bootstrap address {address} is this node: left out")));
            return;
        }
        // Its peer is known only once it has answered: an id may be mistyped.
        let via = named.filter(|id| self.peers.get(id).is_some_and(Peer::is_connected));
        if !self.bootstraps.add(now, address, named, via) {
            self.outbox.push_back(Action::Note("too many bootstrap addresses: one is left out".to_owned()));
        }
    }

    fn bootstrap_failed(&mut self, now: Instant, address: &Multiaddr, permanent: bool, reason: &str) {
        if let Some(reason) = self.bootstraps.failed(now, address, permanent, reason, &mut self.jitter) {
            let note = format!("bootstrap address {address} is not reached: {reason} (it is tried again)");
            self.outbox.push_back(Action::Note(note));
        }
    }

    fn drop_self(&mut self, address: &Multiaddr) {
        if self.bootstraps.remove(address) {
            self.outbox
                .push_back(Action::Note(format!("bootstrap address {address} is this node: left out")));
        }
    }

    fn discovered(&mut self, now: Instant, id: PeerId, addresses: &[Multiaddr], source: Source) {
        if id == self.me {
            return;
        }
        let addresses = addresses.iter().take(crate::limits::MAX_ADDRESSES_PER_PEER * 4);
        let usable: Vec<_> =
            addresses.filter_map(|a| plain(a, Some(&id))).filter(|a| !self.is_own(a)).collect();
        if usable.is_empty() || !self.make_room(&id) {
            return;
        }
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now));
        // In reverse, because each goes before the one learned before it.
        let new = usable.into_iter().rev().fold(false, |new, address| peer.learn(address, false) | new);
        // A peer that just announced itself, or was seen elsewhere, need not wait any longer;
        // but what others say may not make this node dial without a pause.
        if let Link::Away(at) = &mut peer.link {
            let own_word = source == Source::Mdns;
            if (new || own_word) && !peer.stranger && !peer.guest {
                *at = (*at).min(now + if peer.failures == 0 { Duration::ZERO } else { REDIAL_FIRST });
            }
        }
        self.set_timer(&id);
    }

    /// Leads to this node, or through it.
    fn is_own(&self, address: &Multiaddr) -> bool {
        self.own.contains(address) || leads_through(address, &self.me)
    }

    /// Whether `id` may be known: makes place for it by forgetting the peer that was away
    /// longest.
    fn make_room(&mut self, id: &PeerId) -> bool {
        if self.peers.contains_key(id) || self.peers.len() < MAX_KNOWN_PEERS {
            return true;
        }
        let away = self.peers.iter().filter(|(_, p)| matches!(p.link, Link::Away(_)) && !p.bootstrap);
        let Some(oldest) = away.min_by_key(|(_, p)| (p.met, p.seen)).map(|(id, _)| *id) else { return false };
        self.forget(&oldest);
        true
    }

    fn connected(&mut self, now: Instant, id: PeerId, address: Option<&Multiaddr>) {
        if id == self.me {
            if let Some(address) = address {
                self.drop_self(address);
            }
            return;
        }
        // A connection exists: it is tracked, full or not. The connection limit bounds these.
        self.make_room(&id);
        let bootstrap = self.bootstraps.connected(id, address);
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now));
        peer.bootstrap |= bootstrap;
        peer.dialled |= address.is_some();
        if let Some(address) = address.and_then(|a| plain(a, Some(&id))) {
            peer.learn(address, true);
        }
        peer.seen = now;
        peer.met = true;
        if !peer.is_connected() {
            self.dialling -= usize::from(matches!(peer.link, Link::Dialling(_)));
            peer.ping_failures = 0;
            let wait = if peer.stranger || peer.guest {
                self.jitter.pause(peer.failures, STRANGER_FIRST, STRANGER_LONGEST)
            } else {
                Duration::ZERO
            };
            peer.link = Link::Connected(now + wait);
        }
        self.set_timer(&id);
    }

    fn disconnected(&mut self, now: Instant, id: PeerId) {
        self.bootstraps.disconnected(now, &id);
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_connected()) else { return };
        let was_member = matches!(peer.link, Link::Member(_));
        if was_member {
            self.members -= 1;
            self.outbox.push_back(Action::MemberDown { peer: id });
        }
        peer.rtt_us = None;
        peer.dialled = false;
        peer.visited = None;
        let pause = if peer.stranger || peer.guest {
            self.jitter.pause(peer.failures, STRANGER_FIRST, STRANGER_LONGEST)
        } else {
            self.jitter.pause(1, REDIAL_FIRST, REDIAL_LONGEST)
        };
        peer.link = Link::Away(now + pause);
        if peer.addresses().is_empty() && !peer.bootstrap {
            self.forget(&id);
        } else {
            self.set_timer(&id);
        }
        if was_member {
            self.has_room(now);
        }
    }

    fn dial_failed(&mut self, now: Instant, id: PeerId, permanent: bool, reason: &str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !matches!(peer.link, Link::Dialling(_)) {
            return;
        }
        self.dialling -= 1;
        peer.failures = peer.failures.saturating_add(1);
        peer.troubled(reason);
        let pause = match (peer.stranger, permanent) {
            (true, _) => self.jitter.pause(peer.failures, STRANGER_FIRST, STRANGER_LONGEST),
            (false, true) => self.jitter.pause(u32::MAX, REDIAL_FIRST, REDIAL_LONGEST),
            (false, false) => self.jitter.pause(peer.failures, REDIAL_FIRST, REDIAL_LONGEST),
        };
        peer.link = Link::Away(now + pause);
        self.set_timer(&id);
    }

    fn hello_ok(&mut self, now: Instant, id: PeerId, hello: Hello) {
        let full = self.is_full();
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_connected()) else { return };
        peer.seen = now;
        if let Link::Member(member) = &mut peer.link {
            if hello.guest {
                self.no_room(now, id);
            } else {
                member.hello = hello;
            }
            return;
        }
        if let Link::Connected(greet_at) = &mut peer.link {
            *greet_at = now;
            self.set_timer(&id);
            return;
        }
        if full || hello.guest {
            self.no_room(now, id);
            return;
        }
        peer.failures = 0;
        peer.stranger = false;
        peer.guest = false;
        peer.visited = None;
        peer.trouble = (hello.hash_version != HASH_VERSION).then(|| {
            format!("compares pictures by version {}, this node by {HASH_VERSION}", hello.hash_version)
        });
        peer.link = Link::Member(Box::new(Member { hello: hello.clone(), ask_at: now, asked: 0 }));
        self.members += 1;
        self.outbox.push_back(Action::MemberUp { peer: id, hello });
        // Who comes new may know others that came new.
        self.ask_sooner(now);
        self.set_timer(&id);
    }

    /// A change among the members: the others are asked soon, whatever their pause has grown
    /// to. Bounded by the pause they begin with.
    fn ask_sooner(&mut self, now: Instant) {
        let sooner = now + ASK_MEMBERS_FIRST;
        let mut touched = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Link::Member(member) = &mut peer.link
                && member.ask_at > sooner
            {
                member.ask_at = sooner;
                member.asked = 1;
                touched.push(*id);
            }
        }
        for id in &touched {
            self.set_timer(id);
        }
    }

    fn hello_bad(&mut self, now: Instant, id: PeerId, reason: &str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !matches!(peer.link, Link::Greeted(_) | Link::Connected(_)) {
            // A member whose answer was lost stays one: pings decide whether it lives.
            return;
        }
        peer.stranger = true;
        peer.failures = peer.failures.saturating_add(1);
        peer.troubled(reason);
        peer.link = Link::Connected(now + self.jitter.pause(peer.failures, STRANGER_FIRST, STRANGER_LONGEST));
        self.set_timer(&id);
    }

    fn ping_failed(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_connected()) else { return };
        peer.ping_failures += 1;
        if peer.ping_failures >= MAX_PING_FAILURES {
            peer.ping_failures = 0;
            peer.troubled("did not answer pings");
            self.outbox.push_back(Action::Close { peer: id, reason: "did not answer pings".to_owned() });
        }
    }
}

#[cfg(test)]
mod tests;
