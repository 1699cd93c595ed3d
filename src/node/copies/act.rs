//! The event loop's part of copies: carries out what the planner wants, and tells it what came of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::event_loop::{EventLoop, Purpose};
use super::News;
use crate::catalog;
use crate::limits::{COMPARE_AGAIN, MAX_COMPARISONS, SURVEY_NEAR};
use crate::protocol::{CopiesStatus, DedupMode, Hello, OfferAnswer, PeerRequest};
use crate::replication::intake::{Known, Pull};
use crate::replication::stabilize::{Action, Event};
use crate::replication::survey::View;
use crate::types::ContentId;

impl EventLoop {
    /// Carries out all that the planner of copies wants done now.
    pub(in crate::node) fn act_on_copies(&mut self) {
        let now = Instant::now();
        if self.desk.mode == DedupMode::Trash && self.looks.is_near(now, SURVEY_NEAR) {
            self.copies.on_event(now, Event::LookNear(now + SURVEY_NEAR / 6));
        }
        while let Some(action) = self.copies.next_action(now) {
            match action {
                Action::Survey(view) => self.begin_survey(view),
                Action::Offer { peer, contents } => self.send_offer(peer, contents),
                Action::Pull(pull) => self.begin_pull(pull),
                Action::Probe { peer, number } => self.begin_probe(peer, number),
                Action::Compare(peer) => self.begin_comparison(peer),
                Action::CutOff(cut_off) => self.tell_cut_off(cut_off),
                Action::Settled { contents, copies } => self.emit(NodeEvent::Settled { contents, copies }),
                Action::Drained => self.emit(NodeEvent::Drained),
            }
        }
    }

    /// What a member told of itself, when it is a trusted one.
    pub(in crate::node) fn copies_heard(&mut self, peer: PeerId, hello: &Hello) {
        if self.is_trusted(&peer) {
            let Hello { folder, decides, keeps, .. } = hello.clone();
            let heard = Event::Heard { peer, folder, copies: decides.copies, keeps };
            self.copies.on_event(Instant::now(), heard);
        }
    }

    fn begin_survey(&self, view: Arc<View>) {
        // Who leaves takes nothing as done: what is about to go here may not go in time.
        let skip = if self.copies.is_draining() { BTreeSet::new() } else { self.desk.subjects() };
        let asked = self.catalogs.asked().copied().collect();
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            let surveyed = services.survey(view, skip, asked).await;
            services.net.copies(News::Told(Event::Surveyed(surveyed.map(Box::new)))).await;
        });
    }

    fn tell_cut_off(&self, cut_off: bool) {
        let message = if cut_off {
            "most other nodes have vanished at once: this node takes itself for cut off, and waits longer \
             before it makes new copies"
        } else {
            "this node does not take itself for cut off any more"
        };
        self.emit(NodeEvent::Warning { message: message.to_owned() });
    }

    fn send_offer(&self, peer: PeerId, contents: Vec<(ContentId, u16)>) {
        let services = Arc::clone(&self.services);
        let kept = !self.catalogs.asked().any(|asked| *asked == peer);
        tokio::spawn(async move {
            let answers = services.offer(peer, contents.clone()).await;
            let coming: Vec<_> = answers
                .iter()
                .flatten()
                .filter(|(_, answer)| !kept && *answer == OfferAnswer::Coming)
                .filter_map(|(content, _)| contents.iter().find(|(offered, _)| offered == content).copied())
                .collect();
            let held = answers.iter().flatten().any(|(_, answer)| *answer == OfferAnswer::Held);
            services.net.copies(News::Told(Event::Answered { peer, answers })).await;
            if !kept && held {
                services.net.copies(News::Told(Event::Changed)).await;
            }
            if services.has_come(peer, coming).await {
                services.net.copies(News::Told(Event::Changed)).await;
            }
        });
    }

    fn begin_pull(&self, pull: Pull) {
        let content = pull.offered.content;
        // Who decides alike also describes alike: what it says need not be computed again.
        let own = self.desk.own().version;
        let alike =
            |peer: &&PeerId| self.desk.decides().get(peer).is_some_and(|theirs| theirs.version == own);
        let describes = pull.from.iter().find(alike).copied().filter(|_| own != 0);
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            // A panic must not keep its place in the queue for ever.
            let task = tokio::spawn({
                let services = Arc::clone(&services);
                async move { services.take_copy(pull, describes).await }
            });
            let ok = task.await.unwrap_or(false);
            services.net.copies(News::Told(Event::Pulled { content, ok })).await;
        });
    }

    fn begin_probe(&self, peer: PeerId, number: u64) {
        // Numbers in a row lead to contents in a row.
        let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            if let Some(event) = services.probe(peer, number).await {
                services.net.copies(News::Told(event)).await;
            }
        });
    }

    pub(in crate::node) fn begin_comparison(&self, peer: PeerId) {
        let services = Arc::clone(&self.services);
        tokio::spawn(async move {
            // A member that has just come up may not know this node as one yet.
            for _ in 0..MAX_COMPARISONS {
                match services.is_wrong_about(peer).await {
                    Some(true) => return services.net.copies(News::Wrong(peer)).await,
                    Some(false) => return,
                    None => tokio::time::sleep(COMPARE_AGAIN).await,
                }
            }
        });
    }

    /// The member's catalog is pulled from its beginning; until it is here, what was known stays.
    fn read_anew(&mut self, now: Instant, peer: PeerId) {
        tracing::warn!(%peer, "what was known of its pictures was wrong: reading all of it again");
        let Some((_, head)) = self.catalogs.progress(&peer) else { return };
        self.catalogs.on_event(now, catalog::Event::MemberUp { peer, head, known: None, images: 0 });
    }

    pub(in crate::node) fn on_copies(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Told(event) => {
                let surveyed = matches!(event, Event::Surveyed(_));
                self.copies.on_event(now, event);
                if surveyed {
                    self.wish_for_less();
                }
            }
            News::Incoming { from, offers, room, reply } => {
                let (offers, known): (Vec<_>, HashMap<ContentId, Known>) = offers
                    .into_iter()
                    .map(|(offered, known)| (offered.clone(), (offered.content, known)))
                    .unzip();
                let known = |content: &ContentId| match known.get(content) {
                    Some(known) if !self.desk.is_dropping(content) => *known,
                    _ => Known::Unwanted,
                };
                let _ = reply.send(self.copies.offered(from, offers, &known, room));
            }
            News::Wrong(peer) => self.read_anew(now, peer),
            News::Drain { cancel, reply } => {
                self.drain(now, cancel);
                let _ = reply.send(self.copies.drain_status());
            }
        }
    }

    /// Makes ready to leave, or not any more; the others hear of it at once.
    fn drain(&mut self, now: Instant, cancel: bool) {
        self.copies.on_event(now, Event::Drain { cancel });
        if self.hello.keeps.draining != cancel {
            return;
        }
        self.hello.keeps.draining = !cancel;
        let live: Vec<PeerId> = self.live.borrow().keys().copied().collect();
        for peer in live {
            self.ask(peer, PeerRequest::Hello(self.hello_to(&peer)), Purpose::Hello);
        }
    }

    pub(in crate::node) fn copies_status(&self) -> CopiesStatus {
        let room = self.services.replicas.room().unwrap_or(0);
        self.copies.status(Instant::now(), room)
    }
}
