//! Asking the keeper's holders for leases and proofs, before the rename and after it.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::stage::{Drop, Progress, Proven, Round, Stage};
use super::{Action, Answer, AskId, BootTime, ContentId, Drops, Entry, Why};

impl Drops {
    /// Whom to ask: as many as there must be copies, each in another failure domain, this
    /// node first when its copy counts. `None` when there are too few.
    pub(super) fn targets(&self, subject: ContentId) -> Option<Vec<PeerId>> {
        let drop = self.drops.get(&subject)?;
        // An own copy that is about to go itself counts for nothing.
        let goes =
            self.drops.get(&drop.plan.keeper).is_some_and(Drop::intends) && drop.plan.keeper != subject;
        let own = drop.own && !(goes && self.rules.leases_block);
        let mut targets: Vec<PeerId> = own.then_some(self.me.peer).into_iter().collect();
        let need = if drop.plan.why == Why::Local { 1 } else { usize::from(drop.plan.copies) };
        let mut folders = BTreeSet::from([self.me.folder]);
        let others = if drop.plan.why == Why::Local { &[] } else { drop.plan.holders.as_slice() };
        for holder in others {
            let folder = self.members.get(holder).copied();
            let counts = match folder {
                Some(folder) => folders.insert(folder),
                None => !self.rules.trusted_only,
            };
            if counts && targets.len() < need {
                targets.push(*holder);
            }
        }
        (targets.len() == need).then_some(targets)
    }

    pub(super) fn ask(&mut self, now: BootTime, subject: ContentId, again: bool) {
        let (Some(targets), Some(drop)) = (self.targets(subject), self.drops.get(&subject)) else {
            self.fail(now, subject);
            return;
        };
        let blocked = !again && ((drop.stale && self.rules.recompare) || self.must_wait(now, drop).is_some());
        if blocked || drop.doubt || self.shares_folder() {
            self.fail(now, subject);
            return;
        }
        let (keeper, asker_keeps) = (drop.plan.keeper, drop.own);
        let mut witnesses = drop.witnesses.clone();
        if subject != keeper {
            witnesses.insert(subject);
        }
        let first = self.next_ask;
        self.next_ask += targets.len() as u64;
        let asked: Vec<_> = targets.into_iter().zip((first..).map(AskId)).collect();
        let round = Round::new(now, asked.iter().copied());
        self.set(subject, if again { Stage::AskingAgain(round) } else { Stage::Asking(round) });
        for (to, ask) in asked {
            let witnesses = witnesses.clone();
            self.push(Action::Ask { ask, to, keeper, subject, asker_keeps, witnesses });
        }
    }

    pub(super) fn answered(&mut self, now: BootTime, ask: AskId, from: PeerId, answer: Answer) {
        let trusted = from == self.me.peer || self.members.contains_key(&from);
        if self.rules.trusted_only && !trusted {
            return;
        }
        let (terms, rules) = (self.terms, self.rules);
        let progress = self.drops.iter_mut().find_map(|(subject, drop)| {
            let (Stage::Asking(round) | Stage::AskingAgain(round)) = &mut drop.stage else { return None };
            let progress = round.answer(now, (ask, from, answer), &terms, &rules);
            (progress != Progress::Unrelated).then_some((*subject, progress))
        });
        match progress {
            Some((subject, Progress::All(proven))) => self.proven(now, subject, proven),
            Some((subject, Progress::Failed(holder))) => {
                if let Some(drop) = self.drops.get_mut(&subject) {
                    drop.last_choice(holder);
                }
                self.fail(now, subject);
            }
            Some((_, Progress::More | Progress::Unrelated)) | None => {}
        }
    }

    fn proven(&mut self, now: BootTime, subject: ContentId, proven: Proven) {
        let Some(drop) = self.drops.get_mut(&subject) else { return };
        let (stage, action) = match drop.stage.clone() {
            Stage::Asking(round) if drop.plan.why == Why::Purge => {
                (Stage::Purging(round), Action::Purge { subject })
            }
            Stage::Asking(round) => {
                (Stage::Journaling(proven, round), Action::Journal { subject, entry: Entry::Intent })
            }
            Stage::AskingAgain(round) if !drop.doubt => {
                (Stage::Finishing(round), Action::Journal { subject, entry: Entry::Final })
            }
            _ => return self.fail(now, subject),
        };
        drop.stage = stage;
        self.push(action);
    }
}
