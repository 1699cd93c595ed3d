//! What was found out about the contents that are being passed on now, so that not every
//! chunk asks for it anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::types::ContentId;

/// At most [`MAX_OPEN_RELAYS`](limits::MAX_OPEN_RELAYS) contents with
/// [`MAX_OPEN_RELAY_BYTES`](limits::MAX_OPEN_RELAY_BYTES), least recently used first out.
#[derive(Debug)]
pub(super) struct Recent<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    known: HashMap<ContentId, Known<T>>,
    order: VecDeque<ContentId>,
    bytes: usize,
}

#[derive(Debug)]
struct Known<T> {
    value: Arc<T>,
    bytes: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        let inner = Inner { known: HashMap::new(), order: VecDeque::new(), bytes: 0 };
        Self { inner: Mutex::new(inner) }
    }
}

impl<T> Recent<T> {
    pub(super) fn get(&self, content: &ContentId) -> Option<Arc<T>> {
        let mut inner = self.lock();
        let value = Arc::clone(&inner.known.get(content)?.value);
        inner.touch(*content);
        Some(value)
    }

    /// Remembers `value`, which takes about `bytes`.
    pub(super) fn insert(&self, content: ContentId, value: Arc<T>, bytes: usize) {
        let mut inner = self.lock();
        inner.remove(&content);
        inner.bytes += bytes;
        inner.known.insert(content, Known { value, bytes });
        inner.order.push_back(content);
        while inner.known.len() > limits::MAX_OPEN_RELAYS
            || (inner.bytes > limits::MAX_OPEN_RELAY_BYTES && inner.known.len() > 1)
        {
            let Some(oldest) = inner.order.front().copied() else { break };
            inner.remove(&oldest);
        }
    }

    /// Changes what is remembered, in place of a reader's own copy: nobody can put back
    /// what another one has changed meanwhile. `change` says whether it is still of use.
    pub(super) fn change(&self, content: &ContentId, change: impl FnOnce(&mut T) -> bool)
    where
        T: Clone,
    {
        let mut inner = self.lock();
        let Some(known) = inner.known.get_mut(content) else { return };
        if !change(Arc::make_mut(&mut known.value)) {
            inner.remove(content);
        }
    }

    pub(super) fn forget(&self, content: &ContentId) {
        self.lock().remove(content);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // The data is a cache: whatever a panicking thread left is consistent enough.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn touch(&mut self, content: ContentId) {
        if self.order.back() != Some(&content) {
            self.order.retain(|c| *c != content);
            self.order.push_back(content);
        }
    }

    fn remove(&mut self, content: &ContentId) {
        if let Some(known) = self.known.remove(content) {
            self.bytes -= known.bytes;
            self.order.retain(|c| c != content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(number: u32) -> ContentId {
        ContentId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_least_used_goes() {
        let recent = Recent::default();
        for number in 0..limits::MAX_OPEN_RELAYS as u32 {
            recent.insert(content(number), Arc::new(number), 10);
        }
        assert!(recent.get(&content(0)).is_some(), "used: now the youngest");
        recent.insert(content(u32::MAX), Arc::new(0), 10);
        assert!(recent.get(&content(0)).is_some());
        assert!(recent.get(&content(1)).is_none(), "the least recently used went");
        assert!(recent.get(&content(2)).is_some());
    }

    #[test]
    fn bytes_are_bounded_and_counted_back() {
        let recent = Recent::default();
        recent.insert(content(1), Arc::new(()), limits::MAX_OPEN_RELAY_BYTES);
        recent.insert(content(1), Arc::new(()), limits::MAX_OPEN_RELAY_BYTES);
        assert_eq!(recent.lock().bytes, limits::MAX_OPEN_RELAY_BYTES);
        recent.insert(content(2), Arc::new(()), 1);
        assert!(recent.get(&content(1)).is_none() && recent.get(&content(2)).is_some());
        recent.forget(&content(2));
        assert_eq!(recent.lock().bytes, 0);
    }

    /// Two chunks of one content failed at once: the second put back the liar that the
    /// first had struck out, because each wrote what it had seen at its start.
    #[test]
    fn what_was_changed_meanwhile_is_not_put_back() {
        let recent = Recent::default();
        recent.insert(content(1), Arc::new(vec!["liar", "slow", "good"]), 3);
        let seen = recent.get(&content(1)).unwrap();
        recent.change(&content(1), |holders| {
            holders.retain(|holder| *holder != "liar");
            true
        });
        recent.change(&content(1), |holders| {
            holders.rotate_left(1);
            true
        });
        assert_eq!(seen.len(), 3, "a reader keeps what it saw");
        assert_eq!(*recent.get(&content(1)).unwrap(), ["good", "slow"]);
        recent.change(&content(1), |_| false);
        assert!(recent.get(&content(1)).is_none(), "of no use any more");
    }
}
