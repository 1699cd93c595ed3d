//! What a node does once a minute: clears expired records, writes down whom to join by
//! after a restart, forgets catalogs of nodes that are gone for good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::limits;

use super::event_loop::EventLoop;

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// Provider records looked at each time: a full store is through in two hours, well
/// within the life of a record.
const RECORDS_AT_ONCE: usize = 50_000;

/// When what was done last.
#[derive(Debug)]
pub(super) struct Housekeeping {
    started: Instant,
    done: Instant,
    /// What the state folder has.
    remembered: Vec<Multiaddr>,
}

impl Housekeeping {
    pub(super) fn new(now: Instant, remembered: Vec<Multiaddr>) -> Self {
        Self { started: now, done: now, remembered }
    }

    pub(super) fn next_wakeup(&self) -> Instant {
        self.done + EVERY
    }
}

impl EventLoop {
    pub(super) fn keep_house(&mut self, now: Instant) {
        if now < self.housekeeping.next_wakeup() {
            return;
        }
        self.housekeeping.done = now;
        self.swarm.behaviour_mut().kad.store_mut().sweep(now, RECORDS_AT_ONCE);
        self.remember_members();
        self.forget_old_catalogs(now);
    }

    /// A node that starts again without a bootstrap address, on a network without mDNS,
    /// joins by those it knew.
    pub(super) fn remember_members(&mut self) {
        let members = self.membership.member_addresses().into_iter();
        let addresses: Vec<Multiaddr> = members
            .filter_map(|member| {
                let address = Multiaddr::try_from(member.addresses.first()?.to_vec()).ok()?;
                address.with_p2p(member.peer).ok()
            })
            .take(limits::MAX_REMEMBERED_PEERS)
            .collect();
        // Alone is no news: those that were there are still the best guess.
        if addresses.is_empty() || addresses == self.housekeeping.remembered {
            return;
        }
        match self.folder.remember_peers(&addresses) {
            Ok(()) => self.housekeeping.remembered = addresses,
            Err(error) => tracing::warn!(%error, "cannot write down the known nodes"),
        }
    }

    /// Catalogs of members that are away are kept, because they come back; but not without
    /// end, nor of any number.
    fn forget_old_catalogs(&self, now: Instant) {
        let known: Vec<PeerId> = self.membership.status(now).into_iter().map(|row| row.peer).collect();
        let long_up = now.duration_since(self.housekeeping.started) > limits::FORGET_AFTER;
        let live = self.services.net.live();
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            let forgotten = services.on_disk(move |index| {
                let mut gone = index.peers()?;
                let excess = gone.len().saturating_sub(limits::MAX_KNOWN_PEERS);
                gone.retain(|peer| !live.contains_key(peer));
                let unknown = gone.iter().filter(|peer| long_up && !known.contains(peer)).count();
                // Those that nobody knows any more first.
                gone.sort_by_key(|peer| known.contains(peer));
                gone.truncate(unknown.max(excess));
                gone.iter().try_for_each(|peer| index.forget_peer(peer))?;
                Ok(gone.len())
            });
            match forgotten.await {
                Ok(0) | Err(_) => {}
                Ok(count) => tracing::info!("forgot the catalogs of {count} nodes that are gone"),
            }
        });
    }
}
