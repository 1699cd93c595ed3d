//! The event loop's part of copies: carries out what the planners want, and tells them what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::event_loop::{EventLoop, Purpose};
use super::News;
use crate::catalog;
use crate::limits::{PROBE_EVERY, RECONCILE_EVERY, SURVEY_NEAR};
use crate::protocol::{CopiesStatus, DedupMode, PeerRequest};
use crate::replication::intake::{Known, Pull};
use crate::replication::repair::{self, Offer};
use crate::types::ContentId;

impl EventLoop {
    /// Carries out all that the planners of copies want done now.
    pub(in crate::node) fn act_on_copies(&mut self) {
        let now = Instant::now();
        let was_cut_off = self.copies.cut_off;
        if self.copies.next_refresh.is_some_and(|at| at <= now) {
            self.copies.refresh(now);
        }
        if self.copies.cut_off != was_cut_off {
            self.tell_cut_off();
        }
        if self.desk.mode == DedupMode::Trash && self.looks.is_near(now, SURVEY_NEAR) {
            self.copies.rounds.hold(now, now + SURVEY_NEAR / 6);
        }
        if self.copies.rounds.next_action(now) {
            let (services, view) = (Arc::clone(&self.services), Arc::clone(&self.copies.view));
            let skip = Arc::new(self.desk.subjects());
            tokio::spawn(async move {
                let surveyed = services.survey(view, skip).await;
                services.net.copies(News::Surveyed(surveyed.map(Box::new))).await;
            });
        }
        while let Some(offer) = self.copies.repair.next_action(now) {
            self.send_offer(offer);
        }
        while let Some(pull) = self.copies.intake.next_action() {
            self.begin_pull(pull);
        }
        if self.copies.next_probe <= now {
            self.copies.next_probe = now + PROBE_EVERY;
            self.copies.absence.awake(now);
            self.begin_probe();
        }
        if self.copies.next_reconcile <= now {
            self.copies.next_reconcile = now + RECONCILE_EVERY;
            self.begin_reconcile();
        }
    }

    fn tell_cut_off(&self) {
        let message = if self.copies.cut_off {
            "most other nodes have vanished at once: this node takes itself for cut off, and waits longer \
             before it makes new copies"
        } else {
            "this node does not take itself for cut off any more"
        };
        self.emit(NodeEvent::Warning { message: message.to_owned() });
    }

    fn send_offer(&self, Offer { peer, contents }: Offer) {
        let services = Arc::clone(&self.services);
        let contents = contents.into_iter().map(|content| (content, self.copies.repair.copies(&content)));
        let contents = contents.collect();
        tokio::spawn(async move {
            let answers = services.offer(peer, contents).await;
            services.net.copies(News::Offered { peer, answers }).await;
        });
    }

    fn begin_pull(&mut self, pull: Pull) {
        let (content, from) = (pull.offered.content, pull.from.clone());
        // Who decides alike also describes alike: what it says need not be computed again.
        let own = self.desk.own().version;
        let alike =
            |peer: &&PeerId| self.desk.decides().get(peer).is_some_and(|theirs| theirs.version == own);
        let describes = from.iter().find(alike).copied().filter(|_| own != 0);
        self.copies.sizes.insert(content, pull.offered.bytes);
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            // A panic must not keep its place in the queue for ever.
            let task = tokio::spawn({
                let services = Arc::clone(&services);
                async move { services.take_copy(pull, describes).await }
            });
            let ok = task.await.unwrap_or(false);
            services.net.copies(News::Pulled { content, from, ok }).await;
        });
    }

    fn begin_probe(&mut self) {
        let live = Arc::clone(&self.live.borrow());
        let Some(peer) = self.copies.next_probed(&live) else { return };
        let number = self.copies.probes.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            if let Some(ok) = services.probe(peer, number).await {
                services.net.copies(News::Delivered { peer, ok }).await;
            }
        });
    }

    fn begin_reconcile(&mut self) {
        let live = Arc::clone(&self.live.borrow());
        let Some(peer) = self.copies.next_in_turn(&live) else { return };
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            if services.is_wrong_about(peer).await {
                services.net.copies(News::Wrong(peer)).await;
            }
        });
    }

    /// The member's catalog is pulled from its beginning; until it is here, what was known stays.
    fn read_anew(&mut self, now: Instant, peer: PeerId) {
        tracing::warn!(%peer, "what was known of its pictures was wrong: reading all of it again");
        let Some((_, head)) = self.catalogs.progress(&peer) else { return };
        self.catalogs.on_event(now, catalog::Event::MemberUp { peer, head, known: None });
    }

    pub(in crate::node) fn on_copies(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Surveyed(surveyed) => {
                let was_drained = self.copies.is_drained();
                self.copies.surveyed(now, surveyed);
                self.wish_for_less();
                self.tell_settled();
                if self.copies.is_drained() && !was_drained {
                    self.emit(NodeEvent::Drained);
                }
            }
            News::Offered { peer, answers: Some(answers) } => {
                self.copies.repair.on_event(now, repair::Event::Answered { peer, answers });
            }
            News::Offered { peer, answers: None } => {
                self.copies.repair.on_event(now, repair::Event::Failed(peer));
            }
            News::Incoming { from, offers, room, reply } => {
                let going = |content: &ContentId| self.desk.is_dropping(content);
                let known: HashMap<ContentId, Known> = offers
                    .iter()
                    .map(|(offered, known)| {
                        (offered.content, if going(&offered.content) { Known::Unwanted } else { *known })
                    })
                    .collect();
                let known = |content: &ContentId| known.get(content).copied().unwrap_or(Known::Unwanted);
                let offers = offers.into_iter().map(|(offered, _)| offered).collect();
                let _ = reply.send(self.copies.intake.offered(from, offers, &known, room));
            }
            News::Pulled { content, from, ok } => self.copies.pulled(now, content, &from, ok),
            News::Wrong(peer) => self.read_anew(now, peer),
            News::Delivered { peer, ok } => self.copies.delivered(now, peer, ok),
            News::Drain { cancel, reply } => {
                self.drain(now, cancel);
                let _ = reply.send(self.copies.drain_status());
            }
        }
    }

    /// Tells once that every content has its copies, and again after it was not so.
    fn tell_settled(&mut self) {
        let Some((census, _)) = self.copies.last else { return };
        let settled = census.contents > 0 && census.short == 0;
        if settled && !self.copies.settled {
            self.emit(NodeEvent::Settled { contents: census.contents, copies: self.copies.own.copies });
        }
        self.copies.settled = settled;
    }

    /// Makes ready to leave, or not any more; the others hear of it at once.
    pub(in crate::node) fn drain(&mut self, now: Instant, cancel: bool) {
        if self.copies.draining.is_some() != cancel {
            return;
        }
        self.copies.draining = (!cancel).then_some(now);
        self.copies.intake.close(!cancel);
        self.hello.keeps.draining = !cancel;
        self.copies.refresh(now);
        let live: Vec<PeerId> = self.live.borrow().keys().copied().collect();
        for peer in live {
            self.ask(peer, PeerRequest::Hello(self.hello.clone()), Purpose::Hello);
        }
    }

    pub(in crate::node) fn copies_status(&self) -> CopiesStatus {
        let room = self.services.replicas.room().unwrap_or(0);
        self.copies.status(Instant::now(), room)
    }
}
