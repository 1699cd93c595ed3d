//! The planner's other half: the requests of others, and what happens from outside.

use super::{
    Action, BootTime, ContentId, Drops, End, Entry, MAX_DROP_ACTIONS, MAX_WITNESSES, Remnant, Request, Stage,
};
use crate::replication::lease::Denial;

impl Drops {
    /// A request for a lease.
    pub(super) fn asked(&mut self, now: BootTime, request: Request) {
        if self.actions.len() >= MAX_DROP_ACTIONS {
            return; // The asker takes silence for a no.
        }
        let (to, ask, content) = (request.asker, request.ask, request.content);
        let action = match self.judge(now, &request) {
            Ok(()) => Action::Grant { to, ask, content, witnesses: request.witnesses },
            Err(why) => Action::Deny { to, ask, why },
        };
        self.push(action);
    }

    /// Whether to promise, and if so, promises.
    fn judge(&mut self, now: BootTime, request: &Request) -> Result<(), Denial> {
        match self.members.get(&request.asker) {
            None if self.rules.trusted_only => return Err(Denial::NotTrusted),
            _ if self.shares_folder() => return Err(Denial::SharedFolder),
            _ => {}
        }
        if !request.held {
            return Err(Denial::NotHeld);
        }
        if self.intends_itself(now, request) {
            return Err(Denial::Intends);
        }
        if request.witnesses_after > MAX_WITNESSES {
            return Err(Denial::TooManyWitnesses);
        }
        let kept = request.view.without_asker.saturating_add(u16::from(request.asker_keeps));
        if kept < request.view.copies {
            return Err(Denial::BelowCopies);
        }
        self.leases.grant(now, request.content, request.asker)?;
        if let Some(drop) = self.drops.get_mut(&request.content) {
            drop.stale = true;
        }
        Ok(())
    }

    /// Whether an own drop stands in the way. Of two that wait for each other, the one with
    /// the lower rank gives up, as long as it has written nothing.
    fn intends_itself(&mut self, now: BootTime, request: &Request) -> bool {
        let content = request.content;
        if self.remnants.contains_key(&content) {
            return true;
        }
        let Some(drop) = self.drops.get(&content).filter(|drop| drop.intends()) else { return false };
        let mutual = drop.plan.keeper == request.subject;
        if mutual && request.asker_rank > drop.plan.rank && drop.can_yield() {
            self.fail(now, content);
            return false;
        }
        self.rules.intent_denies
    }

    /// The machine slept: attempts under way rest on old answers.
    pub(super) fn resumed(&mut self, now: BootTime) {
        self.leases.resumed(now);
        if !self.rules.quiet_start {
            return;
        }
        let subjects: Vec<_> = self.drops.keys().copied().collect();
        for subject in subjects {
            self.doubt(now, subject);
        }
    }

    /// Somebody wants `content` kept.
    pub(super) fn pinned(&mut self, now: BootTime, content: ContentId) {
        if !self.rules.pins {
            return;
        }
        if let Some(drop) = self.drops.get_mut(&content) {
            drop.last = Some(End::Pinned);
            self.doubt(now, content);
        }
    }

    /// Stops the attempt at `subject` where it is. What is being done right now is waited
    /// for, and then undone.
    fn doubt(&mut self, now: BootTime, subject: ContentId) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        match drop.stage {
            Stage::Waiting(_) | Stage::Asking(_) if drop.last == Some(End::Pinned) => {
                self.end(subject, End::Pinned);
            }
            Stage::Asking(_) | Stage::AskingAgain(_) => self.fail(now, subject),
            Stage::Waiting(_) | Stage::PuttingBack | Stage::Stuck(_) | Stage::Withdrawing => {}
            _ => drop.doubt = true,
        }
    }

    /// The journal's entry at the start: what is final stays so, all else goes back.
    pub(super) fn recovered(&mut self, now: BootTime, subject: ContentId, entry: Entry) {
        let entry = if self.rules.roll_back { entry } else { Entry::Final };
        self.remnants.insert(subject, Remnant { entry, due: Some(now), failures: 0 });
    }

    pub(super) fn redo(&mut self, subject: ContentId) {
        let Some(remnant) = self.remnants.get_mut(&subject) else { return };
        remnant.due = None;
        let action = match remnant.entry {
            Entry::Intent => Action::PutBack { subject },
            Entry::Final => Action::Withdraw { subject },
        };
        self.push(action);
    }

    pub(super) fn put_back(&mut self, now: BootTime, subject: ContentId, ok: bool) {
        if let Some(remnant) = self.remnants.get_mut(&subject) {
            if ok {
                self.remnants.remove(&subject);
                return;
            }
            remnant.failures = remnant.failures.saturating_add(1);
            let failures = remnant.failures;
            let due = Some(now.after(self.waiting_time(failures)));
            if let Some(remnant) = self.remnants.get_mut(&subject) {
                remnant.due = due;
            }
            return;
        }
        let Some(drop) = self.drops.get(&subject).filter(|drop| drop.stage == Stage::PuttingBack) else {
            return;
        };
        match ok {
            true if drop.plan.why == super::Why::Purge && drop.last.is_some() => {
                self.end(subject, End::CameBack);
            }
            true => self.pause(now, subject),
            false => {
                let wait = self.waiting_time(drop.failures);
                self.set(subject, Stage::Stuck(now.after(wait)));
            }
        }
    }
}

impl super::Drop {
    /// `holder` was no help: next time it is asked last.
    pub(super) fn last_choice(&mut self, holder: libp2p::PeerId) {
        if let Some(at) = self.plan.holders.iter().position(|known| *known == holder) {
            let holder = self.plan.holders.remove(at);
            self.plan.holders.push(holder);
        }
    }
}
