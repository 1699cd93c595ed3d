//! What one node is to hold, and lacks.

use std::collections::VecDeque;
use std::time::Instant;

use crate::dht_index::spans::Spans;
use crate::limits::MAX_SPANS;

/// A delivery under way.
#[derive(Debug)]
pub(super) struct Sending {
    /// New keys, by their numbers.
    pub(super) numbers: Vec<u64>,
    pub(super) spans: Spans,
}

/// One node.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// Where there are keys that it is responsible for. Roughly: in ranges of no great number.
    wanted: Spans,
    /// Where it may lack some of these.
    lacking: Spans,
    /// While it is responsible for nothing: where it holds the records of *all* own keys.
    held: Spans,
    /// Whether the keyspace is spread over it, among others.
    placed: bool,
    /// Since when it is not there.
    pub(super) gone: Option<Instant>,
    /// New keys that it is to get, by their numbers.
    pub(super) queue: VecDeque<u64>,
    pub(super) sending: Option<Sending>,
    /// Deliveries in a row that failed.
    pub(super) failures: u32,
    /// Until when it is not sent to.
    pub(super) paused: Option<Instant>,
    /// Sections in which it owes, and in which it is responsible, as they are counted.
    pub(super) owes: u64,
    pub(super) serves: u64,
}

impl Holder {
    /// One that went, and holds this.
    pub(super) fn remembered(since: Instant, held: Spans) -> Self {
        Self { held, gone: Some(since), ..Self::default() }
    }

    pub(super) fn wanted(&self) -> &Spans {
        &self.wanted
    }

    /// What is to be sent to it.
    pub(super) fn owed(&self) -> &Spans {
        &self.lacking
    }

    /// Whether nothing can be sent to it now.
    pub(super) fn is_out(&self) -> bool {
        self.gone.is_some() || self.paused.is_some()
    }

    /// Whether it holds what nobody sends it new keys for.
    pub(super) fn is_beyond(&self) -> bool {
        !self.placed && !self.held.is_empty()
    }

    /// Where it holds all records of this node, given what is surely its share.
    pub(super) fn holds(&self, surely: &Spans) -> Spans {
        let mut held = if self.placed { surely.without(&self.lacking) } else { self.held.clone() };
        held.forget_shortest(MAX_SPANS);
        held
    }

    /// Its share was surely `before` and is at most `after`; `None`: it has none.
    pub(super) fn place(&mut self, before: Option<&Spans>, after: Option<Spans>) {
        let empty = Spans::none();
        let before = before.unwrap_or(&empty);
        let Some(mut wanted) = after else {
            if self.placed {
                self.held = self.holds(before);
            }
            (self.placed, self.wanted, self.lacking) = (false, Spans::none(), Spans::none());
            return;
        };
        let gained = if self.placed { wanted.without(before) } else { wanted.without(&self.held) };
        wanted.fill_gaps(MAX_SPANS / 2);
        self.lacking = self.lacking.union(&gained).intersection(&wanted);
        self.lacking.fill_gaps(MAX_SPANS);
        (self.placed, self.wanted, self.held) = (true, wanted, Spans::none());
    }

    /// It got all of these.
    pub(super) fn got(&mut self, spans: &Spans) {
        self.lacking = self.lacking.without(spans);
        self.lacking.fill_gaps(MAX_SPANS);
    }

    /// It did not get a key at this place.
    pub(super) fn lacks(&mut self, place: u64) {
        if self.placed {
            self.lacking = self.lacking.union(&Spans::of([(place, place)]));
            self.lacking.fill_gaps(MAX_SPANS);
        } else {
            self.held.remove(place, place);
            self.held.forget_shortest(MAX_SPANS);
        }
    }

    /// What it holds there is to be renewed.
    pub(super) fn lacks_all(&mut self, spans: &Spans) {
        if self.placed {
            self.lacking = self.lacking.union(&self.wanted.intersection(spans));
            self.lacking.fill_gaps(MAX_SPANS);
        } else {
            self.held = self.held.without(spans);
        }
    }
}
