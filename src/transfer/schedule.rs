//! Which chunk to ask of whom next.
//!
//! A window of chunks is in flight. The next chunk goes to the source that is expected to
//! deliver it first: the time a source took per chunk lately, times what it has to do
//! already. So fast sources do most of the work and slow ones still contribute; nobody is
//! asked for the same chunk twice at a time. (Asking two for the last chunks was rejected:
//! deadlines bound what a stuck source can cost, and duplicates would double the load just
//! when a swarm is slow.)
//!
//! Not guaranteed: that chunks arrive in order. A consumer that writes in order asks for
//! [`Schedule::in_order`] and holds at most a window of chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::backoff::Jitter;
use crate::limits::{BUSY_PAUSE_FIRST, BUSY_PAUSE_LONGEST, MAX_BUSY_RETRIES, MAX_TIMEOUTS};

/// Chunks asked of a source whose speed is not known yet, while there are others.
const PROBE: usize = 2;

/// Names a source: the caller's own number for a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u32);

/// Ask `source` for `chunk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Chunk number, from 0.
    pub chunk: u32,
    /// Whom.
    pub source: Source,
}

/// Why a source did not deliver a chunk, the most telling last: when all have failed, this
/// is what a person should hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// It does not have the content (any more).
    Gone,
    /// It has too much to do.
    Busy,
    /// No answer in time, or the connection broke.
    Timeout,
    /// It sent bytes that are not the content's.
    Corrupt,
}

/// What became of a [`Fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The chunk is here and verified.
    Arrived {
        /// Which.
        chunk: u32,
    },
    /// It is not.
    Failed {
        /// Which.
        chunk: u32,
        /// Who failed.
        source: Source,
        /// How.
        kind: Failure,
    },
    /// Another holder was found meanwhile. A source known already, banned or not, stays as
    /// it is.
    Found(Source),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every chunk has arrived.
    Complete,
    /// No source is left. [`Failure::Gone`] when there never was one.
    Failed(Failure),
}

#[derive(Debug)]
struct Worker {
    id: Source,
    in_flight: usize,
    banned: Option<Failure>,
    not_before: Option<Instant>,
    /// Rounds of `busy` in a row. A window of requests refused together is one round:
    /// `round` is noted with each request, and only the present round's refusals count.
    busy: u32,
    round: u32,
    timeouts: u32,
    last_arrival: Option<Instant>,
    per_chunk: Option<Duration>,
}

#[derive(Debug)]
struct Flight {
    worker: usize,
    since: Instant,
    round: u32,
}

/// The plan for one content. Memory: some bytes for each chunk that arrived before an
/// earlier one, at most 65,536 of them.
#[derive(Debug)]
pub struct Schedule {
    chunks: u32,
    window: usize,
    in_order: bool,
    workers: Vec<Worker>,
    jitter: Jitter,
    /// Every chunk below has arrived.
    lowest_missing: u32,
    /// What has arrived from there on.
    ahead: BTreeSet<u32>,
    /// No chunk from here on was asked for.
    next: u32,
    /// Asked for before, to be asked for again.
    again: BTreeSet<u32>,
    in_flight: BTreeMap<u32, Flight>,
}

impl Schedule {
    /// A plan to fetch `chunks` chunks, at most `window` (at least one) at a time.
    #[must_use]
    pub fn new(chunks: u32, window: usize, sources: Vec<Source>) -> Self {
        let mut schedule = Self {
            chunks,
            window: window.max(1),
            in_order: false,
            workers: Vec::with_capacity(sources.len()),
            // Spread matters little here: every transfer has its own rhythm.
            jitter: Jitter::new(u64::from(chunks)),
            lowest_missing: 0,
            ahead: BTreeSet::new(),
            next: 0,
            again: BTreeSet::new(),
            in_flight: BTreeMap::new(),
        };
        for source in sources {
            schedule.found(source);
        }
        schedule
    }

    /// For a consumer that writes in order: no chunk is asked for that is a window or more
    /// beyond the lowest missing one.
    #[must_use]
    pub fn in_order(self) -> Self {
        Self { in_order: true, ..self }
    }

    /// Whether the answer to this fetch is still awaited. An answer that is not awaited is
    /// to be thrown away.
    #[must_use]
    pub fn awaits(&self, fetch: Fetch) -> bool {
        let flight = self.in_flight.get(&fetch.chunk);
        flight.and_then(|f| self.workers.get(f.worker)).is_some_and(|w| w.id == fetch.source)
    }

    /// Chunks that have arrived.
    #[must_use]
    pub fn arrived(&self) -> u32 {
        self.lowest_missing + self.ahead.len() as u32
    }

    /// Takes note of what happened. Events about chunks that are not in flight change
    /// nothing.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Arrived { chunk } => self.chunk_arrived(now, chunk),
            Event::Failed { chunk, source, kind } => self.chunk_failed(now, Fetch { chunk, source }, kind),
            Event::Found(source) => self.found(source),
        }
    }

    /// The next chunk to ask for; `None` until an event or [`Schedule::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Fetch> {
        if self.in_flight.len() >= self.window {
            return None;
        }
        let chunk = self.next_chunk()?;
        let index = self.best_worker(now)?;
        let worker = self.workers.get_mut(index)?;
        worker.in_flight += 1;
        self.in_flight.insert(chunk, Flight { worker: index, since: now, round: worker.round });
        if !self.again.remove(&chunk) {
            self.next += 1;
        }
        Some(Fetch { chunk, source: worker.id })
    }

    /// When a source that was busy may be asked again, if that is what is waited for.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        if self.in_flight.len() >= self.window || self.next_chunk().is_none() {
            return None;
        }
        self.workers.iter().filter(|w| w.banned.is_none()).filter_map(|w| w.not_before).min()
    }

    /// How it ended; `None` while it goes on.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if self.lowest_missing == self.chunks {
            return Some(Outcome::Complete);
        }
        // What is in flight to a banned source may still arrive, and may be all that is missing.
        let missing = (self.chunks - self.arrived()) as usize;
        if self.in_flight.len() == missing || self.workers.iter().any(|w| w.banned.is_none()) {
            return None;
        }
        let telling = self.workers.iter().filter_map(|w| w.banned).max();
        Some(Outcome::Failed(telling.unwrap_or(Failure::Gone)))
    }

    /// Sources not to be asked again, and why.
    pub fn banned(&self) -> impl Iterator<Item = (Source, Failure)> {
        self.workers.iter().filter_map(|w| w.banned.map(|why| (w.id, why)))
    }

    fn found(&mut self, id: Source) {
        if self.workers.iter().any(|w| w.id == id) {
            return;
        }
        self.workers.push(Worker {
            id,
            in_flight: 0,
            banned: None,
            not_before: None,
            busy: 0,
            round: 0,
            timeouts: 0,
            last_arrival: None,
            per_chunk: None,
        });
    }

    fn next_chunk(&self) -> Option<u32> {
        if let Some(chunk) = self.again.first() {
            return Some(*chunk);
        }
        let end = if self.in_order {
            let window = u32::try_from(self.window).unwrap_or(u32::MAX);
            self.lowest_missing.saturating_add(window).min(self.chunks)
        } else {
            self.chunks
        };
        (self.next < end).then_some(self.next)
    }

    /// The source expected to be done first with one chunk more.
    fn best_worker(&self, now: Instant) -> Option<usize> {
        let live = self.workers.iter().filter(|w| w.banned.is_none()).count();
        let ready = self.workers.iter().enumerate().filter(|(_, w)| {
            let rested = w.not_before.is_none_or(|at| at <= now);
            let probed = w.per_chunk.is_some() || w.in_flight < PROBE || live == 1;
            w.banned.is_none() && rested && probed
        });
        let done = |w: &Worker| w.per_chunk.unwrap_or_default().saturating_mul(w.in_flight as u32 + 1);
        ready.min_by_key(|(_, w)| (done(w), w.in_flight)).map(|(index, _)| index)
    }

    fn chunk_arrived(&mut self, now: Instant, chunk: u32) {
        let Some(flight) = self.in_flight.remove(&chunk) else { return };
        self.ahead.insert(chunk);
        while self.ahead.remove(&self.lowest_missing) {
            self.lowest_missing += 1;
        }
        let Some(worker) = self.workers.get_mut(flight.worker) else { return };
        worker.in_flight -= 1;
        worker.busy = 0;
        worker.timeouts = 0;
        worker.not_before = None;
        // What came before it in the source's queue is not this chunk's cost.
        let began = worker.last_arrival.map_or(flight.since, |last| last.max(flight.since));
        let took = now.saturating_duration_since(began).max(Duration::from_micros(1));
        worker.per_chunk = Some(worker.per_chunk.map_or(took, |before| (before * 3 + took) / 4));
        worker.last_arrival = Some(now);
    }

    fn chunk_failed(&mut self, now: Instant, fetch: Fetch, kind: Failure) {
        if !self.awaits(fetch) {
            return;
        }
        let Some(flight) = self.in_flight.remove(&fetch.chunk) else { return };
        self.again.insert(fetch.chunk);
        let Some(worker) = self.workers.get_mut(flight.worker) else { return };
        worker.in_flight -= 1;
        match kind {
            Failure::Gone | Failure::Corrupt => worker.ban(kind),
            Failure::Timeout => {
                worker.timeouts += 1;
                if worker.timeouts >= MAX_TIMEOUTS {
                    worker.ban(kind);
                }
            }
            Failure::Busy if flight.round == worker.round => {
                worker.round = worker.round.wrapping_add(1);
                worker.busy += 1;
                if worker.busy > MAX_BUSY_RETRIES {
                    worker.ban(kind);
                }
                let pause = self.jitter.pause(worker.busy, BUSY_PAUSE_FIRST, BUSY_PAUSE_LONGEST);
                worker.not_before = Some(now + pause);
            }
            Failure::Busy => {}
        }
    }
}

impl Worker {
    /// A more telling reason replaces an earlier one.
    fn ban(&mut self, why: Failure) {
        self.banned = self.banned.max(Some(why));
    }
}

#[cfg(test)]
mod tests;
