//! Near-duplicates through the DHT: what this node keeps for others, what it tells of its own
//! pictures, and what it asks. `dht_index::bands` has the parameters and says who keeps what,
//! `dht_index::band_plan` when what is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libp2p::PeerId;

use crate::dht_index::band_plan::{self, Action, BandPlan, Shown};
use crate::dht_index::bands::{Keepers, SCHEME};
use crate::dht_index::keyspace::Keyspace;
use crate::protocol::{Refusal, RefusalCode};
use crate::store::bands::BandStore;
use crate::store::index::Applied;
use crate::types::{ImageId, Standing};

use super::event_loop::EventLoop;
use super::network::Network;

mod answers;
mod beyond;
mod lookup;
mod payload;
mod publish;

pub(super) use beyond::Beyond;
pub(super) use publish::Told;

/// What the node's tasks share.
#[derive(Debug)]
pub(super) struct Bands {
    /// What is kept for all.
    store: Mutex<BandStore>,
}

impl Bands {
    pub(super) fn new(now: Instant) -> Self {
        Self { store: Mutex::new(BandStore::new(now)) }
    }

    fn store(&self) -> MutexGuard<'_, BandStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event loop's part: the plan, and who kept what when the last pass ended.
#[derive(Debug)]
pub(super) struct BandDesk {
    plan: BandPlan,
    placed: Option<Arc<Keepers>>,
    /// Duplicates are looked for, so what is near is asked too.
    seeks: bool,
}

impl BandDesk {
    pub(super) fn new(now: Instant, seed: u64, seeks: bool) -> Self {
        Self { plan: BandPlan::new(now, seed), placed: None, seeks }
    }

    pub(super) fn next_wakeup(&self) -> Option<Instant> {
        self.plan.next_wakeup()
    }
}

/// Who keeps what, as this node sees it now: trusted members that are there. Others would refuse,
/// and what they answered would not be believed; one that is away can be told nothing. So it needs
/// no exploration of the keyspace either, and begins with the first member.
fn keepers(net: &Network) -> Keepers {
    let live = net.live();
    let trusted = |standing: &Standing| *standing == Standing::Trusted;
    let there = live.iter().filter(|(_, standing)| trusted(standing)).map(|(peer, _)| *peer);
    Keepers::new(Keyspace::new(there), net.me())
}

/// Another set of parameters: nothing here can be compared with it.
fn check_scheme(scheme: u8) -> Result<(), Refusal> {
    if scheme == SCHEME {
        return Ok(());
    }
    Err(Refusal::new(RefusalCode::Invalid, format!("bands of scheme {scheme} are not known here")))
}

impl EventLoop {
    /// A member came or went.
    pub(super) fn bands_member(&mut self, peer: PeerId, up: bool) {
        use band_plan::Event;
        let event = if up { Event::Up(peer) } else { Event::Down(peer) };
        self.bands.plan.on_event(Instant::now(), event);
    }

    /// What this node holds has changed.
    pub(super) fn bands_applied(&mut self, applied: &Applied) {
        use band_plan::Event;
        let now = Instant::now();
        let shown = |(image, content): &(ImageId, _)| match image {
            ImageId::Hash(hash) => Some(Shown { hash: *hash, content: *content }),
            ImageId::Content(_) => None,
        };
        // Gone before come: what was recognised differently is in both.
        for gone in applied.removed.iter().filter_map(shown) {
            self.bands.plan.on_event(now, Event::Removed(gone));
        }
        for came in applied.added.iter().filter_map(shown) {
            self.bands.plan.on_event(now, Event::Added(came));
        }
    }

    /// Carries out what the plan wants done now.
    pub(super) fn act_on_bands(&mut self, now: Instant) {
        while let Some(action) = self.bands.plan.next_action(now) {
            let services = Arc::clone(&self.services);
            let before = self.bands.placed.clone();
            let keepers = Arc::new(keepers(&services.net));
            let seeks = self.bands.seeks;
            self.telling.spawn(async move {
                match action {
                    Action::Pass(pass) => services.tell_all_bands(before, keepers, pass, seeks).await,
                    Action::Fresh(fresh) => services.tell_fresh_bands(before, keepers, fresh, seeks).await,
                }
            });
        }
    }

    /// What was told has been, or not.
    pub(super) fn on_told(&mut self, told: Result<Told, tokio::task::JoinError>) {
        let Told { failed, ok, placed, found } = match told {
            Ok(told) => told,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "telling bands");
                Told::failed()
            }
        };
        if placed.is_some() {
            self.bands.placed = placed;
        }
        if found > 0 {
            self.look_soon();
        }
        if !failed.is_empty() {
            tracing::debug!(nodes = failed.len(), "did not take all bands");
        }
        self.bands.plan.on_event(Instant::now(), band_plan::Event::Ended { failed, ok });
    }
}

#[cfg(test)]
mod tests;
