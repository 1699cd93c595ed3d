//! Leases over the wire: asking for them, with the check of the proof, and granting them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use serde_bytes::ByteBuf;

use super::super::network::AskError;
use super::super::serve::{Served, Services, blocking, frame, refuse_stranger};
use super::desk::LeaseDecision;
use super::job::{Job, Kept};
use crate::limits::MAX_TRASH_PROOFS;
use crate::picture::PixelPlanes;
use crate::picture::Signature;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::picture::witness::Witness;
use crate::protocol::{Denial, PeerRequest, PeerResponse, Refusal, RefusalCode, WitnessFacts};
use crate::replication::drop::{Answer, AskId, Request, View};
use crate::replication::lease::proof_key;
use crate::store::files;
use crate::store::trash::Proof;
use crate::types::{ContentId, Standing};
use crate::wire::codec::Frame;

/// What a lease request says, as it came.
pub(in crate::node) struct Asked {
    pub(in crate::node) content: ContentId,
    pub(in crate::node) subject: ContentId,
    pub(in crate::node) keeps: bool,
    pub(in crate::node) nonce: ByteBuf,
    pub(in crate::node) witnesses: Vec<WitnessFacts>,
    pub(in crate::node) payload: Vec<u8>,
}

impl Services {
    /// See [`crate::replication::drop::Action::Ask`].
    pub(super) async fn ask_for_lease(self: &Arc<Self>, job: &Arc<Job>, to: PeerId, keeps: bool) -> Answer {
        let answer = if to == self.net.me() {
            self.lease_of_own_copy(job).await
        } else {
            self.lease_of_other(job, to, keeps).await
        };
        answer.unwrap_or_else(|reason| {
            tracing::debug!(holder = %to, keeper = %job.plan.keeper, reason, "no lease");
            Answer::Denied
        })
    }

    /// The own copy counts when it is read again now, like anybody's.
    async fn lease_of_own_copy(self: &Arc<Self>, job: &Arc<Job>) -> Result<Answer, String> {
        let ledger = self.drops.ledger.clone().ok_or("there is no ledger")?;
        let (attempt, file, witnesses) = {
            let state = job.state();
            let Some(Kept::Own { file, .. }) = &state.keeper else {
                return Err("there is no own copy".to_owned());
            };
            (state.attempt, file.clone(), state.witnesses.clone())
        };
        let keeper = job.plan.keeper;
        let checked = blocking(move || {
            ledger.add_witnesses(keeper, &witnesses, SystemTime::now()).map_err(|e| e.to_string())?;
            files::prove(&file, &[0; 32]).map_err(|e| e.to_string())
        });
        let (found, _) = checked.await.map_err(|e| e.message)??;
        if found == keeper {
            note_proof(job, attempt, self.net.me(), found.0.to_vec());
        }
        Ok(Answer::Granted { proof_matches: found == keeper })
    }

    async fn lease_of_other(
        self: &Arc<Self>,
        job: &Arc<Job>,
        to: PeerId,
        keeps: bool,
    ) -> Result<Answer, String> {
        let mut nonce = [0; 32];
        fill_random(&mut nonce).map_err(|e| format!("no random numbers: {e}"))?;
        let (attempt, request) = {
            let state = job.state();
            // The holder has them from the request before, and says so if not.
            let payload = if state.recorded.contains(&to) { Vec::new() } else { pack(&state.witnesses) };
            let header = PeerRequest::Lease {
                content: job.plan.keeper,
                subject: job.plan.subject,
                keeps,
                nonce: ByteBuf::from(nonce),
                witnesses: state.witnesses.iter().map(facts_of).collect(),
            };
            (state.attempt, Frame { header, payload })
        };
        let answer = self.net.ask_frame(to, request).await;
        let proof = match answer {
            Ok(Frame { header: PeerResponse::Leased { proof }, .. }) => proof,
            Ok(Frame { header: PeerResponse::Denied { why }, .. }) => {
                job.state().recorded.remove(&to);
                return Err(format!("{why:?}"));
            }
            Ok(_) => return Err(AskError::Nonsense.to_string()),
            Err(error) => return Err(error.to_string()),
        };
        let file = job.keeper_file().ok_or("the keeper's bytes are gone")?;
        let key = proof_key(&to, &self.net.me(), &nonce);
        let read = blocking(move || files::prove(&file, &key)).await.map_err(|e| e.message)?;
        let (found, expected) = read.map_err(|e| e.to_string())?;
        let proof_matches = found == job.plan.keeper && *proof == expected;
        if proof_matches {
            note_proof(job, attempt, to, [&nonce[..], &expected].concat());
        } else {
            tracing::warn!(holder = %to, keeper = %job.plan.keeper, "its proof is wrong");
        }
        Ok(Answer::Granted { proof_matches })
    }

    /// Answers a request for a lease. The event loop's planner decides; the promise is worth
    /// something only when the witnesses are recorded and the bytes were read.
    pub(in crate::node) async fn serve_lease(
        self: &Arc<Self>,
        peer: PeerId,
        asked: Asked,
    ) -> Served<PeerResponse> {
        let denied = |why| Ok(frame(PeerResponse::Denied { why }));
        if self.net.live().get(&peer) != Some(&Standing::Trusted) {
            return denied(Denial::NotTrusted);
        }
        let Some(ledger) = self.drops.ledger.clone() else { return denied(Denial::NotTrusted) };
        let (request, file, witnesses) = {
            let services = Arc::clone(self);
            let key = proof_key(&self.net.me(), &peer, &asked.nonce);
            // Witnesses are computed anew from their pixels, which is work.
            let facts = blocking(move || {
                let told = told_witnesses(&asked);
                services.request_of(peer, &asked).map(|(request, file)| (request, file, told))
            });
            let (request, file, told) = facts.await?.map_err(|e| Refusal::new(RefusalCode::Unreadable, e))?;
            (request, file.map(|file| (file, key)), told)
        };
        let Some(witnesses) = witnesses else {
            return Err(Refusal::new(RefusalCode::Invalid, "the witnesses make no sense"));
        };
        let content = request.content;
        match self.net.judge_lease(request).await {
            LeaseDecision::Granted => {}
            LeaseDecision::Denied(why) => return denied(why),
        }
        let Some((file, key)) = file else { return denied(Denial::NotHeld) };
        let proved = blocking(move || {
            let carried = match &witnesses {
                Some(witnesses) => ledger.add_witnesses(content, witnesses, SystemTime::now()).map(drop),
                None => Ok(()),
            };
            carried.map_err(|e| e.to_string())?;
            files::prove(&file, &key).map_err(|e| e.to_string())
        });
        match proved.await? {
            Ok((found, proof)) if found == content => {
                Ok(frame(PeerResponse::Leased { proof: ByteBuf::from(proof) }))
            }
            Ok(_) => denied(Denial::NotHeld),
            Err(error) => {
                tracing::warn!(%content, error, "a lease could not be kept");
                denied(Denial::NotHeld)
            }
        }
    }

    /// What this node knows about a request, and the file that it would read.
    fn request_of(
        &self,
        asker: PeerId,
        asked: &Asked,
    ) -> Result<(Request, Option<std::path::PathBuf>), String> {
        let ledger = self.drops.ledger.as_deref().ok_or("there is no ledger")?;
        let content = asked.content;
        let record = self.index.content(&content).map_err(|e| e.to_string())?;
        let file = record.as_ref().map(|record| match record.paths.first() {
            Some(path) => path.in_folder(&self.folder),
            None => self.replicas.path(&content),
        });
        let carried = ledger.witness_ids(content).map_err(|e| e.to_string())?;
        let told: std::collections::BTreeSet<ContentId> = asked.witnesses.iter().map(|w| w.content).collect();
        // Left out because they were sent before: then they have to be here.
        let recorded = !asked.payload.is_empty() || told.is_subset(&carried);
        let after = carried
            .iter()
            .chain(told.iter().filter(|w| **w != content))
            .collect::<std::collections::BTreeSet<_>>();
        let witnesses_after = after.len();
        let copies = self.index.copies(&content, &self.net.standing()).map_err(|e| e.to_string())?;
        let asker_folder = copies.holders.iter().find(|(peer, _)| *peer == asker).map(|(_, folder)| *folder);
        let folders: std::collections::BTreeSet<_> =
            copies.holders.iter().map(|(_, folder)| *folder).filter(|f| Some(*f) != asker_folder).collect();
        let request = Request {
            asker,
            ask: AskId(0),
            content,
            subject: asked.subject,
            asker_keeps: asked.keeps,
            witnesses: told,
            witnesses_after,
            held: record.is_some() && recorded,
            view: View { without_asker: u16::try_from(folders.len()).unwrap_or(u16::MAX), copies: 0 },
            asker_rank: crate::replication::rank(asked.subject, &asker),
        };
        Ok((request, file))
    }

    /// Answers what has gone for a content.
    pub(in crate::node) async fn serve_witnesses(
        self: &Arc<Self>,
        peer: PeerId,
        content: ContentId,
    ) -> Served<PeerResponse> {
        refuse_stranger(self, peer)?;
        let Some(ledger) = self.drops.ledger.clone() else {
            return Err(Refusal::new(RefusalCode::Unreadable, "this node has no ledger"));
        };
        let witnesses = blocking(move || ledger.witnesses(content)).await?;
        let witnesses = witnesses.map_err(|e| Refusal::new(RefusalCode::Unreadable, e.to_string()))?;
        let header = PeerResponse::Witnesses(witnesses.iter().map(facts_of).collect());
        Ok(Frame { header, payload: pack(&witnesses) })
    }
}

/// The witnesses of a request: `Some(None)` when they were sent before. `None`: nonsense.
#[allow(clippy::option_option)]
fn told_witnesses(asked: &Asked) -> Option<Option<Vec<Witness>>> {
    if asked.payload.is_empty() && !asked.witnesses.is_empty() {
        return Some(None);
    }
    unpack(&asked.witnesses, &asked.payload).map(Some)
}

/// Writes down that a holder proved the keeper, unless the attempt that asked it is over.
fn note_proof(job: &Job, attempt: u64, holder: PeerId, data: Vec<u8>) {
    let mut state = job.state();
    if state.attempt != attempt {
        return;
    }
    state.recorded.insert(holder);
    state.holders.insert(holder);
    if state.proofs.len() < MAX_TRASH_PROOFS {
        let about = format!("{holder}, {} s after 1970", seconds(SystemTime::now()));
        state.proofs.push(Proof { about, data });
    }
}

fn facts_of(witness: &Witness) -> WitnessFacts {
    WitnessFacts {
        content: witness.content,
        facts: witness.facts.clone(),
        fidelity: witness.encoding.fidelity.0,
        metadata: witness.encoding.metadata.0,
    }
}

fn pack(witnesses: &[Witness]) -> Vec<u8> {
    witnesses.iter().flat_map(Witness::pixels).collect()
}

/// Witnesses as they came; `None` when the payload is not theirs, or one is not what its
/// pixels say.
pub(super) fn unpack(facts: &[WitnessFacts], payload: &[u8]) -> Option<Vec<Witness>> {
    if payload.len() != facts.len() * Witness::PIXELS {
        return None;
    }
    let one = |(facts, pixels): (&WitnessFacts, &[u8])| {
        let (signature, planes) = pixels.split_first_chunk::<{ Signature::LEN }>()?;
        let witness = Witness {
            content: facts.content,
            facts: facts.facts.clone(),
            encoding: Encoding { fidelity: Fidelity(facts.fidelity), metadata: Metadata(facts.metadata) },
            signature: Signature::from_array(*signature),
            planes: PixelPlanes::from_bytes(planes)?,
        };
        witness.is_sound().then_some(witness)
    };
    facts.iter().zip(payload.chunks_exact(Witness::PIXELS)).map(one).collect()
}

pub(in crate::node) fn fill_random(bytes: &mut [u8; 32]) -> std::io::Result<()> {
    let got = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    if got == bytes.len() { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
