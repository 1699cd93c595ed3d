//! Doing for many at once what would cost each of them nearly as much alone: a transaction, a
//! question to a member.
//!
//! Nobody waits for others to come: the first is served at once, and whoever comes meanwhile is
//! served together, as soon as that is done. So one that is alone is as fast as ever, and the groups
//! are the larger the more there is to do.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Queue<T, R> = VecDeque<(T, oneshot::Sender<R>)>;

/// Items `T` that wait, each with who wants its `R`; those with different keys don't wait for
/// each other. Bounded by the tasks that wait.
#[derive(Debug)]
pub(super) struct Gather<K, T, R> {
    /// Items in a group, at most.
    most: usize,
    /// A key is here as long as a task serves it.
    waiting: Mutex<BTreeMap<K, Queue<T, R>>>,
}

impl<K, T, R> Gather<K, T, R>
where
    K: Ord + Copy + Send + 'static,
    T: Send + 'static,
    R: Send + 'static,
{
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), waiting: Mutex::default() }
    }

    /// Has `item` done by `run`, together with others of its `key`: it is called with a group and
    /// answers each, in their order. All that join with one key mean the same by `run`. `None`: it
    /// panicked, or the node stops.
    pub(super) async fn join<Doing>(
        self: &Arc<Self>,
        key: K,
        item: T,
        run: impl Fn(Vec<T>) -> Doing + Send + 'static,
    ) -> Option<R>
    where
        Doing: Future<Output = Vec<R>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting();
            let first = !waiting.contains_key(&key);
            waiting.entry(key).or_default().push_back((item, reply));
            first
        };
        if first {
            // A task of its own: who came first may give up, and the others still wait.
            let gather = Arc::clone(self);
            tokio::spawn(async move { gather.serve(key, run).await });
        }
        answer.await.ok()
    }

    async fn serve<Doing>(&self, key: K, run: impl Fn(Vec<T>) -> Doing)
    where
        Doing: Future<Output = Vec<R>> + Send + 'static,
    {
        while let Some((items, replies)) = self.next_group(key) {
            // A panic costs its group, and not those that wait behind it.
            let done = tokio::spawn(run(items)).await.unwrap_or_default();
            for (reply, result) in replies.into_iter().zip(done) {
                // Who has given up does not want it.
                let _ = reply.send(result);
            }
        }
    }

    fn next_group(&self, key: K) -> Option<(Vec<T>, Vec<oneshot::Sender<R>>)> {
        let mut waiting = self.waiting();
        let queue = waiting.get_mut(&key).filter(|queue| !queue.is_empty());
        let Some(queue) = queue else {
            waiting.remove(&key);
            return None;
        };
        let most = self.most.min(queue.len());
        Some(queue.drain(..most).unzip())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<K, Queue<T, R>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn the_first_goes_alone_and_those_that_come_meanwhile_together() {
        let gather = Arc::new(Gather::new(3));
        let groups = Arc::new(Mutex::new(Vec::new()));
        let go = Arc::new(Semaphore::new(0));
        let one = |number: u32| {
            let (gather, groups, go) = (Arc::clone(&gather), Arc::clone(&groups), Arc::clone(&go));
            let run = move |items: Vec<u32>| {
                groups.lock().unwrap().push(items.clone());
                let go = Arc::clone(&go);
                async move {
                    go.acquire().await.unwrap().forget();
                    items.into_iter().map(|item| item * 10).collect()
                }
            };
            async move { gather.join((), number, run).await }
        };
        let first = tokio::spawn(one(1));
        while groups.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let rest = tokio::spawn(join_all((2..7).map(one)));
        while gather.waiting().get(&()).is_none_or(|queue| queue.len() < 5) {
            tokio::task::yield_now().await;
        }
        go.add_permits(3);
        assert_eq!(first.await.unwrap(), Some(10));
        assert_eq!(rest.await.unwrap(), (2..7).map(|number| Some(number * 10)).collect::<Vec<_>>());
        assert_eq!(*groups.lock().unwrap(), [vec![1], vec![2, 3, 4], vec![5, 6]]);
        assert!(gather.waiting().is_empty());
    }

    #[tokio::test]
    async fn a_panic_costs_its_group_only_and_keys_do_not_wait_for_each_other() {
        let gather = Arc::new(Gather::new(8));
        let run = |items: Vec<u8>| async move {
            assert!(items != [0], "for the test");
            items
        };
        let stuck = Arc::clone(&gather);
        let stuck = tokio::spawn(async move { stuck.join(7, 1, |_| std::future::pending()).await });
        assert_eq!(gather.join(8, 0, run).await, None);
        assert_eq!(gather.join(8, 5, run).await, Some(5));
        assert!(!stuck.is_finished());
        stuck.abort();
    }
}
