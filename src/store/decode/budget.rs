//! One memory budget for all decodes at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A semaphore counted in bytes. Whoever asks is served in the order of asking, so that a
/// large picture is not passed by small ones for ever; the price is that small ones wait
/// behind it for a moment.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    free: u64,
    next_ticket: u64,
    serving: u64,
}

/// Bytes taken from a [`MemoryBudget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let queue = Queue { free: total, next_ticket: 0, serving: 0 };
        Self { total, queue: Mutex::new(queue), changed: Condvar::new() }
    }

    /// All of it, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Waits until `bytes` are free and everybody who asked before has been served.
    /// `None` at once when `bytes` is more than the whole budget. A thread must not hold
    /// one reservation while it waits for another: two such threads could wait for ever.
    pub fn reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        if bytes > self.total {
            return None;
        }
        let mut queue = self.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let mut queue = self
            .changed
            .wait_while(queue, |queue| queue.serving != ticket || queue.free < bytes)
            .unwrap_or_else(PoisonError::into_inner);
        queue.serving += 1;
        queue.free -= bytes;
        // The next in line may fit as well.
        self.changed.notify_all();
        Some(Reservation { budget: self, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics with the lock held, and plain numbers can't be half-written.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.lock().free += self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    #[test]
    fn many_threads_never_hold_more_than_the_budget() {
        let budget = MemoryBudget::new(100);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for worker in 0..8u64 {
                let (budget, held, most) = (&budget, &held, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (worker * 37 + round * 13) % 101;
                        let reservation = budget.reserve(bytes).unwrap();
                        most.fetch_max(held.fetch_add(bytes, SeqCst) + bytes, SeqCst);
                        held.fetch_sub(bytes, SeqCst);
                        drop(reservation);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= 100);
        assert_eq!(budget.lock().free, 100, "all came back");
    }

    #[test]
    fn a_large_request_is_not_passed_by_later_small_ones() {
        let budget = MemoryBudget::new(10);
        let first = budget.reserve(5).unwrap();
        let order = Mutex::new(Vec::new());
        let waiting = |tickets| {
            while budget.lock().next_ticket < tickets {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let held = budget.reserve(10).unwrap();
                order.lock().unwrap().push("large");
                drop(held);
            });
            waiting(2);
            scope.spawn(|| {
                let held = budget.reserve(1).unwrap();
                order.lock().unwrap().push("small");
                drop(held);
            });
            waiting(3);
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), ["large", "small"]);
    }

    #[test]
    fn more_than_everything_is_refused_at_once() {
        assert!(MemoryBudget::new(10).reserve(11).is_none());
    }
}
