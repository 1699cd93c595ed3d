//! Telling which bands of which own pictures others are to keep, and asking meanwhile what is
//! near to these pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt as _, stream};
use libp2p::PeerId;

use crate::dht_index::band_plan::{Pass, Shown, changes};
use crate::dht_index::bands::{Bands, Keepers, SCHEME};
use crate::limits::{
    BAND_PAGE, BAND_REPLICAS, BANDS_REST_TIMES, MAX_BAND_MESSAGES, MAX_BANDS_STORED, MAX_BUSY_RETRIES,
};
use crate::protocol::{BANDS_ENTRY_BYTES, BandsStored, PeerRequest, PeerResponse, StoreBands};
use crate::transfer::busy_pause;
use crate::wire::codec::Frame;

use super::super::network::AskError;
use super::super::serve::{Services, blocking};
use super::payload;

/// How telling ended.
#[derive(Debug, Default)]
pub(in crate::node) struct Told {
    /// Nodes that did not take all that is theirs.
    pub(super) failed: BTreeSet<PeerId>,
    /// All own pictures could be read.
    pub(super) ok: bool,
    /// After a pass: who keeps what now.
    pub(super) placed: Option<Arc<Keepers>>,
    /// Foreign pictures that are new here.
    pub(super) found: usize,
}

impl Told {
    /// Nothing was told.
    pub(super) fn failed() -> Self {
        Self::default()
    }
}

/// Messages to be sent: the payload for each node.
type Due = BTreeMap<PeerId, Vec<u8>>;

impl Services {
    /// Goes through all own pictures.
    pub(super) async fn tell_all_bands(
        self: Arc<Self>,
        before: Option<Arc<Keepers>>,
        now: Arc<Keepers>,
        pass: Pass,
        seeks: bool,
    ) -> Told {
        let mut told = Told::default();
        let (mut after, started, mut pictures) = (None, Instant::now(), 0);
        let pass = Arc::new(pass);
        while !self.net.is_stopped() {
            let began = Instant::now();
            let page = self.on_disk(move |index| index.own_hashed(after, BAND_PAGE)).await;
            let Ok(page) = page else { return told };
            let Some((hash, content)) = page.last().copied() else {
                tracing::debug!(pictures, all = pass.all, took = ?started.elapsed(), "told bands");
                return Told { ok: true, placed: Some(now), ..told };
            };
            after = Some((hash, content));
            pictures += page.len();
            let page: Vec<Shown> = page.into_iter().map(|(hash, content)| Shown { hash, content }).collect();
            let (old, new, of) = (before.clone(), Arc::clone(&now), Arc::clone(&pass));
            let shown = page.clone();
            let due = blocking(move || {
                let mut due = Due::new();
                for shown in &shown {
                    for (peer, bands) in changes(old.as_deref(), &new, &of, &shown.hash) {
                        payload::push_entry(due.entry(peer).or_default(), shown, bands);
                    }
                }
                due
            });
            let Ok(due) = due.await else { return told };
            self.send_all_bands(due, &mut told.failed).await;
            if pass.all && seeks {
                told.found += self.seek(&page).await;
            }
            if pass.all {
                // Nobody waits for it.
                tokio::time::sleep(began.elapsed() * BANDS_REST_TIMES).await;
            }
        }
        told
    }

    /// Tells of pictures that are new here (`true`) or gone.
    pub(super) async fn tell_fresh_bands(
        self: Arc<Self>,
        before: Option<Arc<Keepers>>,
        now: Arc<Keepers>,
        fresh: Vec<(Shown, bool)>,
        seeks: bool,
    ) -> Told {
        let here: Vec<Shown> = fresh.iter().filter(|(_, here)| *here).map(|(shown, _)| *shown).collect();
        let due = blocking(move || {
            let mut due = Due::new();
            for (shown, here) in fresh {
                let mut all = now.assign(&shown.hash, BAND_REPLICAS);
                // Those of the last pass too: the next one reckons from there what has changed.
                for (peer, bands) in
                    before.iter().flat_map(|before| before.assign(&shown.hash, BAND_REPLICAS))
                {
                    let known = all.entry(peer).or_default();
                    *known = known.with(bands);
                }
                for (peer, bands) in all {
                    let bands = if here { bands } else { Bands::default() };
                    payload::push_entry(due.entry(peer).or_default(), &shown, bands);
                }
            }
            due
        });
        let Ok(due) = due.await else { return Told::failed() };
        let mut told = Told { ok: true, ..Told::default() };
        self.send_all_bands(due, &mut told.failed).await;
        if seeks && !here.is_empty() {
            told.found = self.seek(&here).await;
        }
        told
    }

    /// Sends, one message at a time to each node, to a few nodes at once. Who failed before is
    /// sent nothing more.
    async fn send_all_bands(self: &Arc<Self>, due: Due, failed: &mut BTreeSet<PeerId>) {
        let (me, live) = (self.net.me(), self.net.live());
        // One that has gone is not tried: when it comes back it is told everything.
        let there = |peer: &PeerId| *peer == me || (live.contains_key(peer) && !failed.contains(peer));
        let due: Vec<(PeerId, Vec<u8>)> = due.into_iter().filter(|(peer, _)| there(peer)).collect();
        let sent = stream::iter(due).map(|(peer, payload)| async move {
            for payload in payload.chunks(MAX_BANDS_STORED * BANDS_ENTRY_BYTES) {
                if let Err(error) = self.tell_bands(peer, payload).await {
                    tracing::debug!(%peer, %error, "telling bands");
                    return Some(peer);
                }
            }
            None
        });
        let mut sent = sent.buffer_unordered(MAX_BAND_MESSAGES);
        while let Some(ended) = sent.next().await {
            failed.extend(ended);
        }
    }

    async fn tell_bands(self: &Arc<Self>, peer: PeerId, payload: &[u8]) -> Result<(), AskError> {
        let count = (payload.len() / BANDS_ENTRY_BYTES) as u32;
        let stored = if peer == self.net.me() {
            let (services, payload) = (Arc::clone(self), payload.to_vec());
            let kept = blocking(move || services.bands.keep(peer, count, &payload)).await;
            kept.and_then(|kept| kept).map_err(AskError::Refused)?
        } else {
            self.send_bands(peer, count, payload).await?
        };
        if stored.refused > 0 || stored.hot > 0 {
            tracing::debug!(%peer, refused = stored.refused, hot = stored.hot, "bands that are not kept");
        }
        Ok(())
    }

    async fn send_bands(&self, peer: PeerId, count: u32, payload: &[u8]) -> Result<BandsStored, AskError> {
        let mut attempt = 0;
        loop {
            let request = PeerRequest::StoreBands(StoreBands { scheme: SCHEME, count });
            match self.net.ask_frame(peer, Frame::new(request, payload.to_vec())).await {
                Ok(Frame { header: PeerResponse::BandsStored(stored), .. }) => return Ok(stored),
                Ok(_) => return Err(AskError::Nonsense),
                Err(AskError::Busy) if attempt < MAX_BUSY_RETRIES => {
                    attempt += 1;
                    tokio::time::sleep(busy_pause(attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
