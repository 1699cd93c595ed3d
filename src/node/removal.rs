//! Removing a content from all nodes: the order, the word to the others, and to those that come
//! back later.
//!
//! Everybody who is there remembers every removal, so that any of them can tell a holder that
//! was away; and a holder carries out what names it as soon as nothing stands in the way
//! (`drops::removal`), without being asked again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{StreamExt as _, stream};
use libp2p::PeerId;

use super::network::AskError;
use super::serve::{Served, Services, blocking, frame, index_refusal, ledger_refusal, refuse_stranger};
use crate::limits::{MAX_MEMBERS, MAX_REMOVAL_ASKS, MAX_REMOVALS_TOLD};
use crate::protocol::{
    ClientResponse, PeerRequest, PeerResponse, Refusal, RefusalCode, Removal, RemovalAnswer, RemovalEnd,
};
use crate::replication::removal::order_time;
use crate::store::ledger::Ledger;
use crate::types::{CatalogHead, ContentId, Standing};
use crate::wire::codec::Frame;

/// How often a member that has come up is told of removals until it listens, and the first pause.
const MAX_TELLING: u32 = 8;
/// See [`MAX_TELLING`].
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl Services {
    /// A client wants a content removed everywhere.
    pub(super) async fn remove(self: &Arc<Self>, content: ContentId) -> Served<ClientResponse> {
        self.may_write()?;
        let services = Arc::clone(self);
        let beyond = self.holders_beyond(content).await;
        let elsewhere: Vec<PeerId> = beyond.iter().map(|(peer, _)| *peer).collect();
        let beyond = beyond.into_iter().map(|(peer, page)| (peer, page.head)).collect();
        // On the disk before anybody is asked: should this node end now, it goes on later.
        let orders = blocking(move || services.order_removal(content, &beyond)).await??;
        let live = self.net.live();
        let me = self.net.me();
        let mut answers: HashMap<PeerId, RemovalAnswer> = HashMap::new();
        for order in &orders {
            let is_there =
                order.peer == me || live.contains_key(&order.peer) || elsewhere.contains(&order.peer);
            // Who is there and does not answer is asked again when it is up the next time, and
            // by what it remembers itself.
            let (end, why) = if is_there {
                (RemovalEnd::Later, Some("it has not answered yet".to_owned()))
            } else {
                (RemovalEnd::Away, None)
            };
            answers.insert(order.peer, RemovalAnswer { content, peer: order.peer, end, files: 0, why });
        }
        let own: Vec<Removal> = orders.iter().filter(|order| order.peer == me).cloned().collect();
        let (told, own) = futures::future::join(self.tell_all(&orders, &elsewhere), self.carry_on(own)).await;
        for answer in told.into_iter().chain(own).filter(|answer| answer.content == content) {
            answers.insert(answer.peer, answer);
        }
        let spared = |answer: &&RemovalAnswer| answer.end == RemovalEnd::Spared;
        let spared: Vec<PeerId> = answers.values().filter(spared).map(|answer| answer.peer).collect();
        let spared = orders.into_iter().filter(|order| spared.contains(&order.peer));
        self.spare(spared.map(|order| Removal { spared: true, ..order }).collect()).await;
        let mut answers: Vec<RemovalAnswer> = answers.into_values().collect();
        answers.sort_by_key(|answer| (answer.end, answer.peer != me, answer.peer));
        answers.truncate(MAX_MEMBERS + 1);
        Ok(frame(ClientResponse::Removed(answers)))
    }

    /// The copies that are known, each up to where its holder's catalog is known, and those of
    /// holders `beyond`, whose catalogs are not here and who said where they are; remembered.
    /// Blocks on the disk.
    fn order_removal(
        &self,
        content: ContentId,
        beyond: &HashMap<PeerId, CatalogHead>,
    ) -> Result<Vec<Removal>, Refusal> {
        let ledger = self.ledger_for_removals()?;
        let (me, standing, now) = (self.net.me(), self.net.standing(), now_ms());
        let holders = self.index.holders(&content).map_err(|error| index_refusal(&error))?;
        let holders: BTreeSet<PeerId> =
            holders.into_iter().map(|(peer, _)| peer).chain(beyond.keys().copied()).collect();
        let mut orders = Vec::new();
        // A stranger would not do it.
        for peer in holders.into_iter().filter(|peer| standing(peer) != Standing::Stranger) {
            let head = if let Some(head) = beyond.get(&peer) {
                Some(*head)
            } else if peer == me {
                Some(self.index.head().map_err(|error| index_refusal(&error))?)
            } else {
                self.index.peer_position(&peer).map_err(|error| index_refusal(&error))?
            };
            let Some(head) = head else { continue };
            let known = ledger.removal(content, peer).map_err(|error| ledger_refusal(&error))?;
            let at = order_time(known.as_ref(), now);
            let (epoch, seq) = (head.epoch, head.seq);
            orders.push(Removal { content, peer, epoch, seq, at, by: me, spared: false });
        }
        if orders.is_empty() {
            return Err(Refusal::new(RefusalCode::NotFound, format!("no node holds c:{content} now")));
        }
        ledger.note_removals(&orders, now).map_err(|error| ledger_refusal(&error))?;
        Ok(orders)
    }

    fn ledger_for_removals(&self) -> Result<Arc<Ledger>, Refusal> {
        let none =
            || Refusal::new(RefusalCode::Unavailable, "this node has no ledger, and can't remember it");
        self.drops.ledger.clone().ok_or_else(none)
    }

    /// Tells all trusted members that are there, and these; what they answer.
    async fn tell_all(self: &Arc<Self>, removals: &[Removal], elsewhere: &[PeerId]) -> Vec<RemovalAnswer> {
        let live = self.net.live();
        let trusted = live.iter().filter(|(_, standing)| **standing == Standing::Trusted);
        let trusted: BTreeSet<PeerId> = trusted.map(|(peer, _)| peer).chain(elsewhere).copied().collect();
        let answers = stream::iter(trusted).map(|peer| async move {
            let (answers, heard) = self.tell(peer, removals).await;
            if !heard {
                self.tell_later(peer);
            }
            answers
        });
        answers.buffer_unordered(MAX_REMOVAL_ASKS).concat().await
    }

    /// One that did not listen is told like one that has just come up.
    fn tell_later(self: &Arc<Self>, peer: PeerId) {
        let services = Arc::clone(self);
        tokio::spawn(async move { services.tell_newcomer(peer).await });
    }

    /// Tells one member, a message at a time; and whether it has heard all.
    async fn tell(&self, peer: PeerId, removals: &[Removal]) -> (Vec<RemovalAnswer>, bool) {
        let (mut answers, mut heard) = (Vec::new(), true);
        for part in removals.chunks(MAX_REMOVALS_TOLD) {
            match self.net.ask_patiently(peer, PeerRequest::Removals(part.to_vec())).await {
                Ok(Frame { header: PeerResponse::Removals(told), .. }) => {
                    // It speaks for itself only.
                    answers.extend(told.into_iter().filter(|answer| answer.peer == peer));
                }
                Ok(_) => tracing::debug!(%peer, error = %AskError::Nonsense, "told of removals"),
                Err(error) => {
                    tracing::debug!(%peer, %error, "told of removals");
                    heard = false;
                }
            }
        }
        (answers, heard)
    }

    /// A member has come up: it may have been away when something was removed. First what names
    /// it, then the rest, which it may have to tell others.
    pub(super) async fn tell_newcomer(self: &Arc<Self>, peer: PeerId) {
        let Some(ledger) = self.drops.ledger.clone() else { return };
        let mut removals = match blocking(move || ledger.removals()).await {
            Ok(Ok(removals)) => removals,
            Ok(Err(error)) => return tracing::warn!(%error, "telling of removals"),
            Err(refusal) => return tracing::error!(refusal.message),
        };
        removals.sort_by_key(|removal| (removal.peer != peer, std::cmp::Reverse(removal.at)));
        let mut answers = Vec::new();
        // It may not know this node as a member yet, and refuse.
        for attempt in 1..=MAX_TELLING {
            let (told, heard) = self.tell(peer, &removals).await;
            answers.extend(told);
            if heard || attempt == MAX_TELLING || !self.net.live().contains_key(&peer) {
                break;
            }
            tokio::time::sleep(TELL_AGAIN * attempt).await;
        }
        let spared = |removal: &Removal| {
            let of = |answer: &RemovalAnswer| answer.content == removal.content;
            removal.peer == peer
                && answers.iter().any(|answer| of(answer) && answer.end == RemovalEnd::Spared)
        };
        let spared = removals.into_iter().filter(|removal| spared(removal));
        self.spare(spared.map(|removal| Removal { spared: true, ..removal }).collect()).await;
    }

    /// Copies that stay: they are copies like any other again, and all are to know.
    async fn spare(self: &Arc<Self>, spared: Vec<Removal>) {
        let (Some(ledger), false) = (self.drops.ledger.clone(), spared.is_empty()) else { return };
        let noted = spared.clone();
        match blocking(move || ledger.note_removals(&noted, now_ms())).await {
            Ok(Ok(news)) if news.is_empty() => {}
            Ok(Ok(news)) => drop(self.tell_all(&news, &[]).await),
            Ok(Err(error)) => tracing::warn!(%error, "remembering what was not removed"),
            Err(refusal) => tracing::error!(refusal.message),
        }
    }

    /// A member tells of removals. What names this node is carried out, also when the answer
    /// would come too late.
    pub(super) async fn serve_removals(
        self: &Arc<Self>,
        peer: PeerId,
        told: Vec<Removal>,
    ) -> Served<PeerResponse> {
        // One that is no member because there is no room for it may say so all the same.
        let standings = self.net.standings(vec![peer]).await;
        if !standings.contains(&(peer, Standing::Trusted)) {
            refuse_stranger(self, peer)?;
        }
        let ledger = self.ledger_for_removals()?;
        let noted = blocking(move || ledger.note_removals(&told, now_ms())).await?;
        let mut news = noted.map_err(|error| ledger_refusal(&error))?;
        news.retain(|removal| removal.peer == self.net.me() && !removal.spared);
        if news.is_empty() {
            return Ok(frame(PeerResponse::Removals(Vec::new())));
        }
        Ok(frame(PeerResponse::Removals(self.carry_on(news).await)))
    }

    /// Carries out what names this node, also when whoever waits for it does so no more.
    async fn carry_on(self: &Arc<Self>, removals: Vec<Removal>) -> Vec<RemovalAnswer> {
        let services = Arc::clone(self);
        let carrying = tokio::spawn(async move { services.settle_removals(removals).await });
        carrying.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a removal failed, and is tried again");
            Vec::new()
        })
    }

    /// Tries again what had to wait.
    pub(super) async fn retry_removals(self: &Arc<Self>) {
        let (Some(ledger), me) = (self.drops.ledger.clone(), self.net.me()) else { return };
        match blocking(move || ledger.open_removals(me)).await {
            Ok(Ok(open)) if open.is_empty() => {}
            Ok(Ok(open)) => {
                let answers = self.settle_removals(open.clone()).await;
                let spared = |removal: &Removal| {
                    let of = |answer: &&RemovalAnswer| answer.content == removal.content;
                    answers.iter().find(of).is_some_and(|answer| answer.end == RemovalEnd::Spared)
                };
                let spared = open.into_iter().filter(spared);
                self.spare(spared.map(|removal| Removal { spared: true, ..removal }).collect()).await;
            }
            Ok(Err(error)) => tracing::warn!(%error, "looking for what is to be removed"),
            Err(refusal) => tracing::error!(refusal.message),
        }
    }

    /// Carries out what names this node, one after the other, and remembers what is done.
    async fn settle_removals(self: &Arc<Self>, removals: Vec<Removal>) -> Vec<RemovalAnswer> {
        let mut answers = Vec::new();
        for removal in removals {
            let answer = self.carry_out_removal(removal.clone()).await;
            let is_done = matches!(answer.end, RemovalEnd::Removed | RemovalEnd::NotHere);
            if let (true, Some(ledger)) = (is_done, self.drops.ledger.clone()) {
                let done = blocking(move || ledger.removal_done(&removal)).await;
                if let Ok(Err(error)) = done {
                    tracing::warn!(%error, "a removal is tried once more");
                }
            }
            answers.push(answer);
        }
        answers
    }
}
