//! Lists and prefixes in a swarm of which this node doesn't keep all catalogs: those of members beyond
//! the limit, and of nodes that are no members because it, or they, have no room for more.
//!
//! For each page they are asked for theirs, all at once, and the pages are merged
//! (`catalog::merge`). Nothing is kept between two pages but who is there, for some seconds, and
//! who did not answer. Memory: what one page needs, whatever the number of nodes.
//!
//! A node that doesn't answer in time is left out, and the page says that there is one.
//!
//! Who is there: the *roll call* asks everybody that is known for its members, and those it hears of for
//! theirs. Only in a swarm with nodes that are no members of each other is there one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::stream::{self, FuturesUnordered, StreamExt as _};
use libp2p::PeerId;
use serde_bytes::ByteBuf;

use crate::catalog::merge::{self, Merged, Most};
use crate::limits::{
    ASKED_DEADLINE, MAX_ASKING, MAX_KNOWN_PEERS, MAX_MATCHES, MAX_PAGE_ENTRIES, MIN_ASKED_ENTRIES,
    PAGE_BYTES, ROLL_CALL_DEADLINE, ROLL_CALL_FRESH, SILENT_FOR,
};
use crate::protocol::{
    ClientResponse, ImageRow, ListPage, MemberAddress, OwnPage, PeerRequest, PeerResponse, Refusal,
    RefusalCode,
};
use crate::types::{ContentId, FolderId, ImageId, Standing};

use super::beyond::{Beyond, Others};
use super::serve::{Served, Services, frame};
use super::why;

/// Who was there the last time, and who did not answer.
#[derive(Debug, Default)]
pub(super) struct RollCalls {
    last: Mutex<Option<(Instant, Arc<BTreeSet<PeerId>>)>>,
    silent: Mutex<HashMap<PeerId, Instant>>,
}

impl RollCalls {
    fn fresh(&self, now: Instant) -> Option<Arc<BTreeSet<PeerId>>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.as_ref().filter(|(at, _)| now.duration_since(*at) < ROLL_CALL_FRESH);
        fresh.map(|(_, there)| Arc::clone(there))
    }

    fn is(&self, there: BTreeSet<PeerId>) -> Arc<BTreeSet<PeerId>> {
        let there = Arc::new(there);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&there)));
        there
    }

    fn note(&self, peer: PeerId, answered: bool) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        silent.retain(|_, at| now.duration_since(*at) < SILENT_FOR);
        if answered {
            silent.remove(&peer);
        } else if silent.len() < MAX_KNOWN_PEERS {
            silent.insert(peer, now);
        }
    }

    fn is_silent(&self, peer: &PeerId, now: Instant) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(peer).is_some_and(|at| now.duration_since(*at) < SILENT_FOR)
    }
}

/// What is asked of each.
#[derive(Debug, Clone)]
struct Asked {
    after: Option<ByteBuf>,
    query: Option<String>,
    most: usize,
}

/// What they told.
#[derive(Debug, Default)]
struct Told {
    pages: Vec<(PeerId, OwnPage)>,
    /// Whose pages count as copies.
    trusted: HashSet<PeerId>,
    /// How many did not answer.
    silent: u32,
}

impl Services {
    /// A page of what this node holds.
    pub(super) async fn serve_list(
        &self,
        after: Option<ByteBuf>,
        query: Option<String>,
        most: u32,
    ) -> Served<PeerResponse> {
        if after.as_ref().is_some_and(|after| after.len() != merge::POSITION) {
            return Err(Refusal::new(RefusalCode::Invalid, "there is no such position in a list"));
        }
        let prefix = query.as_deref().map(why::parse).transpose()?;
        let page = self.on_disk(move |index| {
            index.own_page(after.as_ref().map(|after| after.as_slice()), prefix.as_ref(), most as usize)
        });
        Ok(frame(PeerResponse::List(page.await?)))
    }

    /// A page of the list of the swarm.
    pub(super) async fn list(
        &self,
        after: Option<ByteBuf>,
        filter: Option<String>,
    ) -> Served<ClientResponse> {
        let beyond = self.beyond().await;
        let most = (2 * MAX_PAGE_ENTRIES / beyond.len().max(1)).clamp(MIN_ASKED_ENTRIES, MAX_PAGE_ENTRIES);
        let told = self.ask_all(&beyond, Asked { after: after.clone(), query: None, most }).await;
        let (standing, all, text) = (self.net.standing(), !told.pages.is_empty(), filter.clone());
        let known = self
            .on_disk(move |index| {
                index.list_marked(after.as_ref().map(|a| a.as_slice()), text.as_deref(), all, &standing)
            })
            .await?;
        let silent = told.silent;
        let Merged { rows, next } = self.merged(known, told, filter.as_deref(), MAX_PAGE_ENTRIES).await?;
        Ok(frame(ClientResponse::List(ListPage { rows, next: next.map(Into::into), silent })))
    }

    /// What a hash or a prefix means.
    pub(super) async fn resolve(&self, query: &str) -> Served<ClientResponse> {
        let (mut rows, more, silent) = self.resolved(query).await?;
        if let (true, Ok(image)) = (rows.is_empty(), query.parse::<ImageId>()) {
            rows = self.rows_through_dht(image).await;
        }
        if rows.is_empty() && silent > 0 {
            let message =
                format!("nobody who answered has it; {silent} nodes that may have it did not answer");
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        Ok(frame(ClientResponse::Found { rows, more }))
    }

    /// The rows that a hash or a prefix means, whether there are more, and how many nodes that may have
    /// some did not answer.
    pub(super) async fn resolved(&self, query: &str) -> Result<(Vec<ImageRow>, bool, u32), Refusal> {
        let prefix = why::parse(query)?;
        let beyond = self.beyond().await;
        let asked = Asked { after: None, query: Some(query.to_owned()), most: MAX_MATCHES + 1 };
        let told = self.ask_all(&beyond, asked).await;
        let standing = self.net.standing();
        let (rows, more) = self.on_disk(move |index| index.resolve(&prefix, &standing)).await?;
        let rows = rows.into_iter().map(|row| (row, true)).collect();
        let silent = told.silent;
        let Merged { rows, next } = self.merged((rows, None), told, None, MAX_MATCHES).await?;
        Ok((rows, more || next.is_some(), silent))
    }

    /// Holders of a content whose catalogs are not here, each with where its catalog is.
    pub(super) async fn holders_beyond(&self, content: ContentId) -> Vec<(PeerId, OwnPage)> {
        let beyond = self.beyond().await;
        let asked = Asked { after: None, query: Some(format!("c:{content}")), most: 1 };
        let mut pages = self.ask_all(&beyond, asked).await.pages;
        pages.retain(|(_, page)| page.entries.iter().any(|entry| entry.content == content));
        pages
    }

    /// Puts what is known here and what was told together.
    async fn merged(
        &self,
        known: (Vec<(ImageRow, bool)>, Option<Vec<u8>>),
        told: Told,
        filter: Option<&str>,
        rows: usize,
    ) -> Result<Merged, Refusal> {
        if told.pages.is_empty() {
            let (rows, next) = known;
            return Ok(Merged { rows: rows.into_iter().map(|(row, _)| row).collect(), next });
        }
        let mut folders: HashMap<PeerId, FolderId> =
            self.on_disk(crate::store::index::Index::folders).await?.into_iter().collect();
        folders.insert(self.net.me(), self.root.id());
        let (standing, Told { pages, trusted, .. }) = (self.net.standing(), told);
        let counts = |peer: &PeerId| standing(peer) == Standing::Trusted || trusted.contains(peer);
        let known_of = merge::Known { me: self.net.me(), counts: &counts, folders: &folders };
        Ok(merge::merge(&known_of, known, pages, filter, Most { rows, bytes: PAGE_BYTES }))
    }

    /// Everybody who is there and whose catalog is not here.
    async fn beyond(&self) -> BTreeSet<PeerId> {
        let Others { asked, elsewhere, partial } = self.net.others().await;
        let mut all: BTreeSet<PeerId> = asked.into_iter().collect();
        if partial {
            let there = match self.roll_calls.fresh(Instant::now()) {
                Some(there) => there,
                None => self.roll_call(elsewhere).await,
            };
            let live = self.net.live();
            all.extend(there.iter().filter(|peer| !live.contains_key(peer)));
        }
        all
    }

    /// Asks everybody for its members, and those for theirs: who is no member of this node, and is
    /// there or named by somebody who is.
    async fn roll_call(&self, elsewhere: Vec<PeerId>) -> Arc<BTreeSet<PeerId>> {
        let (me, live) = (self.net.me(), self.net.live());
        let end = tokio::time::Instant::now() + ROLL_CALL_DEADLINE;
        let mut heard: BTreeSet<PeerId> = live.keys().copied().chain(elsewhere.iter().copied()).collect();
        let mut waiting: Vec<PeerId> = heard.iter().copied().collect();
        // Those that are known from before only may be gone; they are in it when they answer.
        let mut there = BTreeSet::new();
        let mut asking = FuturesUnordered::new();
        loop {
            while asking.len() < MAX_ASKING
                && let Some(peer) = waiting.pop()
            {
                asking.push(async move { (peer, self.members_of(peer).await) });
            }
            let answer = tokio::time::timeout_at(end, asking.next()).await;
            let Ok(Some((peer, answer))) = answer else { break };
            let is_member = live.contains_key(&peer);
            let Some(members) = answer else {
                if !is_member {
                    self.net.beyond(Beyond::Visited { peer, ok: false }).await;
                }
                continue;
            };
            if !is_member {
                there.insert(peer);
                self.net.beyond(Beyond::Visited { peer, ok: true }).await;
            }
            let mut new: Vec<MemberAddress> = Vec::new();
            for member in members {
                if member.peer == me || live.contains_key(&member.peer) {
                    continue;
                }
                there.insert(member.peer);
                if heard.len() < MAX_KNOWN_PEERS && heard.insert(member.peer) {
                    waiting.push(member.peer);
                    new.push(member);
                }
            }
            if !new.is_empty() {
                self.net.beyond(Beyond::Named(new)).await;
            }
        }
        tracing::debug!(nodes = there.len(), "called the roll");
        self.roll_calls.is(there)
    }

    /// The members of a node; `None` when it does not answer.
    async fn members_of(&self, peer: PeerId) -> Option<Vec<MemberAddress>> {
        if self.roll_calls.is_silent(&peer, Instant::now()) {
            return None;
        }
        let asked = self.net.ask(peer, PeerRequest::Members);
        let answer = tokio::time::timeout(ASKED_DEADLINE, asked).await.ok()?.ok()?;
        match answer.header {
            PeerResponse::Members(members) => Some(members),
            _ => None,
        }
    }

    async fn ask_all(&self, peers: &BTreeSet<PeerId>, what: Asked) -> Told {
        if peers.is_empty() {
            return Told::default();
        }
        let asked = stream::iter(peers.iter().copied()).map(|peer| {
            let what = what.clone();
            async move { (peer, self.page_of(peer, what).await) }
        });
        let answers: Vec<(PeerId, Option<OwnPage>)> = asked.buffer_unordered(MAX_ASKING).collect().await;
        let mut told = Told::default();
        for (peer, page) in answers {
            match page {
                Some(page) => told.pages.push((peer, page)),
                None => told.silent += 1,
            }
        }
        let pages = told.pages.iter().map(|(peer, _)| *peer).collect();
        let standings = self.net.standings(pages).await;
        let trusted = standings.into_iter().filter(|(_, standing)| *standing == Standing::Trusted);
        told.trusted = trusted.map(|(peer, _)| peer).collect();
        told
    }

    /// One node's page, when it comes in time and makes sense.
    async fn page_of(&self, peer: PeerId, what: Asked) -> Option<OwnPage> {
        if self.roll_calls.is_silent(&peer, Instant::now()) {
            return None;
        }
        let Asked { after, query, most } = what;
        let request =
            PeerRequest::List { after: after.clone(), query, most: u32::try_from(most).unwrap_or(u32::MAX) };
        let began = Instant::now();
        let answer = tokio::time::timeout(ASKED_DEADLINE, self.net.ask_patiently(peer, request)).await;
        let page = match answer {
            Ok(Ok(frame)) => match frame.header {
                PeerResponse::List(page) => Some(page),
                _ => None,
            },
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "asked for a page of its list");
                None
            }
            Err(_) => None,
        };
        let page = page.filter(|page| merge::is_sound(page, after.as_ref().map(|a| a.as_slice()), most));
        self.roll_calls.note(peer, page.is_some());
        tracing::trace!(%peer, took = ?began.elapsed(), ok = page.is_some(), "a page");
        page
    }
}
