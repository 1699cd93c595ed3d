//! Addresses from the command line. They are dialled as they were given for as long as
//! nobody is connected through them: the node behind one may get a new identity.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::peer::plain;
use crate::backoff::Jitter;
use crate::limits::{DIAL_DEADLINE, MAX_BOOTSTRAPS, MAX_TEXT_BYTES, REDIAL_FIRST, REDIAL_LONGEST};

#[derive(Debug)]
struct Entry {
    address: Multiaddr,
    named: Option<PeerId>,
    /// Who is connected through it.
    via: Option<PeerId>,
    next: Instant,
    failures: u32,
    trouble: Option<String>,
    /// The trouble was told; once, until somebody is connected.
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Bootstraps(Vec<Entry>);

impl Bootstraps {
    /// `false` when there are too many.
    pub(super) fn add(
        &mut self,
        now: Instant,
        address: Multiaddr,
        named: Option<PeerId>,
        via: Option<PeerId>,
    ) -> bool {
        if self.0.iter().any(|entry| entry.address == address) {
            return true;
        }
        let fits = self.0.len() < MAX_BOOTSTRAPS;
        if fits {
            self.0.push(Entry { address, named, via, next: now, failures: 0, trouble: None, told: false });
        }
        fits
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, address: &Multiaddr) -> bool {
        let before = self.0.len();
        let target = plain(address, None);
        self.0.retain(|entry| plain(&entry.address, None) != target);
        self.0.len() < before
    }

    /// Whether the peer is one of them.
    pub(super) fn connected(&mut self, peer: PeerId, address: Option<&Multiaddr>) -> bool {
        let dialled = address.and_then(|a| plain(a, None));
        let mut is_one = false;
        for entry in &mut self.0 {
            let same = dialled.is_some() && plain(&entry.address, None) == dialled;
            if entry.named == Some(peer) || (same && entry.named.is_none()) {
                entry.via = Some(peer);
                entry.failures = 0;
                entry.trouble = None;
                entry.told = false;
                is_one = true;
            }
        }
        is_one
    }

    pub(super) fn disconnected(&mut self, now: Instant, peer: &PeerId) {
        for entry in self.0.iter_mut().filter(|entry| entry.via.as_ref() == Some(peer)) {
            entry.via = None;
            entry.next = now + REDIAL_FIRST;
        }
    }

    /// Returns a reason that is worth telling: a mistyped address or another key would else
    /// look like a swarm of one. Two nodes that start together miss each other once: that is
    /// not.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        address: &Multiaddr,
        permanent: bool,
        reason: &str,
        jitter: &mut Jitter,
    ) -> Option<String> {
        let entry = self.0.iter_mut().find(|entry| entry.address == *address)?;
        entry.failures = entry.failures.saturating_add(1);
        let reason: String = reason.chars().take(MAX_TEXT_BYTES / 4).collect();
        entry.trouble = Some(reason.clone());
        let failures = if permanent { u32::MAX } else { entry.failures };
        entry.next = now + jitter.pause(failures, REDIAL_FIRST, REDIAL_LONGEST);
        (failures > 1 && !std::mem::replace(&mut entry.told, true)).then_some(reason)
    }

    /// An address to dial now. Until it is reported failed it counts as being dialled.
    pub(super) fn next(&mut self, now: Instant) -> Option<Multiaddr> {
        let entry = self.0.iter_mut().find(|entry| entry.via.is_none() && entry.next <= now)?;
        entry.next = now + DIAL_DEADLINE;
        Some(entry.address.clone())
    }

    pub(super) fn wakeup(&self) -> Option<Instant> {
        self.0.iter().filter(|entry| entry.via.is_none()).map(|entry| entry.next).min()
    }

    /// Those that nobody is connected through, and why.
    pub(super) fn unreached(&self) -> impl Iterator<Item = (&Multiaddr, Option<&str>)> {
        self.0.iter().filter(|entry| entry.via.is_none()).map(|e| (&e.address, e.trouble.as_deref()))
    }
}
