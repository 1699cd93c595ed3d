//! How long a member may be away before its copies stop counting.
//!
//! Two costs are weighed. To stop counting too early copies gigabytes because a laptop was
//! closed; to stop too late leaves pictures with one copy. So a member is given as long as it
//! usually stays away, as this node has seen it, and one that was never seen to come back is
//! given little. The long patience is for what has one more verified copy: whoever repairs
//! sees to that, and does not wait for the last one.
//!
//! A node that loses most of the others at once is more likely to be cut off than they are to be
//! gone. It then gives everybody more time ([`CUT_OFF_FACTOR`]), but not for ever: half a swarm may
//! really be gone.
//!
//! What is away is told by connections, and what doesn't work by what failed: a frozen disk
//! answers pings. Not guaranteed: that two nodes judge alike. Each has seen other absences.
//!
//! An absence that began with [`Event::Down`] lasts until [`Event::Up`]; nothing but this brings a
//! member back that is [`State::Down`]. Time passes by itself: see [`Absence::next_wakeup`].

mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;

use self::member::{Link, Member};
use crate::limits::{
    CUT_OFF_FACTOR, CUT_OFF_LEAST, CUT_OFF_WINDOW, FAILING_FORGIVEN, MAX_KNOWN_PEERS, MAX_REPAIR_AFTER,
    SUSPECT_AFTER,
};
pub use crate::protocol::MemberState as State;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Connected, and a member. After an absence it ends a drain: who still leaves says so again.
    Up(PeerId),
    /// The connection is gone, or nothing was answered. Of one that was never up: it is known
    /// from before this node started, and its absence begins now.
    Down(PeerId),
    /// It answers, but its fetches or proofs fail. Means nothing of one that is unknown.
    Failing(PeerId),
    /// A fetch or proof succeeded.
    Working(PeerId),
    /// It said that it leaves for good. Means nothing of one that is unknown.
    Draining(PeerId),
    /// It took that back.
    Staying(PeerId),
    /// It is no member any more.
    Forgotten(PeerId),
}

/// Whoever's time would end after `from` and before `until` is given until `until`: for times at
/// which this node could not see the others.
#[derive(Debug, Clone, Copy)]
struct Mercy {
    from: Instant,
    until: Instant,
}

/// Of those who were here, more than half vanished.
#[derive(Debug, Clone)]
struct CutOff {
    of: BTreeSet<PeerId>,
    until: Instant,
}

/// Who is here, who is away, and for how long it is given.
#[derive(Debug, Clone)]
pub struct Absence {
    repair_after: Duration,
    members: BTreeMap<PeerId, Member>,
    mercy: Option<Mercy>,
    cut_off: Option<CutOff>,
    /// The last time that was told: what this node slept came after it.
    awake: Option<Instant>,
}

impl Absence {
    /// Knows nobody. `repair_after`: for a member that was never seen to come back; at most
    /// [`MAX_REPAIR_AFTER`].
    #[must_use]
    pub fn new(repair_after: Duration) -> Self {
        Self {
            repair_after: repair_after.min(MAX_REPAIR_AFTER),
            members: BTreeMap::new(),
            mercy: None,
            cut_off: None,
            awake: None,
        }
    }

    /// Takes up what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        self.awake(now);
        match event {
            Event::Up(peer) => self.up(now, peer),
            Event::Down(peer) => self.down(now, peer),
            Event::Failing(peer) => self.change(&peer, |member| member.failed = Some(now)),
            Event::Working(peer) => self.change(&peer, |member| member.failed = None),
            Event::Draining(peer) => self.change(&peer, |member| member.draining = true),
            Event::Staying(peer) => self.change(&peer, |member| member.draining = false),
            Event::Forgotten(peer) => {
                self.members.remove(&peer);
                if let Some(cut_off) = &mut self.cut_off {
                    cut_off.of.remove(&peer);
                }
            }
        }
        self.end_cut_off(now);
    }

    /// The machine is awake. Needed only for [`Absence::slept`], now and then when nothing
    /// happens: what passes between the last call and that is taken for sleep.
    pub fn awake(&mut self, now: Instant) {
        self.awake = Some(self.awake.map_or(now, |before| before.max(now)));
    }

    /// The machine slept until now: nobody is judged by that time. Absences go on where they
    /// were, and no one's time ends before it could connect again (but see [`CUT_OFF_FACTOR`]: five
    /// times its time is the most). Who was down stays so.
    pub fn slept(&mut self, now: Instant) {
        let before = self.awake.unwrap_or(now);
        let slept = now.saturating_duration_since(before);
        let mercy = self.mercy;
        for member in self.members.values_mut() {
            match &mut member.link {
                Link::Up { since } => *since += slept,
                Link::Gone(gone) if before < down_at(mercy, gone) => gone.at += slept,
                Link::Unseen | Link::Gone(_) => {}
            }
        }
        if let Some(mercy) = self.mercy.as_mut().filter(|mercy| before < mercy.until) {
            mercy.from += slept;
            mercy.until += slept;
        }
        if let Some(cut_off) = self.cut_off.as_mut().filter(|cut_off| before < cut_off.until) {
            cut_off.until += slept;
        }
        self.have_mercy(now, self.repair_after);
        self.awake(now);
    }

    /// What `peer` is now; unknown ones are [`State::Down`].
    #[must_use]
    pub fn state(&self, now: Instant, peer: &PeerId) -> State {
        self.members.get(peer).map_or(State::Down, |member| self.state_of(now, member))
    }

    /// All known members and what they are now.
    pub fn states(&self, now: Instant) -> impl Iterator<Item = (&PeerId, State)> {
        self.members.iter().map(move |(peer, member)| (peer, self.state_of(now, member)))
    }

    /// The next time at which a state or [`Absence::cut_off`] changes by itself.
    #[must_use]
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let changes = self.members.values().flat_map(|member| {
            let state = self.state_of(now, member);
            let times = self.times(member).into_iter().flatten();
            times.filter(move |at| *at > now && self.state_of(*at, member) != state)
        });
        let cut_off = self.cut_off.as_ref().filter(|_| self.cut_off(now)).map(|cut_off| cut_off.until);
        changes.chain(cut_off).min()
    }

    /// Whether this node believes itself cut off: of the members that were here within
    /// [`CUT_OFF_WINDOW`] (or `repair_after`, when that is shorter), at least [`CUT_OFF_LEAST`], more
    /// than half vanished within it and are still away, and it is not [`CUT_OFF_FACTOR`] times
    /// `repair_after` ago. People should be told. Who leaves as announced is left aside.
    #[must_use]
    pub fn cut_off(&self, now: Instant) -> bool {
        self.cut_off.as_ref().is_some_and(|cut_off| now < cut_off.until && self.most_gone(&cut_off.of))
    }

    /// How long members stayed away, as far as it is remembered; of each the oldest first. For
    /// [`Absence::remember`] after a restart.
    #[must_use]
    pub fn history(&self) -> Vec<(PeerId, Duration)> {
        let of = |(peer, member): (&PeerId, &Member)| {
            let peer = *peer;
            member.stays().map(move |stay| (peer, stay)).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of).collect()
    }

    /// One absence of `peer` that ended before this node started. Forgotten when there are
    /// [`MAX_KNOWN_PEERS`].
    pub fn remember(&mut self, peer: PeerId, away: Duration) {
        if self.members.len() < MAX_KNOWN_PEERS || self.members.contains_key(&peer) {
            self.members.entry(peer).or_default().remember(away);
        }
    }

    fn up(&mut self, now: Instant, peer: PeerId) {
        let repair_after = self.repair_after;
        if let Some(member) = self.known(peer) {
            member.up(now, repair_after);
        }
    }

    fn down(&mut self, now: Instant, peer: PeerId) {
        let repair_after = self.repair_after;
        if self.known(peer).is_some_and(|member| member.down(now, repair_after)) {
            self.begin_cut_off(now);
        }
    }

    fn change(&mut self, peer: &PeerId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(peer) {
            change(member);
        }
    }

    /// The member, a new one if need be; the longest gone makes room for it. `None` when all are
    /// here.
    fn known(&mut self, peer: PeerId) -> Option<&mut Member> {
        if self.members.len() >= MAX_KNOWN_PEERS && !self.members.contains_key(&peer) {
            let gone = self.members.iter().filter_map(|(peer, member)| match &member.link {
                Link::Up { .. } => None,
                Link::Unseen => Some((None, *peer)),
                Link::Gone(gone) => Some((Some(gone.at), *peer)),
            });
            let (_, longest) = gone.min()?;
            self.members.remove(&longest);
        }
        Some(self.members.entry(peer).or_default())
    }

    fn state_of(&self, now: Instant, member: &Member) -> State {
        let failing = member.failed.is_some_and(|at| now < at + FAILING_FORGIVEN);
        match &member.link {
            Link::Unseen => State::Down,
            Link::Gone(gone) if member.draining || now >= down_at(self.mercy, gone) => State::Down,
            Link::Up { .. } if member.draining => State::Draining,
            _ if failing => State::Failing,
            Link::Up { .. } => State::Live,
            Link::Gone(gone) if now < gone.at + SUSPECT_AFTER => State::Suspect,
            Link::Gone(_) => State::Away,
        }
    }

    /// All times at which the member's state may change by itself.
    fn times(&self, member: &Member) -> [Option<Instant>; 3] {
        let gone = match &member.link {
            Link::Gone(gone) => Some(gone),
            Link::Unseen | Link::Up { .. } => None,
        };
        [
            gone.map(|gone| gone.at + SUSPECT_AFTER),
            gone.map(|gone| down_at(self.mercy, gone)),
            member.failed.map(|at| at + FAILING_FORGIVEN),
        ]
    }

    fn most_gone(&self, of: &BTreeSet<PeerId>) -> bool {
        let gone = |peer: &&PeerId| {
            !self.members.get(*peer).is_some_and(|member| matches!(member.link, Link::Up { .. }))
        };
        2 * of.iter().filter(gone).count() > of.len()
    }

    /// Somebody has just vanished: with most of the others?
    fn begin_cut_off(&mut self, now: Instant) {
        // No longer than anybody's patience: who is down already doesn't come back by this.
        let window = CUT_OFF_WINDOW.min(self.repair_after);
        let was_here = |member: &Member| match &member.link {
            _ if member.draining => false,
            Link::Unseen => false,
            Link::Up { .. } => true,
            Link::Gone(gone) => gone.seen && now.saturating_duration_since(gone.at) < window,
        };
        let here = self.members.iter().filter(|(_, member)| was_here(member)).map(|(peer, _)| *peer);
        let mut of: BTreeSet<PeerId> = here.collect();
        if of.len() >= CUT_OFF_LEAST && self.most_gone(&of) {
            if let Some(earlier) = self.cut_off.take_if(|earlier| now < earlier.until) {
                of.extend(earlier.of);
            }
            let time = self.repair_after * CUT_OFF_FACTOR;
            self.have_mercy(now, time);
            self.cut_off = Some(CutOff { of, until: now + time });
        }
        if self.cut_off(now) {
            // An absence that is this node's own says nothing of the others.
            for member in self.cut_off.iter().flat_map(|cut_off| &cut_off.of) {
                if let Some(Member { link: Link::Gone(gone), .. }) = self.members.get_mut(member) {
                    gone.theirs = false;
                }
            }
        }
    }

    /// When half of them are back, the others are given the usual time from now.
    fn end_cut_off(&mut self, now: Instant) {
        if self.cut_off.is_none() || self.cut_off(now) {
            return;
        }
        self.cut_off = None;
        let usual = now + self.repair_after;
        if let Some(mercy) = &mut self.mercy {
            mercy.until = mercy.until.min(usual);
        }
    }

    /// Nobody whose time is not over becomes down before `time` has passed; [`down_at`] has the
    /// exception.
    fn have_mercy(&mut self, now: Instant, time: Duration) {
        let until = now + time;
        self.mercy = Some(match self.mercy {
            Some(mercy) if now < mercy.until => Mercy { from: mercy.from, until: mercy.until.max(until) },
            _ => Mercy { from: now, until },
        });
    }
}

/// When a member that is gone becomes down. Not later than [`CUT_OFF_FACTOR`] times its patience:
/// others that come and go all the time must not hide one that is gone.
fn down_at(mercy: Option<Mercy>, gone: &member::Gone) -> Instant {
    let due = gone.at + gone.patience;
    match mercy {
        Some(mercy) if mercy.from < due => due.max(mercy.until).min(gone.at + gone.patience * CUT_OFF_FACTOR),
        _ => due,
    }
}

#[cfg(test)]
mod tests;
