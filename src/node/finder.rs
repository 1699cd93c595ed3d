//! A look at the swarm: all groups of duplicates that its rows show, and what this node
//! wishes to drop of its own.
//!
//! To the rows come pictures that no catalog here has, which bands told of (`node::bands`).
//!
//! One pass over the rows leaves 110 bytes a content ([`Alike`]: 11 MB for 100,000 contents,
//! 110 MB for a million, for as long as the look takes); near hashes make clumps, and clump
//! by clump the contents are described by a holder, compared by what is described, and
//! forgotten. What stays is what is shown and wished: at most
//! [`MAX_FOUND_GROUPS`](crate::limits::MAX_FOUND_GROUPS) groups, and some 300 bytes a wish.
//!
//! Only trusted members that are there count, and this node. Nothing that is found removes
//! anything: `replication::drop` believes none of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use libp2p::PeerId;

use crate::brake::Keep;
use crate::dedup::alike::{Alike, Clumps, Hashed};
use crate::dedup::finding::{self, Found, Member, Refused};
use crate::dedup::grouping::Groups;
use crate::dedup::keep_path;
use crate::dedup::wishing::{self, Obstacle, Placed, Terms};
use crate::limits::{LOOK_BATCH, MAX_GROUPS, MAX_LIST_STEPS, PAGE_BYTES};
use crate::protocol::{Decides, DuplicateGroup, DuplicatesPage, ImageRow, Refusal};
use crate::replication::rank;
use crate::replication::wishes::Wish;
use crate::store::index::{Index, IndexError, Prefix};
use crate::store::ledger::Ledger;
use crate::types::{ContentId, RelPath, Standing, to_hex};

use super::bands::Beyond;
use super::describe::{self, Descriptions, Wanted};
use super::network::Network;
use super::serve::{Services, blocking, index_refusal};

/// What a look is made with.
#[derive(Debug, Clone)]
pub(super) struct LookSettings {
    /// What this node decides by.
    pub(super) own: Decides,
    /// What the members decide by, as they say.
    pub(super) decides: HashMap<PeerId, Decides>,
    /// Files that are never dropped.
    pub(super) keep: Keep,
}

impl LookSettings {
    /// How many members decide as this node does.
    fn alike(&self) -> usize {
        let own = (self.own.version, self.own.lease_s);
        self.decides.values().filter(|decides| (decides.version, decides.lease_s) == own).count()
    }
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Findings {
    /// For people, and for the status.
    pub(super) shown: Arc<Shown>,
    /// Own contents that may go, the most urgent first.
    pub(super) wishes: Vec<Wish>,
}

/// What is shown of a look.
#[derive(Debug)]
pub(super) struct Shown {
    /// Those that free most first; also those of which all are only probable.
    pub(super) groups: Vec<DuplicateGroup>,
    /// Contents that were seen: all that trusted members which are there and this node hold.
    pub(super) contents: u64,
    /// Groups beyond these.
    pub(super) left_out: u64,
    /// Own contents that there is a better version of, or that are in several files.
    pub(super) own_losers: u64,
    /// Pairs for people to judge, one of them here.
    pub(super) own_probable: u64,
    /// Own contents that stay because too few nodes would promise to hold the better version.
    pub(super) own_short: u64,
    /// Contents that were not compared: too many are alike.
    pub(super) not_compared: u64,
    /// Contents that none of their holders described: they were left out. The next look may
    /// find more.
    pub(super) not_described: u64,
    /// When the look began: what changed since may not be in it.
    pub(super) looked: Instant,
}

/// What a node remembers of its looks. Empty at first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    descriptions: Descriptions,
    beyond: Beyond,
    shown: RwLock<Option<Arc<Shown>>>,
}

impl Memory {
    /// The last look that saw everything.
    pub(super) fn shown(&self) -> Option<Arc<Shown>> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What others told of contents.
    pub(super) fn descriptions(&self) -> &Descriptions {
        &self.descriptions
    }

    /// Foreign pictures near to own ones that no catalog here knows.
    pub(super) fn beyond(&self) -> &Beyond {
        &self.beyond
    }

    fn show(&self, shown: &Arc<Shown>) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(shown));
    }
}

/// All that a look needs.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    pub(super) net: Network,
    pub(super) index: Arc<Index>,
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) memory: Arc<Memory>,
}

/// A member of a clump as the index has it.
#[derive(Debug)]
struct Seen {
    row: ImageRow,
    own: Option<Own>,
}

/// What this node has of a content.
#[derive(Debug)]
struct Own {
    member: Member,
    paths: Vec<RelPath>,
    replica: bool,
}

/// Has the thread that reads all rows stop when nobody waits for it any more: a node that
/// shuts down does not wait for a look.
#[derive(Debug, Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What the clumps so far have brought.
#[derive(Debug, Default)]
struct Tally {
    groups: Groups,
    losers: BTreeSet<ContentId>,
    probable: u64,
    short: BTreeSet<ContentId>,
    not_described: u64,
    wishes: Vec<(u64, Wish)>,
}

impl Services {
    pub(super) fn finder(&self) -> Finder {
        Finder {
            net: self.net.clone(),
            index: Arc::clone(&self.index),
            ledger: self.drops.ledger.clone(),
            memory: Arc::clone(&self.memory),
        }
    }

    /// Looks at the swarm, and remembers what is to be shown. Pairs (loser, keeper) in
    /// `refused` are no duplicates. Takes from some milliseconds to minutes.
    pub(super) async fn look(
        self: &Arc<Self>,
        settings: &LookSettings,
        refused: Arc<Refused>,
    ) -> Result<Findings, Refusal> {
        self.finder().look(settings, refused).await
    }
}

impl Finder {
    /// See [`Services::look`].
    pub(super) async fn look(
        &self,
        settings: &LookSettings,
        refused: Arc<Refused>,
    ) -> Result<Findings, Refusal> {
        let looked = Instant::now();
        let settings = Arc::new(settings.clone());
        let (contents, Clumps { clumps, left, cut }) = self.clumps().await?;
        if cut || left > 0 {
            tracing::warn!(left, cut, "too many pictures are alike: not all were compared");
        }
        let mut tally = Tally::default();
        let mut clumps = clumps.into_iter().peekable();
        while clumps.peek().is_some() {
            let (mut batch, mut size) = (Vec::new(), 0);
            while let Some(clump) = clumps.next_if(|_| size < LOOK_BATCH) {
                size += clump.len();
                batch.push(clump);
            }
            tally = self.compare(batch, tally, &settings, &refused).await?;
        }
        tally = self.add_repeated(tally, &settings).await?;
        let Tally { groups, losers, probable, short, not_described, mut wishes } = tally;
        wishing::sort(&mut wishes);
        let (groups, left_out) = groups.finish();
        let shown = Arc::new(Shown {
            groups,
            contents,
            left_out,
            own_losers: losers.len() as u64,
            own_probable: probable,
            own_short: short.len() as u64,
            not_compared: left,
            not_described,
            looked,
        });
        self.memory.show(&shown);
        tracing::debug!(
            took = ?looked.elapsed(),
            groups = shown.groups.len(),
            left_out = shown.left_out,
            wishes = wishes.len(),
            short = shown.own_short,
            not_compared = shown.not_compared,
            not_described = shown.not_described,
            "looked for duplicates"
        );
        Ok(Findings { shown, wishes: wishes.into_iter().map(|(_, wish)| wish).collect() })
    }

    /// One pass over all rows: how many there are, and what hangs together.
    async fn clumps(&self) -> Result<(u64, Clumps), Refusal> {
        let (index, standing) = (Arc::clone(&self.index), trusted(&self.net));
        let memory = Arc::clone(&self.memory);
        let stop = StopOnDrop::default();
        let stopped = Arc::clone(&stop.0);
        let read = move || {
            let (mut alike, mut after, mut contents) = (Alike::until(Arc::clone(&stopped)), None, 0);
            // What no catalog has, in its places among the rows: they come in the order of
            // (image, content).
            let mut beyond = memory.beyond.rows(Instant::now(), &index, &standing).into_iter().peekable();
            let order = |row: &ImageRow| (row.facts.image, row.content);
            while !stopped.load(Relaxed) {
                let (rows, next) = index.list(after.as_deref(), None, &standing)?;
                contents += rows.len() as u64;
                for row in &rows {
                    while let Some(far) = beyond.next_if(|far| order(far) < order(row)) {
                        contents += 1;
                        alike.add(far.content, &far.facts);
                    }
                    alike.add(row.content, &row.facts);
                }
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            for far in beyond {
                contents += 1;
                alike.add(far.content, &far.facts);
            }
            Ok((contents, alike.clumps()))
        };
        let read = blocking(read).await?.map_err(|error: IndexError| index_refusal(&error));
        drop(stop);
        read
    }

    /// Has the members of some clumps described, and compares them.
    async fn compare(
        &self,
        clumps: Vec<Vec<Hashed>>,
        tally: Tally,
        settings: &Arc<LookSettings>,
        refused: &Arc<Refused>,
    ) -> Result<Tally, Refusal> {
        let (finder, standing) = (self.clone(), trusted(&self.net));
        let clumps = blocking(move || {
            let seen = |clump: Vec<Hashed>| {
                clump.iter().filter_map(|hashed| finder.see(hashed, &standing).transpose()).collect()
            };
            clumps.into_iter().map(seen).collect::<Result<Vec<Vec<Seen>>, Refusal>>()
        })
        .await??;
        let foreign = clumps.iter().flatten().filter(|seen| seen.own.is_none());
        let wanted = foreign.map(|seen| wanted(self.net.me(), &seen.row)).collect();
        let described = describe::ask(&self.net, &self.memory.descriptions, wanted).await;
        let (me, settings, refused) = (self.net.me(), Arc::clone(settings), Arc::clone(refused));
        blocking(move || {
            let mut tally = tally;
            for clump in clumps {
                tally.compare(me, clump, &described, &settings, &refused);
            }
            tally
        })
        .await
    }

    /// A content of a clump; `None` when it is gone by now. Blocks on the disk.
    fn see(&self, hashed: &Hashed, standing: &dyn Fn(&PeerId) -> Standing) -> Result<Option<Seen>, Refusal> {
        let listed = self.row(hashed.content, standing)?.filter(|row| row.facts.image == hashed.image());
        let beyond = || self.memory.beyond.row(hashed.content, hashed.image(), standing);
        let Some(row) = listed.or_else(beyond) else { return Ok(None) };
        Ok(Some(Seen { own: self.own(hashed.content)?, row }))
    }

    fn row(
        &self,
        content: ContentId,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Result<Option<ImageRow>, Refusal> {
        let prefix = Prefix::Content(to_hex(&content.0));
        let (rows, _) = self.index.resolve(&prefix, standing).map_err(|error| index_refusal(&error))?;
        // When holders disagree about the picture, this node's own word counts, then the first.
        let me = self.net.me();
        Ok(rows.into_iter().min_by_key(|row| !row.holders.contains(&me)))
    }

    fn own(&self, content: ContentId) -> Result<Option<Own>, Refusal> {
        let record = self.index.content(&content).map_err(|error| index_refusal(&error))?;
        let Some(record) = record else { return Ok(None) };
        let member = describe::own_member(&self.index, self.ledger.as_deref(), content, &record)?;
        Ok(Some(Own { member, paths: record.paths, replica: record.replica }))
    }

    /// Own contents that are in several files of the folder.
    async fn add_repeated(&self, mut tally: Tally, settings: &Arc<LookSettings>) -> Result<Tally, Refusal> {
        let (finder, settings, standing) = (self.clone(), Arc::clone(settings), trusted(&self.net));
        blocking(move || {
            let me = finder.net.me();
            let mut after = None;
            loop {
                let page = finder.index.repeated(after.as_ref(), MAX_LIST_STEPS);
                let (contents, next) = page.map_err(|error| index_refusal(&error))?;
                for content in contents {
                    if let (Some(row), Some(own)) = (finder.row(content, &standing)?, finder.own(content)?) {
                        tally.repeat(me, &row, own, &settings);
                    }
                }
                match next {
                    Some(next) => after = Some(next),
                    None => return Ok(tally),
                }
            }
        })
        .await?
    }
}

impl Tally {
    fn compare(
        &mut self,
        me: PeerId,
        clump: Vec<Seen>,
        described: &HashMap<ContentId, Arc<Member>>,
        settings: &LookSettings,
        refused: &Refused,
    ) {
        let (mut members, mut rows, mut placed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for Seen { row, own } in clump {
            let (member, paths, replica) = match own {
                Some(own) => (Some(own.member), own.paths, own.replica),
                None => (described.get(&row.content).map(|told| Member::clone(told)), Vec::new(), false),
            };
            // Nobody describes it now: it is neither dropped nor a reason to drop.
            let Some(mut member) = member else {
                self.not_described += 1;
                continue;
            };
            member.pinned |= row.pinned;
            placed.insert(row.content, place(me, &row, member.pinned, paths, replica));
            members.push(member);
            rows.insert(row.content, row);
        }
        let found = finding::find(&members, refused);
        self.wish(me, &found, &placed, &rows, settings);
        self.groups.add(&found, &rows);
    }

    fn wish(
        &mut self,
        me: PeerId,
        found: &Found,
        placed: &BTreeMap<ContentId, Placed>,
        rows: &BTreeMap<ContentId, ImageRow>,
        settings: &LookSettings,
    ) {
        let own = |content: &ContentId| rows.get(content).is_some_and(|row| row.holders.contains(&me));
        let decides = |peer: &PeerId| settings.decides.get(peer).copied().unwrap_or_default();
        let kept = |path: &RelPath| settings.keep.has(path);
        let terms = Terms { me, own: settings.own, decides: &decides, alike: settings.alike(), kept: &kept };
        for pair in found.same.iter().filter(|pair| own(&pair.loser)) {
            self.losers.insert(pair.loser);
            let (Some(subject), Some(keeper)) = (placed.get(&pair.loser), placed.get(&pair.keeper)) else {
                continue;
            };
            match terms.superseded(subject, keeper) {
                Ok(wish) => {
                    let bytes = rows.get(&pair.loser).map_or(0, |row| row.facts.bytes);
                    self.wishes.push((bytes.saturating_mul(wish.files.max(1)), wish));
                }
                Err(Obstacle::FewHolders) => drop(self.short.insert(pair.loser)),
                Err(_) => {}
            }
        }
        let here = found.probable.iter().filter(|pair| own(&pair.loser) || own(&pair.keeper));
        self.probable += here.count() as u64;
    }

    fn repeat(&mut self, me: PeerId, row: &ImageRow, own: Own, settings: &LookSettings) {
        let kept = |path: &RelPath| settings.keep.has(path);
        let pinned = row.pinned || own.member.pinned;
        let subject = place(me, row, pinned, own.paths, own.replica);
        let nobody = |_: &PeerId| Decides::default();
        let terms = Terms { me, own: settings.own, decides: &nobody, alike: 0, kept: &kept };
        let Some(wish) = terms.repeated(&subject) else { return };
        let stays = keep_path(&subject.paths, kept);
        let go = subject.paths.iter().enumerate().filter(|(at, path)| *at != stays && !kept(path));
        let go: Vec<RelPath> = go.map(|(_, path)| path.clone()).collect();
        if let Some(stays) = subject.paths.get(stays) {
            self.groups.add_repeated(row, stays, &go);
        }
        self.losers.insert(subject.content);
        self.wishes.push((row.facts.bytes.saturating_mul(wish.files), wish));
    }
}

fn place(me: PeerId, row: &ImageRow, pinned: bool, paths: Vec<RelPath>, replica: bool) -> Placed {
    let holders = row.holders.iter().copied().filter(|peer| *peer != me).collect();
    Placed { content: row.content, pinned, paths, replica, holders }
}

/// A row's holders in their order for it: all nodes ask the same one first, and each
/// content's is another.
pub(super) fn wanted(me: PeerId, row: &ImageRow) -> Wanted {
    let mut holders: Vec<PeerId> = row.holders.iter().copied().filter(|peer| *peer != me).collect();
    holders.sort_by_cached_key(|peer| (std::cmp::Reverse(rank(row.content, peer)), *peer));
    Wanted { content: row.content, image: row.facts.image, holders }
}

/// Only trusted members that are there, and this node.
pub(super) fn trusted(net: &Network) -> impl Fn(&PeerId) -> Standing + Send + 'static {
    let standing = net.standing();
    move |peer| match standing(peer) {
        Standing::Trusted => Standing::Trusted,
        Standing::Stranger | Standing::Away => Standing::Away,
    }
}

/// The answer to a client. Numbers are those of the last look: another one between two pages
/// counts anew.
pub(super) fn page(shown: Option<&Shown>, from: u32) -> DuplicatesPage {
    let Some(shown) = shown else { return DuplicatesPage { groups: Vec::new(), next: None, looked_s: None } };
    let looked_s = Some(shown.looked.elapsed().as_secs());
    let (mut groups, mut bytes) = (Vec::new(), 0);
    for group in shown.groups.iter().skip(from as usize) {
        bytes += bytes_of(group);
        if groups.len() == MAX_GROUPS || (bytes > PAGE_BYTES && !groups.is_empty()) {
            let next = from.saturating_add(groups.len() as u32);
            return DuplicatesPage { groups, next: Some(next), looked_s };
        }
        groups.push(group.clone());
    }
    DuplicatesPage { groups, next: None, looked_s }
}

/// Most bytes that a group takes on the wire.
fn bytes_of(group: &DuplicateGroup) -> usize {
    /// Of a row, beside its path and its holders.
    const ROW: usize = 512;
    /// Of a holder.
    const HOLDER: usize = 44;
    let row = |row: &ImageRow| ROW + row.path.as_bytes().len() + HOLDER * row.holders.len();
    let losers = group.losers.iter().map(|loser| row(&loser.row) + loser.reason.len());
    row(&group.keeper) + losers.sum::<usize>()
}

#[cfg(test)]
mod tests;
