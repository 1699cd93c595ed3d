//! Asking what is near.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use libp2p::PeerId;

use crate::dht_index::band_plan::Shown;
use crate::dht_index::bands::{BANDS, Bands, Keepers, SCHEME, bits};
use crate::dht_index::keys::band_key_bytes;
use crate::limits::{BAND_REPLICAS, BANDS_ASKED_OF, BANDS_DEADLINE, MAX_BAND_MESSAGES, MAX_BANDS_ASKED};
use crate::picture::distance;
use crate::protocol::{AskBands, BandsFound, PeerRequest, PeerResponse};
use crate::types::ContentId;
use crate::wire::codec::Frame;

use super::super::network::AskError;
use super::super::serve::{Services, blocking};
use super::payload;

/// A picture near the one that was asked about, as others say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Near {
    /// Which.
    pub(in crate::node) content: ContentId,
    /// Its hash.
    pub(in crate::node) hash: [u8; 32],
    /// Bits between the two.
    pub(in crate::node) distance: u32,
    /// Who says that it holds it; up to three, this node among them when it does.
    pub(in crate::node) holders: Vec<PeerId>,
}

/// What bands told of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::node) struct NearAnswer {
    /// The nearest first.
    pub(in crate::node) found: Vec<Near>,
    /// Candidates that were compared, at all nodes that were asked together.
    pub(in crate::node) asked: usize,
    /// Bands too full to be complete: what is near may be missing.
    pub(in crate::node) hot: usize,
    /// Answers that left something out for their length, and nodes that did not answer.
    pub(in crate::node) missing: usize,
}

/// What bands told of several.
#[derive(Debug, Default)]
pub(in crate::node) struct ManyNear {
    /// One for each that was asked about.
    pub(in crate::node) found: Vec<Vec<Near>>,
    /// See [`NearAnswer`].
    pub(in crate::node) asked: usize,
    /// See [`NearAnswer`].
    pub(in crate::node) hot: usize,
    /// See [`NearAnswer`].
    pub(in crate::node) missing: usize,
}

/// Questions for one node: number of the hash, and the bands to look into.
type Questions = BTreeMap<usize, Bands>;

/// Found for each hash: contents with their hash and holders.
type Found = Vec<BTreeMap<Shown, BTreeSet<PeerId>>>;

impl Services {
    /// What is within `most` bits of `hash` anywhere in the swarm, by what the nodes that keep its
    /// bands say. Claims, good for choosing whom to ask. Complete up to 15 bits, and nearly so
    /// beyond, when nothing is hot or missing.
    pub(in crate::node) async fn near_through_bands(
        self: &Arc<Self>,
        hash: [u8; 32],
        most: u32,
    ) -> NearAnswer {
        let ManyNear { mut found, asked, hot, missing } = self.many_near_through_bands(&[hash], most).await;
        NearAnswer { found: found.pop().unwrap_or_default(), asked, hot, missing }
    }

    /// The same for many.
    pub(in crate::node) async fn many_near_through_bands(
        self: &Arc<Self>,
        hashes: &[[u8; 32]],
        most: u32,
    ) -> ManyNear {
        let keepers = super::keepers(&self.net);
        let mut answer = ManyNear { found: vec![Vec::new(); hashes.len()], ..ManyNear::default() };
        let mut found: Found = vec![BTreeMap::new(); hashes.len()];
        let (mut asked, mut failed) = (BTreeMap::<PeerId, Questions>::new(), HashSet::new());
        // The second time those that others keep the same as the ones that were silent.
        for _ in 0..2 {
            let due = due(&keepers, hashes, &asked, &failed);
            let silent = self.ask_round(hashes, most, &due, &mut found, &mut answer).await;
            for (peer, questions) in due {
                let known = asked.entry(peer).or_default();
                for (number, bands) in questions {
                    let all = known.entry(number).or_default();
                    *all = all.with(bands);
                }
            }
            if silent.is_empty() {
                break;
            }
            answer.missing += silent.len();
            failed.extend(silent);
        }
        for ((near, hash), found) in answer.found.iter_mut().zip(hashes).zip(found) {
            *near = found
                .into_iter()
                .map(|(Shown { hash: other, content }, holders)| Near {
                    content,
                    hash: other,
                    distance: distance(hash, &other),
                    holders: holders.into_iter().collect(),
                })
                .collect();
            near.sort_by_key(|near| (near.distance, near.content));
        }
        answer
    }

    /// Asks, several nodes at once. Returns those that did not answer.
    async fn ask_round(
        self: &Arc<Self>,
        hashes: &[[u8; 32]],
        most: u32,
        due: &BTreeMap<PeerId, Questions>,
        found: &mut Found,
        answer: &mut ManyNear,
    ) -> Vec<PeerId> {
        let mut batches: Vec<(PeerId, Vec<(usize, Bands)>)> = Vec::new();
        for (peer, questions) in due {
            let all: Vec<(usize, Bands)> =
                questions.iter().map(|(number, bands)| (*number, *bands)).collect();
            batches.extend(all.chunks(MAX_BANDS_ASKED).map(|some| (*peer, some.to_vec())));
        }
        let answers = stream::iter(batches).map(|(peer, questions)| async move {
            let told = self.ask_one(peer, hashes, most, &questions).await;
            (peer, questions, told)
        });
        let mut answers = answers.buffer_unordered(MAX_BAND_MESSAGES);
        let mut silent = Vec::new();
        while let Some((peer, questions, told)) = answers.next().await {
            let (told, near) = match told {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(%peer, %error, "asked what is near");
                    silent.push(peer);
                    continue;
                }
            };
            answer.asked = answer.asked.saturating_add(usize::try_from(told.looked).unwrap_or(usize::MAX));
            answer.hot += told.hot as usize;
            answer.missing += told.cut as usize;
            for (question, near) in near {
                let number = questions.get(usize::from(question)).map(|(number, _)| *number);
                let at = number.and_then(|number| Some((hashes.get(number)?, found.get_mut(number)?)));
                let Some((hash, found)) = at else { continue };
                // Its word is not needed for what can be computed.
                if distance(hash, &near.shown.hash) <= most {
                    found.entry(near.shown).or_default().extend(near.holders);
                }
            }
        }
        silent
    }

    async fn ask_one(
        self: &Arc<Self>,
        peer: PeerId,
        hashes: &[[u8; 32]],
        most: u32,
        questions: &[(usize, Bands)],
    ) -> Result<(BandsFound, Vec<(u16, crate::store::bands::Near)>), AskError> {
        let mut payload = Vec::new();
        for (number, bands) in questions {
            let hash = hashes.get(*number).ok_or(AskError::Nonsense)?;
            payload::push_question(&mut payload, hash, *bands);
        }
        let ask = AskBands { scheme: SCHEME, count: questions.len() as u32, most };
        let answer = if peer == self.net.me() {
            let services = Arc::clone(self);
            let answer = blocking(move || services.bands.answer(&ask, &payload)).await;
            answer.and_then(|answer| answer).map_err(AskError::Refused)?
        } else {
            let request = Frame::new(PeerRequest::AskBands(ask), payload);
            let asked = tokio::time::timeout(BANDS_DEADLINE, self.net.ask_frame(peer, request)).await;
            asked.map_err(|_| AskError::Unreachable("it did not answer in time".to_owned()))??
        };
        let Frame { header: PeerResponse::BandsFound(told), payload } = answer else {
            return Err(AskError::Nonsense);
        };
        let near = payload::found(&payload, told.count, &told.holders).ok_or(AskError::Nonsense)?;
        Ok((told, near))
    }
}

/// Whom to ask what: for each band the [`BANDS_ASKED_OF`] closest of its keepers that have not
/// failed, less what they were asked already.
pub(super) fn due(
    keepers: &Keepers,
    hashes: &[[u8; 32]],
    asked: &BTreeMap<PeerId, Questions>,
    failed: &HashSet<PeerId>,
) -> BTreeMap<PeerId, Questions> {
    let mut due: BTreeMap<PeerId, Questions> = BTreeMap::new();
    for (number, hash) in hashes.iter().enumerate() {
        for band in 0..BANDS {
            let closest = keepers.closest(&band_key_bytes(band, bits(hash, band)), BAND_REPLICAS);
            for peer in closest.into_iter().filter(|peer| !failed.contains(peer)).take(BANDS_ASKED_OF) {
                let before =
                    asked.get(&peer).and_then(|asked| asked.get(&number)).copied().unwrap_or_default();
                if !before.has(band) {
                    let bands = due.entry(peer).or_default().entry(number).or_default();
                    *bands = bands.with(Bands::one(band));
                }
            }
        }
    }
    due
}
