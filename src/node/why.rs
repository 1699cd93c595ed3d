//! What is known of an image, and of files that were dropped: the answers to `Why` and
//! `History`. For people: nothing is decided by it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::{StreamExt as _, stream};
use libp2p::PeerId;

use crate::limits::{
    HISTORY_BYTES, HISTORY_DEADLINE, MAX_CONFIRMATIONS, MAX_HISTORIANS, MAX_HISTORY_NUMBERS, MAX_MATCHES,
    MAX_QUERY_BYTES, MAX_TOLD_CONFIRMATIONS, MAX_WHY_CONTENTS,
};
use crate::picture::quality::Metadata;
use crate::picture::same::Known;
use crate::protocol::{
    DropCause, HistoryRow, ImageRow, PeerRequest, PeerResponse, Refusal, RefusalCode, WhyAnswer,
};
use crate::store::ledger::{DropRecord, Ledger};
use crate::store::trash::{Cause, Trash};
use crate::types::{ContentId, Prefix, Standing};

use super::describe;
use super::finder::wanted;
use super::serve::{Services, blocking, ledger_refusal};

/// When holders last answered that they hold a content; the newest are remembered.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Mutex<Confirmed>);

#[derive(Debug, Default)]
struct Confirmed {
    at: HashMap<(ContentId, PeerId), Instant>,
    /// The oldest first; also times that were renewed since.
    order: VecDeque<(Instant, (ContentId, PeerId))>,
}

impl Confirmations {
    /// `peer` has just shown or said that it holds `content`.
    pub(super) fn note(&self, content: ContentId, peer: PeerId, now: Instant) {
        let mut confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let confirmed = &mut *confirmed;
        let key = (content, peer);
        confirmed.at.insert(key, now);
        confirmed.order.push_back((now, key));
        while confirmed.order.len() > MAX_CONFIRMATIONS {
            let Some((at, oldest)) = confirmed.order.pop_front() else { break };
            if confirmed.at.get(&oldest) == Some(&at) {
                confirmed.at.remove(&oldest);
            }
        }
    }

    /// Seconds since.
    fn age(&self, content: ContentId, peer: PeerId, now: Instant) -> Option<u64> {
        let confirmed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.at.get(&(content, peer)).map(|at| now.saturating_duration_since(*at).as_secs())
    }
}

impl Services {
    /// The answer to `Why`.
    pub(super) async fn why(self: &Arc<Self>, query: &str) -> Result<WhyAnswer, Refusal> {
        let (rows, ..) = self.resolved(query).await?;
        let queries = queries(query, &rows);
        let mut own = Vec::new();
        for query in &queries {
            own.extend(self.own_history(parse(query)?).await?);
        }
        let (qualities, (told, silent)) =
            futures::future::join(self.qualities(&rows), self.others_history(&queries)).await;
        let me = self.net.me();
        let all = own.into_iter().map(|row| (me, row)).chain(told);
        Ok(WhyAnswer {
            qualities,
            history: newest(all.collect()),
            confirmed: self.confirmed(&rows),
            silent,
            rows,
        })
    }

    /// The answer to `History`: what this node dropped.
    pub(super) async fn own_history(self: &Arc<Self>, prefix: Prefix) -> Result<Vec<HistoryRow>, Refusal> {
        let services = Arc::clone(self);
        blocking(move || {
            let drops = &services.drops;
            drops
                .ledger
                .as_deref()
                .map_or(Ok(Vec::new()), |ledger| history(ledger, drops.trash.as_ref(), &prefix))
        })
        .await?
    }

    /// What the trusted members that are there dropped, with who told it; and how many of
    /// them did not answer in time.
    async fn others_history(&self, queries: &[String]) -> (Vec<(PeerId, HistoryRow)>, u32) {
        let live = self.net.live();
        let trusted: Vec<PeerId> = live
            .iter()
            .filter(|(_, standing)| **standing == Standing::Trusted)
            .map(|(peer, _)| *peer)
            .collect();
        let asked = trusted.len();
        let answers = stream::iter(trusted).map(|peer| async move {
            let mut told = Vec::new();
            for query in queries {
                let request = PeerRequest::History { query: query.clone() };
                match self.net.ask_patiently(peer, request).await.map(|answer| answer.header) {
                    Ok(PeerResponse::History(rows)) => told.extend(rows),
                    _ => return None,
                }
            }
            Some((peer, told))
        });
        let mut answers = answers.buffer_unordered(MAX_HISTORIANS);
        let (mut told, mut answered) = (Vec::new(), 0);
        let gather = async {
            while let Some(answer) = answers.next().await {
                if let Some((peer, rows)) = answer {
                    answered += 1;
                    told.extend(rows.into_iter().map(|row| (peer, row)));
                    // Members are many, and each may tell a page.
                    told = newest(std::mem::take(&mut told));
                }
            }
        };
        // Who has not answered by then is counted.
        let _ = tokio::time::timeout(HISTORY_DEADLINE, gather).await;
        (told, asked.saturating_sub(answered) as u32)
    }

    /// How good each of the rows is, for people.
    async fn qualities(&self, rows: &[ImageRow]) -> Vec<String> {
        let standing = self.net.standing();
        let trusted = |row: &ImageRow| {
            let holders = row.holders.iter().copied().filter(|peer| standing(peer) == Standing::Trusted);
            ImageRow { holders: holders.collect(), ..row.clone() }
        };
        let (mut own, mut foreign) = (HashMap::new(), Vec::new());
        for row in rows {
            let content = row.content;
            match self.on_disk(move |index| index.content(&content)).await {
                Ok(Some(record)) => drop(own.insert(content, record.known())),
                _ => foreign.push(wanted(self.net.me(), &trusted(row))),
            }
        }
        let told = describe::ask(&self.net, self.memory.descriptions(), foreign).await;
        let known = |content| own.get(content).or_else(|| told.get(content).map(|member| &member.known));
        rows.iter().map(|row| quality(row, known(&row.content))).collect()
    }

    fn confirmed(&self, rows: &[ImageRow]) -> Vec<(ContentId, PeerId, u64)> {
        let now = Instant::now();
        let holders = rows.iter().flat_map(|row| row.holders.iter().map(|peer| (row.content, *peer)));
        holders
            .filter_map(|(content, peer)| Some((content, peer, self.confirmations.age(content, peer, now)?)))
            .take(MAX_TOLD_CONFIRMATIONS)
            .collect()
    }
}

/// What to look for in the ledgers: what was typed, and what is kept of it. A ledger knows the
/// picture of what was dropped, and of what it went for only the content; the two pictures are
/// alike, but their hashes are mostly not equal.
fn queries(query: &str, rows: &[ImageRow]) -> Vec<String> {
    let mut contents: Vec<ContentId> = rows.iter().map(|row| row.content).collect();
    contents.sort();
    contents.dedup();
    let kept = contents.iter().take(MAX_WHY_CONTENTS).map(|content| format!("c:{content}"));
    std::iter::once(query.to_owned()).chain(kept.filter(|kept| kept != query)).collect()
}

/// What was typed.
pub(super) fn parse(query: &str) -> Result<Prefix, Refusal> {
    Prefix::parse(query)
        .map_err(|error| Refusal::new(RefusalCode::Invalid, format!("'{query}' is not a hash: {error}")))
}

/// What the ledger says was dropped. Blocks on the disk.
fn history(ledger: &Ledger, trash: Option<&Trash>, prefix: &Prefix) -> Result<Vec<HistoryRow>, Refusal> {
    let drops = ledger.drops_of(prefix, MAX_MATCHES).map_err(|error| ledger_refusal(&error))?;
    let mut bytes = 0;
    let rows = drops.into_iter().map(|record| row(record, trash)).take_while(|row| {
        bytes += bytes_of(row);
        bytes <= HISTORY_BYTES
    });
    Ok(rows.collect())
}

fn row(record: DropRecord, trash: Option<&Trash>) -> HistoryRow {
    let there = |entry: &crate::store::trash::EntryId| trash.is_some_and(|trash| trash.show(entry).is_ok());
    let entry = record.trash.filter(there).map(|entry| entry.as_str().to_owned());
    HistoryRow {
        loser: record.loser,
        image: record.loser_image,
        // What a person removed went for nothing, and the ledger names itself.
        keeper: Some(record.keeper)
            .filter(|keeper| *keeper != record.loser || record.cause != Cause::Removed),
        cause: match record.cause {
            Cause::LocalDuplicate => DropCause::LocalDuplicate,
            Cause::Superseded => DropCause::Superseded,
            Cause::Excess => DropCause::Excess,
            Cause::Removed => DropCause::Removed,
            Cause::Damaged => DropCause::Damaged,
        },
        numbers: record.numbers.into_iter().take(MAX_HISTORY_NUMBERS).collect(),
        path: record.path,
        at: record.at,
        trash: entry.filter(|entry| entry.len() <= MAX_QUERY_BYTES),
        holders: record.holders,
    }
}

/// The newest drops, as many as an answer holds, each once.
fn newest(mut rows: Vec<(PeerId, HistoryRow)>) -> Vec<(PeerId, HistoryRow)> {
    rows.sort_by(|(a, x), (b, y)| (y.at, x.loser, a, &x.path).cmp(&(x.at, y.loser, b, &y.path)));
    rows.dedup();
    rows.truncate(MAX_MATCHES);
    let mut bytes = 0;
    let fits = |(_, row): &&(PeerId, HistoryRow)| {
        bytes += bytes_of(row);
        bytes <= HISTORY_BYTES
    };
    let fitting = rows.iter().take_while(fits).count();
    rows.truncate(fitting);
    rows
}

/// Most bytes that a row takes on the wire.
fn bytes_of(row: &HistoryRow) -> usize {
    /// Of the fields of a fixed length, and the name in the trash.
    const FIXED: usize = 512;
    /// Of a holder.
    const HOLDER: usize = 44;
    let numbers: usize = row.numbers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    FIXED + row.path.as_bytes().len() + numbers + HOLDER * row.holders.len()
}

/// What decides about the better version, in the order in which it does.
fn quality(row: &ImageRow, known: Option<&Known>) -> String {
    let mut parts = vec![format!("{}x{}", row.facts.width, row.facts.height)];
    if let Some(known) = known {
        if !known.quality().sound {
            parts.insert(0, "damaged or not decoded".to_owned());
        }
        parts.push(known.encoding.fidelity.describe());
        parts.push(format!("{} bytes", row.facts.bytes));
        let knows = [
            (Metadata::CAPTURE_TIME, "capture time"),
            (Metadata::GPS, "place"),
            (Metadata::CAMERA, "camera"),
        ];
        let knows: Vec<_> = knows
            .into_iter()
            .filter(|(bit, _)| known.encoding.metadata.has(*bit))
            .map(|(_, name)| name)
            .collect();
        if !knows.is_empty() {
            parts.push(format!("with {}", knows.join(", ")));
        }
        if !known.edits.contents.is_empty() || known.edits.more {
            parts.push("edited in place".to_owned());
        }
    } else {
        parts.push(format!("{} bytes", row.facts.bytes));
        parts.push("its holders tell no more now".to_owned());
    }
    if row.pinned {
        parts.push("pinned".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ImageId, RelPath};

    fn dropped(number: u8, at: u64) -> HistoryRow {
        HistoryRow {
            loser: ContentId([number; 32]),
            image: ImageId::Hash([number; 32]),
            keeper: None,
            cause: DropCause::Superseded,
            numbers: Vec::new(),
            path: RelPath::from_bytes(vec![b'a'; 4000]).unwrap(),
            at,
            trash: None,
            holders: Vec::new(),
        }
    }

    #[test]
    fn an_answer_has_the_newest_drops_once_and_as_many_as_fit() {
        let peer = PeerId::random();
        let rows: Vec<_> = (0..200).map(|n| (peer, dropped(n, u64::from(n)))).collect();
        let twice = rows.iter().chain(&rows).cloned().collect();
        let told = newest(twice);
        assert_eq!(told[0].1.at, 199);
        assert!(told.windows(2).all(|pair| pair[0].1.at == pair[1].1.at + 1));
        let bytes: usize = told.iter().map(|(_, row)| bytes_of(row)).sum();
        assert!(bytes <= HISTORY_BYTES && told.len() > 40, "{} rows, {bytes} bytes", told.len());
        let short = |n: u8| HistoryRow { path: RelPath::from_bytes(vec![b'a']).unwrap(), ..dropped(n, 1) };
        assert_eq!(newest((0..200).map(|n| (peer, short(n))).collect()).len(), MAX_MATCHES);
    }

    /// `why` of a picture did not tell what had gone for it: that had another hash, by two bits.
    #[test]
    fn what_went_for_a_picture_is_asked_for_by_its_content() {
        let row = crate::protocol::ImageRow {
            content: ContentId([7; 32]),
            facts: crate::types::Facts {
                image: ImageId::Hash([1; 32]),
                bytes: 1,
                width: 1,
                height: 1,
                format: crate::types::Format::Jpeg,
                taken_at: None,
                guard: 50,
                traits: crate::types::Traits::default(),
            },
            path: RelPath::from_bytes(vec![b'a']).unwrap(),
            holders: Vec::new(),
            copies: 1,
            pinned: false,
        };
        let (hash, content) = ("01".repeat(32), format!("c:{}", "07".repeat(32)));
        let twice = [row.clone(), row.clone()];
        assert_eq!(queries(&hash, &twice), [hash.clone(), content.clone()]);
        assert_eq!(queries(&content, &twice), std::slice::from_ref(&content));
        let many = (0..100).map(|n| ImageRow { content: ContentId([n; 32]), ..row.clone() });
        assert_eq!(queries("010101", &many.collect::<Vec<_>>()).len(), 1 + MAX_WHY_CONTENTS);
        assert!(queries(&hash, &twice).iter().all(|query| parse(query).is_ok()));
    }

    #[test]
    fn confirmations_are_bounded_and_the_last_one_counts() {
        let confirmations = Confirmations::default();
        let (peer, start) = (PeerId::random(), Instant::now());
        let content = |n: usize| ContentId(*blake3::hash(&n.to_be_bytes()).as_bytes());
        let later = |seconds| start + std::time::Duration::from_secs(seconds);
        confirmations.note(content(0), peer, start);
        confirmations.note(content(0), peer, later(5));
        assert_eq!(confirmations.age(content(0), peer, later(9)), Some(4));
        assert_eq!(confirmations.age(content(1), peer, later(9)), None);
        for n in 1..MAX_CONFIRMATIONS {
            confirmations.note(content(n), peer, later(6));
        }
        assert_eq!(confirmations.age(content(0), peer, later(9)), Some(4), "the old time went, not the new");
        confirmations.note(content(MAX_CONFIRMATIONS), peer, later(6));
        assert_eq!(confirmations.age(content(0), peer, later(9)), None);
        let inner = confirmations.0.lock().unwrap();
        assert!(inner.at.len() <= MAX_CONFIRMATIONS && inner.order.len() <= MAX_CONFIRMATIONS);
    }
}
