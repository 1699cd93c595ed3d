//! What the planner tells others: people, and other members.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};
use serde_bytes::ByteBuf;

use super::Membership;
use super::peer::Peer;
use crate::limits::{MAX_MEMBERS, PAGE_BYTES};
use crate::protocol::{Hello, MemberAddress, PeerStatus};
use crate::types::Seq;

impl Membership {
    /// The live members and what they said.
    pub fn members(&self) -> impl Iterator<Item = (&PeerId, &Hello)> {
        self.peers.iter().filter_map(|(id, peer)| peer.hello().map(|hello| (id, hello)))
    }

    /// How many live members there are, this node not counted.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members
    }

    /// Bootstrap addresses that nobody is connected through, with the last reason.
    pub fn unreached_bootstraps(&self) -> impl Iterator<Item = (&Multiaddr, Option<&str>)> {
        self.bootstraps.unreached()
    }

    /// The answer to `members`: live members with an address, as many as fit a message.
    #[must_use]
    pub fn member_addresses(&self) -> Vec<MemberAddress> {
        let live =
            self.peers.iter().filter(|(_, peer)| peer.hello().is_some() && !peer.addresses().is_empty());
        let rows = live.take(MAX_MEMBERS).map(|(id, peer)| {
            let addresses = peer.addresses().iter().map(|a| ByteBuf::from(a.to_vec())).collect();
            MemberAddress { peer: *id, addresses }
        });
        let mut bytes = 0;
        rows.take_while(|row| {
            bytes += 64 + row.addresses.iter().map(|a| a.len() + 3).sum::<usize>();
            bytes <= PAGE_BYTES
        })
        .collect()
    }

    /// A row for each peer that is or was a member, or should be: members first. Clients
    /// that are connected are none. How far catalogs are known is for others to fill in.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let shown = |peer: &&Peer| peer.hello().is_some() || !peer.addresses().is_empty();
        let (members, others): (Vec<_>, Vec<_>) =
            self.peers.iter().filter(|(_, peer)| shown(peer)).partition(|(_, peer)| peer.hello().is_some());
        let mut bytes = 0;
        let rows = members.into_iter().chain(others).take(MAX_MEMBERS).map(|(id, peer)| {
            let mut row = row(now, *id, peer);
            // The longest addresses of hundreds of peers would not fit a message.
            row.addresses.retain(|address| {
                bytes += address.len();
                bytes <= PAGE_BYTES / 2
            });
            row
        });
        rows.collect()
    }
}

fn row(now: Instant, id: PeerId, peer: &Peer) -> PeerStatus {
    let hello = peer.hello();
    PeerStatus {
        peer: id,
        connected: peer.is_connected(),
        relayed: false,
        addresses: peer.addresses().iter().map(ToString::to_string).collect(),
        rtt_us: peer.rtt_us,
        images: hello.map_or(0, |hello| hello.images),
        catalog_known: Seq(0),
        catalog_head: hello.map_or(Seq(0), |hello| hello.head.seq),
        seen_s: peer.met.then(|| now.saturating_duration_since(peer.seen).as_secs()),
        state: None,
        room: hello.map(|hello| hello.keeps.room),
        trouble: peer.trouble.clone(),
    }
}
