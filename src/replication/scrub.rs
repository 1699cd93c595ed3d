//! When which own content is read again, so that a disk that loses bits is found out while
//! another node still has them.
//!
//! A pass walks the own contents in their order, one at a time. Each has its share of the time that is
//! left, by its bytes: the pass ends when the period does, whatever was added or removed on the way.
//! It is reckoned from the last read and not from a timer, so a machine that is on for an hour a day
//! goes on where its last hour ended, and is not late for ever.
//!
//! A pass that somebody asked for goes from the beginning, at once and without rests. One that is
//! under way goes on: asked for each night, a pass of two nights would never end.
//!
//! Not guaranteed: a content that arrives behind the place where a pass is waits for the next one. Its
//! bytes were read when it arrived.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{SCRUB_IDLE, SCRUB_LOOK, SCRUB_REST, SCRUB_SAVE};
use crate::types::ContentId;

/// The time by two clocks: one that never jumps, and one that outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For rests.
    pub steady: Instant,
    /// Milliseconds since 1970, for periods.
    pub wall_ms: u64,
}

/// How far a pass is. What has to be remembered over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the pass began, in milliseconds since 1970, as the other times here.
    pub began_ms: u64,
    /// The last content that was read.
    pub after: Option<ContentId>,
    /// Bytes read.
    pub bytes: u64,
    /// Contents read.
    pub contents: u64,
    /// When the last one was read.
    pub read_ms: u64,
    /// Somebody asked for this pass.
    pub asked: bool,
    /// When the last whole pass ended.
    pub last_full_ms: Option<u64>,
}

impl Position {
    fn begin(now: Now, asked: bool, last_full_ms: Option<u64>) -> Self {
        let (began_ms, read_ms) = (now.wall_ms, now.wall_ms);
        Self { began_ms, after: None, bytes: 0, contents: 0, read_ms, asked, last_full_ms }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The contents after the place asked for, each with its bytes; none: that was the last. With the
    /// bytes of all there are.
    Found {
        /// In their order.
        contents: Vec<(ContentId, u64)>,
        /// Of all own contents.
        total: u64,
    },
    /// The index could not be read.
    Failed,
    /// The content was read, whatever that found.
    Read,
    /// The position is on the disk, or could not be written.
    Saved,
    /// Somebody wants a pass now.
    Asked,
}

/// What is to be done. Each is answered by one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look up the contents after this one.
    Page {
        /// `None`: from the beginning.
        after: Option<ContentId>,
    },
    /// Read all copies of it that are here.
    Read {
        /// Which.
        content: ContentId,
        /// With rests.
        gently: bool,
    },
    /// Remember this.
    Save(Position),
}

/// The planner.
#[derive(Debug)]
pub struct Scrub {
    /// `None`: only when asked.
    period_ms: Option<u64>,
    position: Position,
    page: VecDeque<(ContentId, u64)>,
    total: u64,
    /// A page or a read is under way.
    busy: bool,
    /// What is being read; `None` when its pass is over.
    reading: Option<(ContentId, u64)>,
    /// The answer that comes next belongs to a pass that is over.
    stale: bool,
    saving: bool,
    /// The position is to be saved now.
    save_now: bool,
    unsaved: bool,
    saved: Instant,
    rest_until: Instant,
    wakeup: Option<Instant>,
}

impl Scrub {
    /// A planner that goes on at `known`. A `period` of nothing: only when asked.
    #[must_use]
    pub fn new(now: Now, period: Duration, known: Option<Position>) -> Self {
        let period_ms = Some(millis(period)).filter(|period| *period > 0);
        let mut position = known.unwrap_or_else(|| Position::begin(now, false, None));
        // A clock that went back makes nothing wait for the time it said before.
        position.began_ms = position.began_ms.min(now.wall_ms);
        position.read_ms = position.read_ms.clamp(position.began_ms, now.wall_ms);
        Self {
            period_ms,
            position,
            page: VecDeque::new(),
            total: 0,
            busy: false,
            reading: None,
            stale: false,
            saving: false,
            save_now: known.is_none(),
            unsaved: false,
            saved: now.steady,
            rest_until: now.steady,
            wakeup: None,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Bytes of all own contents, as last heard.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes in what happened.
    pub fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Asked => self.asked(now),
            Event::Saved => self.saving = false,
            Event::Found { .. } | Event::Failed | Event::Read if std::mem::take(&mut self.stale) => {
                self.busy = false;
            }
            Event::Found { contents, total } => {
                self.busy = false;
                self.total = total;
                if contents.is_empty() {
                    self.end(now);
                }
                self.page = contents.into();
            }
            Event::Failed => {
                self.busy = false;
                self.rest_until = now.steady + SCRUB_IDLE;
            }
            Event::Read => self.read(now),
        }
    }

    fn asked(&mut self, now: Now) {
        if self.position.asked {
            return;
        }
        self.position = Position::begin(now, true, self.position.last_full_ms);
        self.page.clear();
        self.reading = None;
        self.stale = self.busy;
        self.save_now = true;
        self.rest_until = now.steady;
    }

    fn read(&mut self, now: Now) {
        self.busy = false;
        let Some((content, bytes)) = self.reading.take() else { return };
        let position = &mut self.position;
        position.after = Some(content);
        position.bytes = position.bytes.saturating_add(bytes);
        position.contents += 1;
        position.read_ms = now.wall_ms.max(position.began_ms);
        self.unsaved = true;
        if !position.asked {
            self.rest_until = now.steady + SCRUB_REST;
        }
    }

    fn end(&mut self, now: Now) {
        self.position = Position::begin(now, false, Some(now.wall_ms));
        self.save_now = true;
        self.rest_until = now.steady + SCRUB_IDLE;
    }

    /// What is to be done now.
    pub fn next_action(&mut self, now: Now) -> Option<Action> {
        self.wakeup = None;
        let due = self.save_now || (self.unsaved && now.steady.duration_since(self.saved) >= SCRUB_SAVE);
        if due && !self.saving {
            (self.saving, self.save_now, self.unsaved) = (true, false, false);
            self.saved = now.steady;
            return Some(Action::Save(self.position));
        }
        if self.busy || (self.period_ms.is_none() && !self.position.asked) {
            return None;
        }
        if self.rest_until > now.steady {
            self.wakeup = Some(self.rest_until);
            return None;
        }
        let Some(&(content, bytes)) = self.page.front() else {
            self.busy = true;
            return Some(Action::Page { after: self.position.after });
        };
        let wait = if self.position.asked { Duration::ZERO } else { self.wait(now, bytes) };
        if wait > Duration::ZERO {
            self.wakeup = Some(now.steady + wait.min(SCRUB_LOOK));
            return None;
        }
        self.page.pop_front();
        self.busy = true;
        self.reading = Some((content, bytes));
        Some(Action::Read { content, gently: !self.position.asked })
    }

    /// When [`Scrub::next_action`] may have something, if nothing happens before. `None` until it
    /// was asked, and while it waits for an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.wakeup
    }

    /// How long a content of so many bytes waits for its turn.
    fn wait(&self, now: Now, bytes: u64) -> Duration {
        let Some(period) = self.period_ms else { return Duration::ZERO };
        let Position { began_ms, read_ms, bytes: done, .. } = self.position;
        let left = began_ms.saturating_add(period).saturating_sub(read_ms).min(period);
        // What was added since the total was heard must not make the share more than all.
        let to_read = self.total.saturating_sub(done).max(bytes).max(1);
        let share = u128::from(left) * u128::from(bytes) / u128::from(to_read);
        let share = u64::try_from(share).unwrap_or(left);
        let passed = now.wall_ms.saturating_sub(read_ms);
        Duration::from_millis(share.saturating_sub(passed))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
