//! The event loop's part of looking for duplicates: when, and what becomes of the findings.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinError;

use super::super::NodeEvent;
use super::super::event_loop::EventLoop;
use super::super::finder::{Findings, LookSettings};
use crate::dedup::looks;
use crate::limits::SURVEY_PATIENCE;
use crate::protocol::{DedupMode, Refusal};
use crate::replication::stabilize;

/// What a look ended with.
pub(in crate::node) type Looked = Result<Findings, Refusal>;

impl EventLoop {
    /// Begins a look when it is time for one.
    pub(in crate::node) fn act_on_looks(&mut self) {
        if self.desk.mode == DedupMode::Off {
            return;
        }
        while self.looks.next_action(Instant::now()).is_some() {
            let settings = LookSettings {
                own: self.desk.own(),
                decides: self.desk.decides().clone(),
                keep: self.services.drops.keep.clone(),
            };
            let (services, refused) = (Arc::clone(&self.services), self.desk.refused());
            self.looking.spawn(async move { services.look(&settings, refused).await });
        }
    }

    /// A scan is done, the first one or a later one, and so many files are still arriving.
    pub(in crate::node) fn folder_known(&mut self, unsettled: u64) {
        let folder = if unsettled > 0 { looks::Folder::Arriving } else { looks::Folder::Quiet };
        self.looks.on_event(Instant::now(), looks::Event::Folder(folder));
    }

    /// Something that a look may see has changed.
    pub(in crate::node) fn look_soon(&mut self) {
        self.looks.on_event(Instant::now(), looks::Event::Changed);
    }

    /// The copies may have changed. With looks, the survey waits for the next one: what is about to
    /// go need not be copied. But in a large swarm looks are rare, and a new picture has one copy.
    pub(in crate::node) fn survey_soon(&mut self) {
        let now = Instant::now();
        let event = match self.desk.mode {
            DedupMode::Trash => stabilize::Event::ChangedUntil(now + SURVEY_PATIENCE),
            DedupMode::Report | DedupMode::Off => stabilize::Event::Changed,
        };
        self.copies.on_event(now, event);
    }

    pub(in crate::node) fn on_looked(&mut self, looked: Result<Looked, JoinError>) {
        let findings = match looked {
            Ok(Ok(findings)) => Some(findings),
            Ok(Err(refusal)) => {
                tracing::warn!(refusal.message, "looking for duplicates");
                None
            }
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                tracing::error!(%error, "looking for duplicates");
                None
            }
        };
        self.copies.on_event(Instant::now(), stabilize::Event::Changed);
        let contents = findings.as_ref().map_or(0, |findings| findings.shown.contents);
        // A holder that was silent is asked again.
        let ok = findings.as_ref().is_some_and(|findings| findings.shown.not_described == 0);
        self.looks.on_event(Instant::now(), looks::Event::Ended { ok, contents });
        let Some(Findings { shown, wishes }) = findings else { return };
        tracing::debug!(
            groups_left_out = shown.left_out,
            too_few_holders = shown.own_short,
            not_compared = shown.not_compared,
            not_described = shown.not_described,
            "looked for duplicates"
        );
        self.emit(NodeEvent::Looked {
            contents: shown.contents,
            duplicates: shown.own_losers,
            probable: shown.own_probable,
            wishes: wishes.len() as u64,
        });
        self.desk.saw(shown.own_losers, shown.own_probable);
        self.desk.found(wishes, self.hello.images);
    }
}
