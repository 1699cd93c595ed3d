//! When the bands of which own pictures are told to whom.
//!
//! All of them every [`REPUBLISH_EVERY`], at rest ([`Pass::all`]). New pictures and those that are
//! gone at once. When the membership has changed, what is now for other nodes than before, and
//! everything to those that came: they keep it in memory, and may have just started. Nodes that
//! did not take what they were told are told again, with growing pauses.
//!
//! One pass is under way at a time, and reads the pictures page by page: neither this planner nor
//! who carries it out grows with their number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;

use super::bands::{Bands, Keepers};
use crate::backoff::Jitter;
use crate::limits::{
    BAND_REPLICAS, BANDS_PATIENCE, BANDS_RETRY_FIRST, BANDS_RETRY_LONGEST, BANDS_SETTLE, MAX_BANDS_FRESH,
    REPUBLISH_EVERY,
};
use crate::types::ContentId;

/// An own picture, or one that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// Its hash.
    pub hash: [u8; 32],
    /// Its content.
    pub content: ContentId,
}

/// What the planner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is there; it may know nothing.
    Up(PeerId),
    /// It is gone.
    Down(PeerId),
    /// The node holds this now.
    Added(Shown),
    /// It holds it no more.
    Removed(Shown),
    /// The action that was begun has ended. Nodes that did not take everything; and whether all
    /// own pictures could be read.
    Ended {
        /// Those.
        failed: BTreeSet<PeerId>,
        /// They could.
        ok: bool,
    },
}

/// What is to be done. Each ends with [`Event::Ended`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Go through all own pictures.
    Pass(Pass),
    /// Tell of these; `true`: it is here, `false`: it is gone.
    Fresh(Vec<(Shown, bool)>),
}

/// A way through all own pictures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pass {
    /// Everybody is told everything, and the node rests between pages. Else only what has changed
    /// since the last pass.
    pub all: bool,
    /// These are told everything in any case.
    pub owed: BTreeSet<PeerId>,
}

/// The plan for a node's bands.
#[derive(Debug)]
pub struct BandPlan {
    jitter: Jitter,
    fresh: BTreeMap<Shown, bool>,
    /// Since when there is something in `fresh`.
    fresh_since: Option<Instant>,
    owed: BTreeSet<PeerId>,
    /// When the membership's changes are acted on.
    change_due: Option<Instant>,
    all_due: Instant,
    /// An action is under way.
    running: bool,
    /// It is this pass.
    pass: Option<Pass>,
    failures: u32,
    /// Those that failed are not told before.
    not_before: Option<Instant>,
}

impl BandPlan {
    /// Of a node that starts: everything is told as soon as members have had time to connect.
    #[must_use]
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            jitter: Jitter::new(seed),
            fresh: BTreeMap::new(),
            fresh_since: None,
            owed: BTreeSet::new(),
            change_due: None,
            all_due: now + BANDS_SETTLE,
            running: false,
            pass: None,
            failures: 0,
            not_before: None,
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Up(peer) => {
                self.owed.insert(peer);
                // The last that came is waited for, but a departure that is due earlier is not put off.
                let due = now + BANDS_SETTLE;
                self.change_due = Some(self.change_due.map_or(due, |earlier| earlier.min(due)));
                self.not_before = None;
            }
            Event::Down(peer) => {
                self.owed.remove(&peer);
                self.change_due.get_or_insert(now + BANDS_PATIENCE);
            }
            Event::Added(shown) => self.note(now, shown, true),
            Event::Removed(shown) => self.note(now, shown, false),
            Event::Ended { failed, ok } => self.ended(now, failed, ok),
        }
    }

    /// What to do next; `None` until an event or [`BandPlan::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        if self.next_wakeup().is_none_or(|at| at > now) {
            return None;
        }
        if self.fresh_since.take().is_some() {
            self.running = true;
            return Some(Action::Fresh(std::mem::take(&mut self.fresh).into_iter().collect()));
        }
        let all = self.all_due <= now;
        if all {
            self.all_due = now + self.jitter.between(REPUBLISH_EVERY * 7 / 8, REPUBLISH_EVERY);
        }
        let pass = Pass { all, owed: std::mem::take(&mut self.owed) };
        self.change_due = None;
        self.not_before = None;
        self.running = true;
        self.pass = Some(pass.clone());
        Some(Action::Pass(pass))
    }

    /// When to call [`BandPlan::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        if self.running {
            return None;
        }
        let owed = self.not_before.filter(|_| !self.owed.is_empty());
        let early = [self.fresh_since, self.change_due, owed];
        early.into_iter().flatten().chain([self.all_due]).min()
    }

    /// Nodes that are to be told everything.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    fn note(&mut self, now: Instant, shown: Shown, here: bool) {
        if self.fresh.len() >= MAX_BANDS_FRESH && !self.fresh.contains_key(&shown) {
            // Nothing of it is lost: the pass tells what is here, and what is gone expires.
            self.fresh.clear();
            self.fresh_since = None;
            self.all_due = now;
            return;
        }
        self.fresh.insert(shown, here);
        self.fresh_since.get_or_insert(now);
    }

    fn ended(&mut self, now: Instant, failed: BTreeSet<PeerId>, ok: bool) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        let was = self.pass.take();
        let failed_any = !failed.is_empty() || !ok;
        self.owed.extend(failed);
        if !ok {
            // What it was to tell is not known any more.
            self.owed.extend(was.iter().flat_map(|pass| pass.owed.iter().copied()));
            self.all_due = self.all_due.min(now + BANDS_RETRY_FIRST);
        }
        if failed_any {
            self.failures = self.failures.saturating_add(1);
            let pause = self.jitter.pause(self.failures, BANDS_RETRY_FIRST, BANDS_RETRY_LONGEST);
            self.not_before = Some(now + pause);
        } else if was.is_some() {
            self.failures = 0;
        }
    }
}

/// Who is to be told which bands of an own picture, and which not any more, `before` being who
/// kept what until now. Bands at a node are told all together: a message says what they are, not
/// what is new.
#[must_use]
pub fn changes(
    before: Option<&Keepers>,
    now: &Keepers,
    pass: &Pass,
    hash: &[u8; 32],
) -> BTreeMap<PeerId, Bands> {
    let mut due = now.assign(hash, BAND_REPLICAS);
    let Some(before) = before.filter(|_| !pass.all) else { return due };
    for (peer, old) in before.assign(hash, BAND_REPLICAS) {
        if due.get(&peer) == Some(&old) && !pass.owed.contains(&peer) {
            due.remove(&peer);
        } else {
            // None at all takes back what it had.
            due.entry(peer).or_default();
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::dht_index::keyspace::Keyspace;

    const SECOND: Duration = Duration::from_secs(1);

    fn shown(number: u8) -> Shown {
        Shown { hash: [number; 32], content: ContentId([number; 32]) }
    }

    fn done() -> Event {
        Event::Ended { failed: BTreeSet::new(), ok: true }
    }

    /// A node that has told everything once.
    fn settled() -> (BandPlan, Instant) {
        let start = Instant::now();
        let mut plan = BandPlan::new(start, 1);
        assert_eq!(plan.next_action(start), None, "members connect first");
        let at = plan.next_wakeup().unwrap();
        assert!(matches!(plan.next_action(at), Some(Action::Pass(Pass { all: true, .. }))));
        assert_eq!((plan.next_action(at), plan.next_wakeup()), (None, None), "one at a time");
        plan.on_event(at, done());
        (plan, at)
    }

    #[test]
    fn new_pictures_are_told_at_once_and_all_within_eight_hours() {
        let (mut plan, now) = settled();
        plan.on_event(now, Event::Added(shown(1)));
        plan.on_event(now, Event::Removed(shown(2)));
        plan.on_event(now, Event::Removed(shown(1)));
        plan.on_event(now, Event::Added(shown(1)));
        assert!(plan.next_wakeup().unwrap() <= now);
        let Some(Action::Fresh(fresh)) = plan.next_action(now) else { panic!() };
        assert_eq!(fresh, [(shown(1), true), (shown(2), false)]);
        plan.on_event(now, done());
        let at = plan.next_wakeup().unwrap();
        assert!(at > now + REPUBLISH_EVERY / 2 && at <= now + REPUBLISH_EVERY);
        assert!(matches!(plan.next_action(at), Some(Action::Pass(Pass { all: true, .. }))));
    }

    #[test]
    fn who_comes_is_told_everything_and_who_goes_is_waited_for() {
        let (mut plan, now) = settled();
        let [one, two] = [(); 2].map(|()| PeerId::random());
        plan.on_event(now, Event::Down(one));
        assert_eq!(plan.next_wakeup(), Some(now + BANDS_PATIENCE));
        plan.on_event(now + SECOND, Event::Up(two));
        let at = plan.next_wakeup().unwrap();
        assert_eq!(at, now + SECOND + BANDS_SETTLE);
        let Some(Action::Pass(pass)) = plan.next_action(at) else { panic!() };
        assert_eq!((pass.all, pass.owed.iter().copied().collect::<Vec<_>>()), (false, vec![two]));
        // It did not take it, and then it was gone.
        plan.on_event(at, Event::Ended { failed: [two].into(), ok: true });
        let again = plan.next_wakeup().unwrap();
        assert!(again > at && again <= at + BANDS_RETRY_FIRST);
        plan.on_event(at, Event::Down(two));
        assert_eq!(plan.next_wakeup(), Some(at + BANDS_PATIENCE));
        assert_eq!(plan.owed(), 0);
    }

    #[test]
    fn a_flood_of_new_pictures_becomes_one_pass() {
        let (mut plan, now) = settled();
        for number in 0..=MAX_BANDS_FRESH as u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            plan.on_event(now, Event::Added(Shown { hash, content: ContentId(hash) }));
        }
        assert!(matches!(plan.next_action(now), Some(Action::Pass(Pass { all: true, .. }))));
    }

    #[test]
    fn what_could_not_be_read_is_told_again() {
        let (mut plan, now) = settled();
        let peer = PeerId::random();
        plan.on_event(now, Event::Up(peer));
        let at = plan.next_wakeup().unwrap();
        assert!(plan.next_action(at).is_some());
        plan.on_event(at, Event::Ended { failed: BTreeSet::new(), ok: false });
        let again = plan.next_wakeup().unwrap();
        assert!(again > at);
        let Some(Action::Pass(pass)) = plan.next_action(at + BANDS_RETRY_FIRST) else { panic!() };
        assert!(pass.all && pass.owed.contains(&peer));
    }

    fn keepers(me: PeerId, peers: &[PeerId]) -> Keepers {
        Keepers::new(Keyspace::new(peers.iter().copied()), me)
    }

    proptest! {
        /// After a change of membership, the nodes have what they ought to have, as if all had been
        /// told anew; and not more is told than what changed.
        #[test]
        fn changes_lead_to_the_same_as_everything(
            before in 1usize..12, gone in 0usize..4, came in 0usize..4, hash: [u8; 32]
        ) {
            let me = PeerId::random();
            let old: Vec<PeerId> = (0..before).map(|_| PeerId::random()).collect();
            let mut new = old[gone.min(before)..].to_vec();
            let arrivals: BTreeSet<PeerId> = (0..came).map(|_| PeerId::random()).collect();
            new.extend(&arrivals);
            let (then, now) = (keepers(me, &old), keepers(me, &new));
            let mut kept = then.assign(&hash, BAND_REPLICAS);
            let told = changes(Some(&then), &now, &Pass { all: false, owed: arrivals.clone() }, &hash);
            for (peer, bands) in &told {
                prop_assert!(kept.get(peer) != Some(bands), "it had that already");
                kept.insert(*peer, *bands);
            }
            kept.retain(|peer, bands| !bands.is_empty() && (*peer == me || new.contains(peer)));
            prop_assert_eq!(&kept, &now.assign(&hash, BAND_REPLICAS));
            // One that was away for a moment is told all, though nothing has changed.
            let owed = Pass { all: false, owed: old.iter().copied().collect() };
            let again = changes(Some(&then), &then, &owed, &hash);
            let mut all = then.assign(&hash, BAND_REPLICAS);
            all.remove(&me);
            prop_assert_eq!(again, all);
        }
    }
}
