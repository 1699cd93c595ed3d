//! One pass over all contents and their holders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::super::serve::{Services, blocking};
use crate::limits::{MAX_EXCESS, MAX_PAGE_ENTRIES, MAX_SHORT};
use crate::protocol::Census;
use crate::replication::absence::State;
use crate::replication::repair::Short;
use crate::replication::stabilize::Surveyed;
use crate::replication::survey::{Copies, Duty, Excess, View};
use crate::store::index::{Index, IndexError};
use crate::types::ContentId;

impl Services {
    /// See [`Surveyed`]. `skip`: own contents that are about to go, which nobody has to copy. `asked`:
    /// members whose catalogs are not here.
    pub(super) async fn survey(
        self: &Arc<Self>,
        view: Arc<View>,
        skip: BTreeSet<ContentId>,
        asked: BTreeSet<PeerId>,
    ) -> Option<Surveyed> {
        let services = Arc::clone(self);
        let survey = move || Pass::new(&services, &view, &skip, &asked).run();
        match blocking(survey).await {
            Ok(Ok(surveyed)) => Some(surveyed),
            Ok(Err(error)) => {
                tracing::error!(%error, "index");
                None
            }
            Err(_) => None,
        }
    }
}

struct Pass<'a> {
    index: &'a Index,
    services: &'a Services,
    view: &'a View,
    skip: &'a BTreeSet<ContentId>,
    asked: &'a BTreeSet<PeerId>,
    began: Instant,
    /// The short ones: copies that count, content, and the rest. At most [`MAX_SHORT`], the most
    /// urgent.
    shorts: BTreeMap<(u16, ContentId), (u16, u16, Vec<PeerId>)>,
    excess: Vec<(ContentId, u16, Vec<PeerId>)>,
    short: u64,
    sole: u64,
    census: Census,
}

impl<'a> Pass<'a> {
    fn new(
        services: &'a Services,
        view: &'a View,
        skip: &'a BTreeSet<ContentId>,
        asked: &'a BTreeSet<PeerId>,
    ) -> Self {
        Self {
            index: &services.index,
            services,
            view,
            skip,
            asked,
            began: Instant::now(),
            shorts: BTreeMap::new(),
            excess: Vec::new(),
            short: 0,
            sole: 0,
            census: Census::default(),
        }
    }

    fn run(mut self) -> Result<Surveyed, IndexError> {
        let index = self.index;
        index.each_content(&mut |content, holders| {
            self.look(content, holders);
            true
        })?;
        let shorts = self.named()?;
        let excess = self.trimmed()?;
        let leaving = self.view.me.state == State::Draining;
        let Self { short, sole, census, began, .. } = self;
        Ok(Surveyed { shorts, short, sole, excess, census, began, leaving })
    }

    fn look(&mut self, content: ContentId, holders: &[PeerId]) {
        let me = self.view.me.place.peer;
        let (copies, duty) = if holders.contains(&me) && !self.skip.contains(&content) {
            self.duty(content, holders)
        } else {
            (self.view.count(holders), Duty::None)
        };
        let census = &mut self.census;
        census.contents += 1;
        let bucket = match copies.there {
            0 => &mut census.none,
            1 => &mut census.one,
            2 => &mut census.two,
            _ => &mut census.more,
        };
        *bucket += 1;
        census.short += u64::from(copies.there < copies.wanted);
        census.awaited += u64::from(copies.there < copies.wanted && copies.count >= copies.wanted);
        match duty {
            Duty::None => {}
            Duty::Offer { rank, copies: count, have } => {
                self.short += 1;
                self.sole += u64::from(have.iter().all(|peer| *peer == me));
                self.shorts.insert((count, content), (copies.wanted, rank, have));
                if self.shorts.len() > MAX_SHORT {
                    self.shorts.pop_last();
                }
            }
            Duty::Trim { there } if self.excess.len() < MAX_EXCESS => {
                self.excess.push((content, copies.wanted, there));
            }
            Duty::Trim { .. } => {}
        }
    }

    /// What this node owes a content. Not to know who holds it is not to know that nobody does: whoever
    /// said that it holds it counts, though its catalog is not here.
    fn duty(&self, content: ContentId, holders: &[PeerId]) -> (Copies, Duty) {
        let (copies, duty) = self.view.duty(content, holders);
        if self.asked.is_empty() || !matches!(duty, Duty::Offer { .. }) {
            return (copies, duty);
        }
        let mut all = self.services.held_elsewhere.of(content, self.asked, self.began);
        all.retain(|peer| !holders.contains(peer));
        all.extend(holders);
        match self.view.duty(content, &all) {
            // Nothing is given up for what is not in a catalog.
            (copies, Duty::Trim { .. }) => (copies, Duty::None),
            counted => counted,
        }
    }

    /// The short ones with their sizes.
    fn named(&mut self) -> Result<Vec<Short>, IndexError> {
        let mut named = Vec::new();
        for ((copies, content), (wanted, rank, have)) in std::mem::take(&mut self.shorts) {
            // Gone since the pass began: nothing to copy.
            let Some(record) = self.index.content(&content)? else { continue };
            let bytes = record.facts.bytes;
            named.push(Short { content, bytes, copies, wanted, rank, have });
        }
        Ok(named)
    }

    /// Those of the excess copies that are this node's to give up.
    fn trimmed(&mut self) -> Result<Vec<Excess>, IndexError> {
        let mut trimmed = Vec::new();
        for (content, copies, there) in std::mem::take(&mut self.excess) {
            let kinds = self.index.kept_as_replica(&content)?;
            let Some(record) = self.index.content(&content)? else { continue };
            let kept = record.paths.iter().any(|path| self.services.drops.keep.has(path));
            let trash = self.services.drops.trash.as_ref();
            let pinned = trash.is_some_and(|trash| trash.pinned(&content).is_some());
            if !kept && !pinned && record.paths.len() < MAX_PAGE_ENTRIES {
                let files = record.paths.len() as u64;
                trimmed.extend(self.view.excess(content, copies, &there, &kinds, files));
            }
        }
        Ok(trimmed)
    }
}
