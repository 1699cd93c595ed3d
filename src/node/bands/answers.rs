//! What this node keeps for others, and what it answers.

use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use crate::limits::{MAX_BAND_STEPS, MAX_NEAR, MAX_NEAR_TOLD};
use crate::protocol::{AskBands, BandsFound, BandsStored, PeerResponse, Refusal, RefusalCode, StoreBands};
use crate::store::bands::{Search, Stored};
use crate::wire::codec::Frame;

use super::super::serve::{Served, Services, blocking, frame, refuse_stranger};
use super::payload::{self, Telling};
use super::{Bands, check_scheme};

/// Entries put in, and questions answered, before others have their turn with the store.
const AT_ONCE: usize = 64;

impl Services {
    /// Keeps what `peer` says of its own pictures.
    pub(in crate::node) async fn serve_store_bands(
        self: &Arc<Self>,
        peer: PeerId,
        store: StoreBands,
        payload: Vec<u8>,
    ) -> Served<PeerResponse> {
        refuse_stranger(self, peer)?;
        check_scheme(store.scheme)?;
        let services = Arc::clone(self);
        let stored = blocking(move || services.bands.keep(peer, store.count, &payload)).await??;
        Ok(frame(PeerResponse::BandsStored(stored)))
    }

    /// Answers what is near.
    pub(in crate::node) async fn serve_ask_bands(
        self: &Arc<Self>,
        peer: PeerId,
        ask: AskBands,
        payload: Vec<u8>,
    ) -> Served<PeerResponse> {
        refuse_stranger(self, peer)?;
        check_scheme(ask.scheme)?;
        let services = Arc::clone(self);
        blocking(move || services.bands.answer(&ask, &payload)).await?
    }
}

fn malformed() -> Refusal {
    Refusal::new(RefusalCode::Invalid, "the payload is not what the message announces")
}

impl Bands {
    pub(super) fn keep(&self, sender: PeerId, count: u32, payload: &[u8]) -> Result<BandsStored, Refusal> {
        let now = Instant::now();
        let mut told = BandsStored::default();
        let mut entries = payload::entries(payload, count).ok_or_else(malformed)?.peekable();
        while entries.peek().is_some() {
            let mut store = self.store();
            for (shown, bands) in entries.by_ref().take(AT_ONCE) {
                match store.store(now, &sender, shown, bands) {
                    Stored::Kept { hot } => {
                        told.stored += 1;
                        told.hot += hot;
                    }
                    Stored::Refused => told.refused += 1,
                }
            }
        }
        Ok(told)
    }

    pub(super) fn answer(&self, ask: &AskBands, payload: &[u8]) -> Served<PeerResponse> {
        let now = Instant::now();
        let questions = payload::questions(payload, ask.count).ok_or_else(malformed)?;
        let mut told = BandsFound { count: 0, holders: Vec::new(), looked: 0, hot: 0, cut: 0 };
        let mut telling = Telling::default();
        let mut steps = MAX_BAND_STEPS;
        for (questions, number) in questions.chunks(AT_ONCE).zip(0_usize..) {
            let store = self.store();
            for ((hash, bands), at) in questions.iter().zip(number * AT_ONCE..) {
                let room = MAX_NEAR.min(MAX_NEAR_TOLD - telling.count as usize);
                let Search { near, looked, hot, cut } =
                    store.near(now, hash, *bands, ask.most, (room, steps));
                steps = steps.saturating_sub(looked);
                told.looked += looked as u64;
                told.hot += hot;
                told.cut += u32::from(cut);
                for near in &near {
                    telling.push(at as u16, near);
                }
            }
        }
        let Telling { holders, payload, count, .. } = telling;
        let told = BandsFound { count, holders, ..told };
        Ok(Frame::new(PeerResponse::BandsFound(told), payload))
    }

    /// Removes what has expired.
    pub(in crate::node) fn sweep(&self, now: Instant, steps: usize) {
        self.store().sweep(now, steps);
    }
}
