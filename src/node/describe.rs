//! What nodes tell each other of contents without sending them. A description is a claim of
//! who sends it: good for choosing what to look at, never for dropping anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::{StreamExt as _, stream};
use libp2p::PeerId;

use crate::dedup::finding::Member;
use crate::limits::{DESCRIPTION_FRESH, MAX_DESCRIBED, MAX_DESCRIBING, MAX_DESCRIPTIONS, MAX_EDITS};
use crate::picture::Signature;
use crate::picture::quality::{Encoding, Fidelity, Metadata};
use crate::picture::same::{Edits, Known};
use crate::protocol::{Description, PeerRequest, PeerResponse, Refusal};
use crate::store::index::{ContentRecord, Index};
use crate::store::ledger::Ledger;
use crate::types::{ContentId, ImageId, Standing};
use crate::wire::codec::Frame;

use super::network::{AskError, Network};
use super::serve::{index_refusal, ledger_refusal};

/// What others told, for a while.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<HashMap<ContentId, (Instant, Arc<Member>)>>);

impl Descriptions {
    fn get(&self, content: &ContentId, now: Instant) -> Option<Arc<Member>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, member) = known.get(content)?;
        (now.saturating_duration_since(*since) < DESCRIPTION_FRESH).then(|| Arc::clone(member))
    }

    /// Full, it begins anew: a look asks for everything in the same order, so the least
    /// recently used would always be the one that is needed next.
    fn insert(&self, member: Arc<Member>, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_DESCRIPTIONS {
            known.clear();
        }
        known.insert(member.known.content, (now, member));
    }
}

/// An own content as others are told of it. Blocks on the disk.
pub(super) fn own_member(
    index: &Index,
    ledger: Option<&Ledger>,
    content: ContentId,
    record: &ContentRecord,
) -> Result<Member, Refusal> {
    let mut known = record.known();
    let mut witnesses = 0;
    if let Some(ledger) = ledger {
        known.edits = ledger.edits_of(content).map_err(|error| ledger_refusal(&error))?;
        witnesses = ledger.witness_ids(content).map_err(|error| ledger_refusal(&error))?.len();
    }
    let alone = |_: &PeerId| Standing::Away;
    let pinned = index.copies(&content, &alone).map_err(|error| index_refusal(&error))?.pinned;
    Ok(Member { known, pinned, witnesses })
}

/// The answer to `Describe`. Blocks on the disk.
pub(super) fn describe(
    index: &Index,
    ledger: Option<&Ledger>,
    contents: &[ContentId],
) -> Result<Frame<PeerResponse>, Refusal> {
    let mut told = HashSet::new();
    let (mut descriptions, mut payload) = (Vec::new(), Vec::new());
    for content in contents.iter().take(MAX_DESCRIBED).filter(|content| told.insert(**content)) {
        let Some(record) = index.content(content).map_err(|error| index_refusal(&error))? else { continue };
        let member = own_member(index, ledger, *content, &record)?;
        if let Some(signature) = &member.known.signature {
            payload.extend_from_slice(signature.as_array());
        }
        descriptions.push(description(member));
    }
    Ok(Frame::new(PeerResponse::Described(descriptions), payload))
}

fn description(member: Member) -> Description {
    let Member { known, pinned, witnesses } = member;
    let edits: Vec<ContentId> = known.edits.contents.into_iter().collect();
    Description {
        content: known.content,
        facts: known.facts,
        fidelity: known.encoding.fidelity.0,
        metadata: known.encoding.metadata.0,
        signature: known.signature.is_some(),
        pinned,
        edited_often: known.edits.more || edits.len() > MAX_EDITS,
        edits: edits.into_iter().take(MAX_EDITS).collect(),
        witnesses: u16::try_from(witnesses).unwrap_or(u16::MAX),
    }
}

/// An answer to `Describe`: no more than was asked for, and exactly the signatures that it
/// announces.
pub(super) fn read(asked: &[ContentId], answer: Frame<PeerResponse>) -> Result<Vec<Member>, AskError> {
    let Frame { header: PeerResponse::Described(descriptions), payload } = answer else {
        return Err(AskError::Nonsense);
    };
    let (signatures, rest) = payload.as_chunks::<{ Signature::LEN }>();
    let announced = descriptions.iter().filter(|description| description.signature).count();
    let mut told = HashSet::new();
    let fits =
        |description: &Description| asked.contains(&description.content) && told.insert(description.content);
    if !rest.is_empty() || announced != signatures.len() || !descriptions.iter().all(fits) {
        return Err(AskError::Nonsense);
    }
    let mut signatures = signatures.iter();
    let members = descriptions.into_iter().map(|description| {
        let bytes = description.signature.then(|| signatures.next()).flatten();
        member(description, bytes.map(|bytes| Signature::from_array(*bytes)))
    });
    Ok(members.collect())
}

fn member(description: Description, signature: Option<Signature>) -> Member {
    let encoding =
        Encoding { fidelity: Fidelity(description.fidelity), metadata: Metadata(description.metadata) };
    let edits = Edits { contents: description.edits.into_iter().collect(), more: description.edited_often };
    Member {
        known: Known { content: description.content, facts: description.facts, encoding, signature, edits },
        pinned: description.pinned,
        witnesses: usize::from(description.witnesses),
    }
}

/// A content to be described, and by whom: trusted holders that are there, best first.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) content: ContentId,
    pub(super) image: ImageId,
    pub(super) holders: Vec<PeerId>,
}

/// Asks holders for what is not remembered; each content at one holder after the other until
/// one tells. What nobody tells is missing in the answer. A holder that fails is asked for
/// nothing more.
pub(super) async fn ask(
    net: &Network,
    known: &Descriptions,
    wanted: Vec<Wanted>,
) -> HashMap<ContentId, Arc<Member>> {
    let now = Instant::now();
    let mut found = HashMap::new();
    let mut open: Vec<(ContentId, ImageId, std::vec::IntoIter<PeerId>)> = Vec::new();
    for Wanted { content, image, holders } in wanted {
        match known.get(&content, now).filter(|member| member.known.facts.image == image) {
            Some(member) => drop(found.insert(content, member)),
            None => open.push((content, image, holders.into_iter())),
        }
    }
    let failed = Mutex::new(HashSet::new());
    while !open.is_empty() {
        let batches = next_batches(&mut open, &failed);
        let answers = stream::iter(batches).map(|(peer, contents)| ask_one(net, peer, contents, &failed));
        let mut answers = answers.buffer_unordered(MAX_DESCRIBING);
        let mut told: HashMap<ContentId, Member> = HashMap::new();
        while let Some(members) = answers.next().await {
            told.extend(members.into_iter().map(|member| (member.known.content, member)));
        }
        open.retain(|(content, image, _)| match told.remove(content) {
            // Another picture than its catalog says: another holder may know better.
            Some(member) if member.known.facts.image == *image => {
                let member = Arc::new(member);
                known.insert(Arc::clone(&member), now);
                found.insert(*content, member);
                false
            }
            _ => true,
        });
    }
    found
}

/// Takes the next holder of each content, and leaves out those that have none left.
fn next_batches(
    open: &mut Vec<(ContentId, ImageId, std::vec::IntoIter<PeerId>)>,
    failed: &Mutex<HashSet<PeerId>>,
) -> Vec<(PeerId, Vec<ContentId>)> {
    let failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut by_holder: BTreeMap<PeerId, Vec<ContentId>> = BTreeMap::new();
    open.retain_mut(|(content, _, holders)| {
        let next = holders.find(|holder| !failed.contains(holder));
        next.is_some_and(|holder| {
            by_holder.entry(holder).or_default().push(*content);
            true
        })
    });
    let batch = |(peer, contents): (PeerId, Vec<ContentId>)| {
        contents.chunks(MAX_DESCRIBED).map(|some| (peer, some.to_vec())).collect::<Vec<_>>()
    };
    by_holder.into_iter().flat_map(batch).collect()
}

async fn ask_one(
    net: &Network,
    peer: PeerId,
    contents: Vec<ContentId>,
    failed: &Mutex<HashSet<PeerId>>,
) -> Vec<Member> {
    // It may have failed since: one that is frozen costs one deadline and not one a batch.
    if failed.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer) {
        return Vec::new();
    }
    let request = PeerRequest::Describe { contents: contents.clone() };
    let answer = net.ask_patiently(peer, request).await.and_then(|answer| read(&contents, answer));
    answer.unwrap_or_else(|error| {
        tracing::debug!(%peer, %error, "asked what it knows");
        failed.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
        Vec::new()
    })
}

#[cfg(test)]
pub(super) mod tests;
