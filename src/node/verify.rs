//! Having every holder of a content prove that it still has the bytes, all of them.
//!
//! A holder reads its copies again and answers with their BLAKE3 under a key of its own (as for a
//! lease). What the answer has to be, this node computes from bytes that are verified chunk by chunk,
//! its own or a holder's: so that nobody has to be believed, and nothing is kept.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use serde_bytes::ByteBuf;

use super::drops::fill_random;
use super::locate::Candidate;
use super::network::AskError;
use super::serve::{Served, Services, blocking, frame};
use crate::limits::{CHUNK_WINDOW, MAX_MEMBERS, MAX_PROVED_FILES, PROVE_DEADLINE};
use crate::protocol::{HolderProof, PeerRequest, PeerResponse, ProofState, Refusal, RefusalCode};
use crate::replication::lease::proof_key;
use crate::store::files;
use crate::types::{ContentId, ImageId, RelPath, Standing};
use crate::wire::codec::Frame;

/// What reading all own copies of a content gave.
#[derive(Debug, Default)]
struct Proved {
    proof: Option<[u8; 32]>,
    damaged: u32,
    suspects: Vec<RelPath>,
    bad_replica: bool,
}

/// A holder that is asked, and the key of its proof.
struct Question {
    candidate: Candidate,
    nonce: [u8; 32],
    key: [u8; 32],
}

impl Services {
    /// Answers another node.
    pub(super) async fn serve_proof(
        self: &Arc<Self>,
        peer: PeerId,
        content: ContentId,
        nonce: &[u8],
    ) -> Served<PeerResponse> {
        let key = proof_key(&self.net.me(), &peer, nonce);
        let Some(Proved { proof, damaged, .. }) = self.prove_own(content, key).await? else {
            let message = format!("this node does not hold c:{content}");
            return Err(Refusal::new(RefusalCode::NotFound, message));
        };
        Ok(frame(PeerResponse::Proved { proof: proof.map(ByteBuf::from), damaged }))
    }

    /// Reads all own copies, and has those that are not right looked at. `None`: there are none.
    async fn prove_own(
        self: &Arc<Self>,
        content: ContentId,
        key: [u8; 32],
    ) -> Result<Option<Proved>, Refusal> {
        let Some(record) = self.on_disk(move |index| index.content(&content)).await? else {
            return Ok(None);
        };
        let paths = record.paths.into_iter().take(MAX_PROVED_FILES);
        let mut copies: Vec<(PathBuf, Option<RelPath>)> =
            paths.map(|path| (path.in_folder(&self.folder), Some(path))).collect();
        copies.extend(record.replica.then(|| (self.replicas.path(&content), None)));
        let proved = blocking(move || {
            let mut proved = Proved::default();
            for (file, path) in copies {
                match files::prove(&file, &key) {
                    Ok((found, proof)) if found == content => proved.proof = Some(proof),
                    Ok(_) | Err(_) => {
                        proved.damaged += 1;
                        proved.bad_replica |= path.is_none();
                        proved.suspects.extend(path);
                    }
                }
            }
            proved
        });
        let mut proved = proved.await?;
        if proved.bad_replica {
            self.recheck(content);
        }
        let suspects = std::mem::take(&mut proved.suspects);
        if !suspects.is_empty() {
            self.net.look_again(suspects).await;
        }
        Ok(Some(proved))
    }

    /// Asks every holder, this node included.
    pub(super) async fn verify(self: &Arc<Self>, image: ImageId, content: ContentId) -> Vec<HolderProof> {
        let live = self.net.live();
        let (here, away): (Vec<_>, Vec<_>) = self
            .may_hold(image, content)
            .await
            .into_iter()
            // What others hold is no copy.
            .filter(|c| !matches!(live.get(&c.peer), Some(standing) if *standing != Standing::Trusted))
            .take(MAX_MEMBERS - 1)
            .partition(|c| live.contains_key(&c.peer));
        let questions: Vec<Question> = here.into_iter().filter_map(|c| self.question(c)).collect();
        let own = self.prove_own(content, [0; 32]);
        let asked = async {
            let answers = questions.iter().map(|question| async move {
                let nonce = ByteBuf::from(question.nonce);
                (question, self.net.ask(question.candidate.peer, PeerRequest::Prove { content, nonce }).await)
            });
            answers.collect::<FuturesUnordered<_>>().collect::<Vec<_>>().await
        };
        let expected = async {
            let expected = self.expected(content, &questions);
            tokio::time::timeout(PROVE_DEADLINE, expected).await.ok().and_then(Result::ok)
        };
        let (own, answers, expected) = tokio::join!(own, asked, expected);
        let mut holders: Vec<HolderProof> = answers
            .into_iter()
            .filter_map(|(question, answer)| {
                let at = questions.iter().position(|q| q.candidate.peer == question.candidate.peer)?;
                let expected = expected.as_ref().and_then(|expected| expected.get(at));
                judge(question.candidate, answer, expected)
            })
            .collect();
        // One that only an old record of the DHT names is no holder.
        let away = away.into_iter().filter(|candidate| candidate.via_catalog);
        holders.extend(away.map(|candidate| HolderProof {
            peer: candidate.peer,
            state: ProofState::Silent,
            note: "it is not connected".to_owned(),
        }));
        holders.sort_by_key(|holder| holder.peer);
        if let Some(own) = own.transpose() {
            holders.insert(0, self.judge_own(own));
        }
        holders
    }

    /// The other nodes that catalogs name, live or not. The DHT is asked only when none does, this
    /// node's own included: a lookup costs time, and names no node that would be trusted more.
    async fn may_hold(&self, image: ImageId, content: ContentId) -> Vec<Candidate> {
        let known = self.on_disk(move |index| index.holders(&content)).await.unwrap_or_default();
        if known.is_empty() {
            return self.candidates(image, content).await;
        }
        let others = known.into_iter().map(|(peer, _)| peer).filter(|peer| *peer != self.net.me());
        others.map(|peer| Candidate { peer, via_dht: false, via_catalog: true }).collect()
    }

    fn question(&self, candidate: Candidate) -> Option<Question> {
        let mut nonce = [0; 32];
        match fill_random(&mut nonce) {
            Ok(()) => {
                Some(Question { candidate, nonce, key: proof_key(&candidate.peer, &self.net.me(), &nonce) })
            }
            Err(error) => {
                tracing::error!(%error, "no random numbers");
                None
            }
        }
    }

    fn judge_own(&self, own: Result<Proved, Refusal>) -> HolderProof {
        let (state, note) = match own {
            Ok(Proved { proof: Some(_), damaged: 0, .. }) => (ProofState::Good, String::new()),
            Ok(Proved { damaged, .. }) => (ProofState::Damaged, damaged_note(damaged)),
            Err(refusal) => (ProofState::Silent, refusal.message),
        };
        HolderProof { peer: self.net.me(), state, note }
    }

    /// What the proofs have to be, computed from verified chunks.
    async fn expected(
        self: &Arc<Self>,
        content: ContentId,
        questions: &[Question],
    ) -> Result<Vec<[u8; 32]>, String> {
        let mut hashers: Vec<_> = questions.iter().map(|q| blake3::Hasher::new_keyed(&q.key)).collect();
        if hashers.is_empty() {
            return Ok(Vec::new());
        }
        let others: Vec<PeerId> = questions.iter().map(|q| q.candidate.peer).collect();
        let (outline, others) = match self.own_outline(content).await.map_err(|e| e.message)? {
            Some(outline) => (outline, others),
            None => self.outline_among(content, &others).await?,
        };
        let (outline, others) = (&outline, &Mutex::new(others));
        let chunks = futures::stream::iter(0..outline.chunks()).map(|index| async move {
            match self.own_chunks(content, index.into()).await {
                Ok(Some(data)) => Ok(data),
                Ok(None) | Err(_) => self.chunks_among(outline, others, index.into()).await,
            }
        });
        let mut chunks = std::pin::pin!(chunks.buffered(CHUNK_WINDOW));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            for hasher in &mut hashers {
                hasher.update(&chunk);
            }
        }
        Ok(hashers.iter().map(|hasher| *hasher.finalize().as_bytes()).collect())
    }
}

/// `None`: only an old record names it, and it says that it is none.
fn judge(
    candidate: Candidate,
    answer: Result<Frame<PeerResponse>, AskError>,
    expected: Option<&[u8; 32]>,
) -> Option<HolderProof> {
    let (state, note) = match answer.map(|frame| frame.header) {
        Ok(PeerResponse::Proved { proof: None, damaged }) => (ProofState::Damaged, damaged_note(damaged)),
        Ok(PeerResponse::Proved { proof: Some(_), damaged }) if damaged > 0 => {
            (ProofState::Damaged, damaged_note(damaged))
        }
        Ok(PeerResponse::Proved { proof: Some(proof), .. }) => match expected {
            Some(expected) if *proof == *expected => (ProofState::Good, String::new()),
            Some(_) => (ProofState::Damaged, "its proof is wrong".to_owned()),
            None => {
                (ProofState::Unchecked, "its proof could not be checked: the bytes are not here".to_owned())
            }
        },
        Ok(_) => (ProofState::Silent, AskError::Nonsense.to_string()),
        Err(AskError::Refused(refusal))
            if refusal.code == RefusalCode::NotFound && !candidate.via_catalog =>
        {
            return None;
        }
        Err(error) => (ProofState::Silent, error.to_string()),
    };
    // Cut like every text in a message.
    let note = Refusal::new(RefusalCode::Unreadable, note).message;
    Some(HolderProof { peer: candidate.peer, state, note })
}

fn damaged_note(damaged: u32) -> String {
    match damaged {
        0 => "no copy".to_owned(),
        1 => "a copy has other bytes, or can't be read".to_owned(),
        more => format!("{more} copies have other bytes, or can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_proof_is_good() {
        let peer = PeerId::random();
        let candidate = |via_catalog| Candidate { peer, via_dht: true, via_catalog };
        let proved = |proof: Option<[u8; 32]>, damaged| {
            Ok(frame(PeerResponse::Proved { proof: proof.map(ByteBuf::from), damaged }))
        };
        let state = |answer, expected: Option<[u8; 32]>| {
            judge(candidate(true), answer, expected.as_ref()).map(|holder| holder.state)
        };
        assert_eq!(state(proved(Some([1; 32]), 0), Some([1; 32])), Some(ProofState::Good));
        assert_eq!(state(proved(Some([1; 32]), 0), Some([2; 32])), Some(ProofState::Damaged));
        assert_eq!(state(proved(Some([1; 32]), 1), Some([1; 32])), Some(ProofState::Damaged));
        assert_eq!(state(proved(None, 1), Some([1; 32])), Some(ProofState::Damaged));
        assert_eq!(state(proved(Some([1; 32]), 0), None), Some(ProofState::Unchecked));
        assert_eq!(state(Ok(frame(PeerResponse::Chunk)), None), Some(ProofState::Silent));
        let gone = || Err(AskError::Refused(Refusal::new(RefusalCode::NotFound, "no")));
        assert_eq!(state(gone(), None), Some(ProofState::Silent));
        assert!(judge(candidate(false), gone(), None).is_none(), "an old record of the DHT");
    }
}
