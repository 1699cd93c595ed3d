//! The event loop's part of drops: the planners, and who waits for which decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::oneshot;

use super::super::NodeEvent;
use super::super::boot_clock::{self, SleepWatch};
use super::super::event_loop::EventLoop;
use crate::brake::{Brake, Verdict};
use crate::limits::{MAX_LEASES, PURGE_EVERY, REMOVAL_RETRY};
use crate::protocol::{Decides, DedupMode, DedupStatus, Denial};
use crate::replication::drop::{self, Action, AskId, Drops, Me, Plan, Request, Rules};
use crate::replication::lease::{BootTime, Terms};
use crate::replication::stabilize;
use crate::replication::wishes::{self, Wish, Wishes};
use crate::store::trash::EntryId;
use crate::types::{ContentId, FolderId, Standing};

/// Why a content can't go now although a person says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in crate::node) enum Hindrance {
    /// Something that passes.
    #[error("{0}")]
    Wait(String),
    /// The brake.
    #[error(
        "{would_take} of {files} files would have gone within a day, and {allowed} may: say \
         `p2pimg client dedup approve` to this node, then remove it again"
    )]
    Braked {
        /// Files that would go, with those that went.
        would_take: u64,
        /// Files that may go.
        allowed: u64,
        /// Files in the folder.
        files: u64,
    },
}

/// The right to remove a content; given back on drop.
#[derive(Debug)]
pub(in crate::node) struct Removing(#[allow(dead_code, reason = "held, never read")] Arc<()>);

/// What became of a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum LeaseDecision {
    /// It is promised.
    Granted,
    /// It is not.
    Denied(Denial),
}

/// The planners of drops, and what they wait for.
#[derive(Debug)]
pub(in crate::node) struct Desk {
    drops: Drops,
    wishes: Wishes,
    pub(in crate::node) mode: DedupMode,
    pub(in crate::node) obstacle: Option<String>,
    /// What the other members decide by.
    decides: HashMap<PeerId, Decides>,
    own: Decides,
    members: BTreeMap<PeerId, FolderId>,
    waiting: HashMap<AskId, (PeerId, oneshot::Sender<LeaseDecision>)>,
    next_ask: u64,
    sleep: SleepWatch,
    /// Purges under way; no wishes.
    purging: BTreeMap<ContentId, EntryId>,
    next_purge: Instant,
    /// What is being removed because a person says so, and how many files.
    removing: HashMap<ContentId, (Weak<()>, u64)>,
    next_removals: Instant,
    trash_for: Duration,
    /// Own duplicates and probable ones, at the last look.
    seen: (u64, u64),
    /// What the last look and the last survey wish away.
    superseded: Vec<Wish>,
    excess: Vec<Wish>,
    /// A drop has ended since `excess` was wished away: it may have to be wished for once more.
    ended: bool,
    /// Files in the folder.
    files: u64,
}

/// How a node drops.
#[derive(Debug, Clone)]
pub(in crate::node) struct DeskSettings {
    pub(in crate::node) mode: DedupMode,
    pub(in crate::node) obstacle: Option<String>,
    pub(in crate::node) own: Decides,
    pub(in crate::node) lease: Duration,
    pub(in crate::node) brake: Brake,
    pub(in crate::node) trash_for: Duration,
    /// Files that the trash took since yesterday.
    pub(in crate::node) past: u64,
}

impl Desk {
    pub(in crate::node) fn new(me: PeerId, folder: FolderId, settings: DeskSettings) -> Self {
        let now = boot_clock::now();
        let terms = Terms::of(settings.lease);
        let mut wishes = Wishes::new(settings.brake);
        wishes.on_event(now, wishes::Event::Past(settings.past));
        Self {
            drops: Drops::new(now, Me { peer: me, folder }, terms, Rules::default()),
            wishes,
            mode: settings.mode,
            obstacle: settings.obstacle,
            decides: HashMap::new(),
            own: settings.own,
            members: BTreeMap::new(),
            waiting: HashMap::new(),
            next_ask: 0,
            sleep: SleepWatch::new(),
            purging: BTreeMap::new(),
            next_purge: Instant::now() + settings.lease,
            removing: HashMap::new(),
            next_removals: Instant::now() + REMOVAL_RETRY,
            trash_for: settings.trash_for,
            seen: (0, 0),
            superseded: Vec::new(),
            excess: Vec::new(),
            ended: false,
            files: 0,
        }
    }

    /// What `peer` said that it decides by.
    pub(in crate::node) fn heard(&mut self, peer: PeerId, decides: Decides) {
        self.decides.insert(peer, decides);
    }

    pub(in crate::node) fn gone(&mut self, peer: &PeerId) {
        self.decides.remove(peer);
    }

    /// What the members decide by, as they say.
    pub(in crate::node) fn decides(&self) -> &HashMap<PeerId, Decides> {
        &self.decides
    }

    /// The most copies that this node or one of these asks for.
    pub(in crate::node) fn most_copies(&self, holders: &[PeerId]) -> u16 {
        let told = holders.iter().filter_map(|holder| self.decides.get(holder));
        told.map(|decides| decides.copies).fold(self.own.copies.max(1), u16::max)
    }

    /// What this node decides by.
    pub(in crate::node) fn own(&self) -> Decides {
        self.own
    }

    /// What the last look saw of the own contents.
    pub(in crate::node) fn saw(&mut self, duplicates: u64, probable: u64) {
        self.seen = (duplicates, probable);
    }

    /// Pairs that turned out not to be the same picture.
    pub(in crate::node) fn refused(&self) -> Arc<std::collections::BTreeSet<(ContentId, ContentId)>> {
        Arc::new(self.wishes.refused().clone())
    }

    /// The trusted members that decide alike, with their folders. Whether that is news.
    pub(in crate::node) fn set_members(
        &mut self,
        live: &HashMap<PeerId, Standing>,
        folders: &HashMap<PeerId, FolderId>,
    ) -> bool {
        let alike = |peer: &PeerId| {
            let decides = self.decides.get(peer).copied().unwrap_or_default();
            (decides.version, decides.lease_s) == (self.own.version, self.own.lease_s) && decides.version != 0
        };
        let members: BTreeMap<PeerId, FolderId> = live
            .iter()
            .filter(|(peer, standing)| **standing == Standing::Trusted && alike(peer))
            .filter_map(|(peer, _)| Some((*peer, *folders.get(peer)?)))
            .collect();
        if members != self.members {
            self.members.clone_from(&members);
            self.drops.on_event(boot_clock::now(), drop::Event::Members(members));
            return true;
        }
        false
    }

    /// Something that a drop waited for.
    pub(in crate::node) fn on_drop(&mut self, event: drop::Event) {
        self.drops.on_event(boot_clock::now(), event);
    }

    /// Duplicates that may go now, and the files in the folder.
    pub(in crate::node) fn found(&mut self, wishes: Vec<Wish>, files: u64) {
        // What can't go has to be copied like anything else.
        if self.mode == DedupMode::Trash && self.obstacle.is_none() {
            self.superseded = wishes;
            self.files = files;
            self.wish();
        }
    }

    /// Copies that may go now, because there are more than enough.
    pub(in crate::node) fn found_excess(&mut self, excess: &[Wish]) {
        // Files of the folder go only where duplicates do.
        let hidden = |wish: &&Wish| wish.files == 0 || self.mode == DedupMode::Trash;
        let excess: Vec<Wish> = excess.iter().filter(hidden).cloned().collect();
        // A drop that was called off and is still at work takes no wish: when it has ended, the same
        // finding is news again.
        if excess != self.excess || self.ended {
            self.ended = false;
            self.excess = excess;
            self.wish();
        }
    }

    fn wish(&mut self) {
        if self.obstacle.is_some() {
            return;
        }
        let known = self.subjects();
        let excess = self.excess.iter().filter(|wish| !known.contains(&wish.plan.subject));
        let wishes = self.superseded.iter().chain(excess).cloned().collect();
        self.wishes.on_event(boot_clock::now(), wishes::Event::Found { wishes, files: self.files });
    }

    /// Contents that are about to go: being dropped, or waiting for it.
    pub(in crate::node) fn subjects(&self) -> BTreeSet<ContentId> {
        self.superseded.iter().map(|wish| wish.plan.subject).collect()
    }

    /// Whether a content is on its way out.
    pub(in crate::node) fn is_dropping(&self, content: &ContentId) -> bool {
        self.drops.is_dropping(*content)
    }

    /// A person lets the run go on. How many files may go.
    pub(in crate::node) fn approve(&mut self) -> u64 {
        self.wishes.on_event(boot_clock::now(), wishes::Event::Approved);
        self.wishes.approved()
    }

    /// Whether a content may go now because a person says so; `in_folder`: contents
    /// of the folder, which may be fewer than its files.
    pub(in crate::node) fn begin_removal(
        &mut self,
        content: ContentId,
        files: u64,
        in_folder: u64,
    ) -> Result<Removing, Hindrance> {
        let now = boot_clock::now();
        self.removing.retain(|_, (token, _)| token.strong_count() > 0);
        if self.removing.contains_key(&content) {
            return Err(Hindrance::Wait("it is being removed just now".to_owned()));
        }
        if let Some(until) = self.drops.removal_waits_until(now, content) {
            let seconds = until.0.saturating_sub(now.0).div_ceil(1000);
            let why = format!("another node may rely on it for the next {seconds} s");
            return Err(Hindrance::Wait(why));
        }
        // What is under way would pass by the brake together.
        let under_way: u64 = self.removing.values().map(|(_, files)| files).sum();
        let verdict = self.wishes.judge_removal(now, files.saturating_add(under_way), in_folder.max(files));
        if let Verdict::Wait { would_take, allowed, files } = verdict {
            return Err(Hindrance::Braked { would_take, allowed, files });
        }
        let token = Arc::new(());
        self.removing.insert(content, (Arc::downgrade(&token), files));
        Ok(Removing(token))
    }

    /// So many files went because a person said so.
    pub(in crate::node) fn removed(&mut self, content: ContentId, files: u64) {
        self.removing.remove(&content);
        self.wishes.on_event(boot_clock::now(), wishes::Event::Past(files));
    }

    fn is_removing(&self, content: ContentId) -> bool {
        self.removing.get(&content).is_some_and(|(token, _)| token.strong_count() > 0)
    }

    /// Somebody asks for a lease. What only this side knows is filled in here.
    pub(in crate::node) fn asked(&mut self, mut request: Request, reply: oneshot::Sender<LeaseDecision>) {
        if self.is_removing(request.content) {
            let _ = reply.send(LeaseDecision::Denied(Denial::Intends));
            return;
        }
        self.waiting.retain(|_, (_, reply)| !reply.is_closed());
        if self.waiting.len() >= MAX_LEASES {
            let _ = reply.send(LeaseDecision::Denied(Denial::Busy));
            return;
        }
        self.next_ask += 1;
        request.ask = AskId(self.next_ask);
        let theirs = self.decides.get(&request.asker).map_or(0, |decides| decides.copies);
        request.view.copies = self.own.copies.max(theirs);
        self.waiting.insert(request.ask, (request.asker, reply));
        self.drops.on_event(boot_clock::now(), drop::Event::Asked(request));
    }

    fn decided(&mut self, to: PeerId, ask: AskId, decision: LeaseDecision) {
        if let Some((asker, reply)) = self.waiting.remove(&ask)
            && asker == to
        {
            let _ = reply.send(decision);
        }
    }

    pub(in crate::node) fn next_wakeup(&self) -> Option<Instant> {
        let boot = self.drops.next_wakeup().into_iter().chain(self.wishes.next_wakeup()).min();
        boot.map(boot_clock::instant).into_iter().chain([self.next_purge, self.next_removals]).min()
    }

    /// The desk's part of the status.
    pub(in crate::node) fn tell(&self, status: &mut DedupStatus) {
        status.mode = self.mode;
        status.obstacle.clone_from(&self.obstacle);
        (status.duplicates, status.probable) = self.seen;
        status.dropping = u32::try_from(self.wishes.under_way()).unwrap_or(u32::MAX);
        status.dropped = self.wishes.dropped();
        status.brake = match self.wishes.held().or_else(|| self.wishes.refused_removal()) {
            Some(Verdict::Wait { would_take, allowed, files }) => {
                Some(crate::protocol::BrakeStatus { would_take, allowed, files })
            }
            _ => None,
        };
        let quiet = self.drops.leases().quiet_until().0.saturating_sub(boot_clock::now().0);
        status.quiet_s = quiet.div_ceil(1000);
    }
}

impl EventLoop {
    /// What the last survey wishes away is handed on.
    pub(in crate::node) fn wish_for_less(&mut self) {
        self.desk.files = self.hello.images;
        self.desk.found_excess(self.copies.excess());
    }

    /// Carries out all that drops want done now.
    pub(in crate::node) fn act_on_drops(&mut self) {
        let now = boot_clock::now();
        if self.desk.sleep.slept() {
            self.copies.on_event(Instant::now(), stabilize::Event::Slept);
            tracing::info!("the machine slept: nothing is removed for one lease");
            self.desk.drops.on_event(now, drop::Event::Resumed);
        }
        loop {
            if let Some(action) = self.desk.drops.next_action(now) {
                self.on_drop_action(now, action);
            } else if let Some(action) = self.desk.wishes.next_action(now) {
                self.on_wish_action(now, action);
            } else {
                break;
            }
        }
        if self.desk.next_purge <= Instant::now() {
            self.look_at_calendar();
        }
        if self.desk.next_removals <= Instant::now() {
            self.desk.next_removals = Instant::now() + REMOVAL_RETRY;
            let services = Arc::clone(&self.services);
            tokio::spawn(async move { services.retry_removals().await });
        }
    }

    fn on_wish_action(&mut self, now: BootTime, action: wishes::Action) {
        match action {
            // Its files in the trash are being proved just now: later.
            wishes::Action::Begin(plan) if self.desk.purging.contains_key(&plan.subject) => {
                let refused = wishes::Event::Ended { subject: plan.subject, how: drop::End::Refused };
                self.desk.wishes.on_event(now, refused);
            }
            // What stays for it, or it itself, is going just now.
            wishes::Action::Begin(plan)
                if self.desk.is_removing(plan.keeper) || self.desk.is_removing(plan.subject) =>
            {
                let cancelled = wishes::Event::Ended { subject: plan.subject, how: drop::End::Cancelled };
                self.desk.wishes.on_event(now, cancelled);
            }
            wishes::Action::Begin(plan) => self.begin(now, plan, None),
            wishes::Action::Replan(plan) => {
                self.services.drops.replan(&plan);
                self.desk.drops.on_event(now, drop::Event::Replan(plan));
            }
            wishes::Action::Cancel(subject) => {
                self.desk.drops.on_event(now, drop::Event::Cancel(subject));
            }
            wishes::Action::Braked { would_take, allowed, files } => {
                self.emit(NodeEvent::Braked { would_take, allowed, files });
            }
        }
    }

    fn begin(&mut self, now: BootTime, plan: Plan, trashed: Option<EntryId>) {
        if self.desk.drops.is_dropping(plan.subject) {
            return;
        }
        self.services.drops.begin(&plan, trashed);
        self.desk.drops.on_event(now, drop::Event::Begin(plan));
    }

    fn on_drop_action(&mut self, now: BootTime, action: Action) {
        match action {
            Action::Grant { to, ask, .. } => self.desk.decided(to, ask, LeaseDecision::Granted),
            Action::Deny { to, ask, why } => self.desk.decided(to, ask, LeaseDecision::Denied(why)),
            // The bytes go with the job.
            Action::Discard { .. } => {}
            Action::Ended { subject, how } => self.on_drop_ended(now, subject, how),
            action => {
                let services = Arc::clone(&self.services);
                tokio::spawn(async move {
                    if let Some(event) = Arc::clone(&services).carry_out(action).await {
                        services.net.dropped(event).await;
                    }
                });
            }
        }
    }

    fn on_drop_ended(&mut self, now: BootTime, subject: ContentId, how: drop::End) {
        tracing::debug!(%subject, ?how, "a drop ended");
        let job = self.services.drops.end(subject);
        if self.desk.purging.remove(&subject).is_none() {
            self.desk.wishes.on_event(now, wishes::Event::Ended { subject, how });
            self.desk.ended = true;
            self.look_soon();
            self.survey_soon();
        }
        // Its files may be large: not in the loop.
        tokio::task::spawn_blocking(move || drop(job));
    }

    /// Files whose time in the trash is over.
    fn look_at_calendar(&mut self) {
        self.desk.next_purge = Instant::now() + PURGE_EVERY;
        // What a person removed needs no proof, and goes whatever is done with duplicates.
        let all = self.desk.mode == DedupMode::Trash && self.desk.obstacle.is_none();
        let (services, keep_for, copies) =
            (Arc::clone(&self.services), self.desk.trash_for, self.desk.own.copies);
        tokio::spawn(async move {
            let due = services.purge_due(keep_for, copies, all).await;
            for (plan, entry) in due.plans {
                services.net.purge(plan, entry).await;
            }
        });
    }

    /// One file of the calendar is to be proved and deleted.
    pub(in crate::node) fn on_purge(&mut self, mut plan: Plan, entry: EntryId) {
        plan.copies = plan.copies.max(self.desk.most_copies(&plan.holders));
        if self.desk.purging.len() < crate::limits::MAX_PURGES && !self.desk.drops.is_dropping(plan.subject) {
            self.desk.purging.insert(plan.subject, entry.clone());
            self.begin(boot_clock::now(), plan, Some(entry));
        }
    }
}
