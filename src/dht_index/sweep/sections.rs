//! Which parts of the keyspace are published, and when they are due again.
//!
//! The keyspace has [`COUNT`] sections of the same size. One is due again after five to six
//! eighths of [`REPUBLISH_EVERY`], spread so that nodes that began together don't renew together;
//! the last quarter of the interval is what renewing all sections may take. A node with few keys
//! renews all sections that are nearly due in one go, one with many goes from section to
//! section.

use std::time::{Duration, Instant};

use crate::backoff::Jitter;
use crate::dht_index::spans::Spans;
use crate::limits::{RECORD_TTL, RENEWAL_KEYS, REPUBLISH_EVERY};

/// Sections of the keyspace: one bit each of a number. With a million keys a section has 15,625.
pub(super) const COUNT: usize = 64;

/// Bits of a place below those that tell the section.
const SHIFT: u32 = 64 - COUNT.trailing_zeros();

/// A section that is due so soon is renewed with one that is.
const EARLY: Duration = Duration::from_secs(REPUBLISH_EVERY.as_secs() / 8);

#[derive(Debug, Clone)]
struct Section {
    /// When it was published, and how long before that if this was before the start.
    done: Option<(Instant, Duration)>,
    due: Instant,
    /// It is being published: not all who should have it have it.
    running: bool,
    /// Nodes that are waited for.
    owing: u32,
    /// Nodes that are responsible here and can be reached.
    serving: u32,
}

/// All sections.
#[derive(Debug)]
pub(super) struct Sections {
    origin: Instant,
    sections: Vec<Section>,
    /// Not before this is the next one renewed.
    next_renewal: Instant,
}

/// The sections that a set of places touches.
pub(super) fn mask(spans: &Spans) -> u64 {
    spans.iter().fold(0, |mask, (from, to)| {
        let (first, last) = (from >> SHIFT, to >> SHIFT);
        mask | (u64::MAX << first) & (u64::MAX >> (63 - last))
    })
}

/// All places of a section.
fn places(section: usize) -> (u64, u64) {
    let first = (section as u64) << SHIFT;
    (first, first | ((1 << SHIFT) - 1))
}

impl Sections {
    pub(super) fn new(now: Instant) -> Self {
        let section = Section { done: None, due: now, running: true, owing: 0, serving: 0 };
        Self { origin: now, sections: vec![section; COUNT], next_renewal: now }
    }

    pub(super) fn origin(&self) -> Instant {
        self.origin
    }

    /// Takes over how long ago each section was published; returns those of which the records
    /// are still there.
    pub(super) fn resume(&mut self, now: Instant, ages: &[Option<Duration>], jitter: &mut Jitter) -> Spans {
        let wait = due_after(jitter);
        let mut fresh = Vec::new();
        for (at, (section, age)) in self.sections.iter_mut().zip(ages).enumerate() {
            if age.is_some_and(|age| age >= RECORD_TTL) {
                continue;
            }
            // One that was being published goes on: some have it already.
            fresh.push(places(at));
            if let Some(age) = *age {
                section.done = Some((now, age));
                section.due = now + wait.saturating_sub(age);
                section.running = false;
            }
        }
        Spans::of(fresh)
    }

    pub(super) fn ages(&self, now: Instant) -> Vec<Option<Duration>> {
        let age = |(at, before): (Instant, Duration)| now.saturating_duration_since(at) + before;
        self.sections.iter().map(|section| section.done.map(age)).collect()
    }

    /// Of `total` keys, those in sections that are not published.
    pub(super) fn unpublished(&self, total: u64) -> u64 {
        let sections = self.sections.iter().filter(|section| section.done.is_none()).count();
        (total * sections as u64).div_ceil(COUNT as u64)
    }

    /// A key is nowhere that is not on its way as a new one.
    pub(super) fn unpublish(&mut self, place: u64) {
        if let Some(section) = self.sections.get_mut((place >> SHIFT) as usize) {
            section.done = None;
            section.running = true;
        }
    }

    /// A node's masks of where it owes and where it serves have changed.
    pub(super) fn recount(&mut self, before: (u64, u64), after: (u64, u64)) {
        if before == after {
            return;
        }
        for (at, section) in self.sections.iter_mut().enumerate() {
            let count =
                |number: &mut u32, before: u64, after: u64| match ((before >> at) & 1, (after >> at) & 1) {
                    (0, 1) => *number += 1,
                    (1, 0) => *number = number.saturating_sub(1),
                    _ => {}
                };
            count(&mut section.owing, before.0, after.0);
            count(&mut section.serving, before.1, after.1);
        }
    }

    /// Sections that nobody is waited for in any more are published.
    pub(super) fn settle(&mut self, now: Instant, jitter: &mut Jitter) {
        let mut wait = None;
        for section in &mut self.sections {
            if section.running && section.owing == 0 && section.serving > 0 {
                section.running = false;
                section.done = Some((now, Duration::ZERO));
                // The same for all: so they stay together.
                section.due = now + *wait.get_or_insert_with(|| due_after(jitter));
            }
        }
    }

    /// The sections to be renewed now, if any.
    pub(super) fn start_due(&mut self, now: Instant, total: u64) -> Option<Spans> {
        if now < self.next_renewal {
            return None;
        }
        let first = self.sections.iter().position(|section| !section.running && section.due <= now)?;
        let most = (RENEWAL_KEYS / (total / COUNT as u64 + 1)).clamp(1, COUNT as u64);
        let mut due = Vec::new();
        for (at, section) in self.sections.iter_mut().enumerate().skip(first) {
            if !section.running && section.due <= now + EARLY && (due.len() as u64) < most {
                section.running = true;
                due.push(places(at));
            }
        }
        self.next_renewal = now + REPUBLISH_EVERY / 4 * due.len() as u32 / COUNT as u32;
        Some(Spans::of(due))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.sections.iter().filter(|section| !section.running).map(|section| section.due).min()?;
        Some(due.max(self.next_renewal))
    }
}

fn due_after(jitter: &mut Jitter) -> Duration {
    jitter.between(REPUBLISH_EVERY * 5 / 8, REPUBLISH_EVERY * 3 / 4)
}
