//! What a node does once a minute: looks for other nodes of its user, clears expired
//! What a node does once a minute: looks for other nodes of its user, clears expired
//! records and writes what has changed of them, writes down whom to join by after a
//! restart, forgets catalogs of nodes that are gone for good, gives back memory that
//! nobody uses any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use crate::limits;
use crate::store::folder::{self, Home};
use crate::store::records::{News, Said};

use super::NodeEvent;
use super::event_loop::EventLoop;

/// How often, and the first time: nodes that started together see each other then.
const EVERY: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(2);
/// Provider records looked at each time: a full store is through in two hours, well
/// within the life of a record.
const RECORDS_AT_ONCE: usize = 50_000;

/// When what was done last.
#[derive(Debug)]
pub(super) struct Housekeeping {
    started: Instant,
    next: Instant,
    /// Where this user's other nodes are found; `None`: not looked for.
    home: Option<Home>,
    /// What the state folder has.
    remembered: Vec<Multiaddr>,
    absences: Vec<(PeerId, Duration)>,
}

impl Housekeeping {
    pub(super) fn new(now: Instant, home: Option<Home>, remembered: Vec<Multiaddr>) -> Self {
        Self { started: now, next: now + FIRST, home, remembered, absences: Vec::new() }
    }

    pub(super) fn next_wakeup(&self) -> Instant {
        self.next
    }
}

impl EventLoop {
    pub(super) fn keep_house(&mut self, now: Instant) {
        if now < self.housekeeping.next {
            return;
        }
        self.housekeeping.next = now + EVERY;
        let records = self.swarm.behaviour_mut().kad.store_mut();
        records.sweep(now, RECORDS_AT_ONCE);
        self.lasting.keep(records, now);
        self.services.bands.sweep(now, limits::BAND_SWEEP);
        self.find_running();
        self.remember_members();
        self.remember_absences();
        self.remember_published(now);
        self.forget_old_catalogs(now);
        self.services.index.rest(limits::HASHES_IDLE);
        self.count_catalogs();
    }

    /// The thread that keeps the DHT's records has something to tell.
    pub(super) fn on_records(&mut self, news: News) {
        if let Some(said) = self.lasting.on_news(self.swarm.behaviour_mut().kad.store_mut(), news) {
            self.say(said);
        }
    }

    pub(super) fn say(&self, said: Said) {
        self.emit(match said {
            Said::Warning(message) => NodeEvent::Warning { message },
            Said::Notice(message) => NodeEvent::Notice { message },
        });
    }

    /// Other nodes of this user on this machine, which mDNS does not see.
    pub(super) fn find_running(&mut self) {
        let Some(home) = &self.housekeeping.home else { return };
        for node in folder::running_nodes(home).unwrap_or_default() {
            self.on_running(node.peer, node.addresses);
        }
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

    /// A node that starts again is as patient with the others as before.
    fn remember_absences(&mut self) {
        let absences = self.copies.absences();
        if absences == self.housekeeping.absences {
            return;
        }
        match self.folder.remember_absences(&absences) {
            Ok(()) => self.housekeeping.absences = absences,
            Err(error) => tracing::warn!(%error, "cannot write down how long nodes stayed away"),
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
