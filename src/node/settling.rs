//! The thread that makes the index agree with the replicas on the disk: after a start, and as
//! often as the folder is looked at as a whole. Nothing else sees that somebody removed a replica
//! by hand until it is asked for, and so long nobody makes another copy. A thread of its own,
//! because after the loss of an index it reads every replica; else it only lists them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::store::decode::Inspector;
use crate::store::replicas::settle::{SettleError, settle};

use super::serve::Services;

/// The thread. Dropped, it ends soon.
#[derive(Debug)]
pub(super) struct Settling {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Settling {
    /// Begins, and begins again so long after each end.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        services: Arc<Services>,
        inspector: Arc<Inspector>,
        every: Duration,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let run = {
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Relaxed) {
                    run(&services, &inspector, &stop);
                    rest(&stop, every);
                }
            }
        };
        let thread = Some(thread::Builder::new().name("replicas".into()).spawn(run)?);
        Ok(Self { stop, thread })
    }

    /// Has it end after the replica that it is at.
    pub(super) fn cancel(&self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Ends it, and waits for that.
    pub(super) fn stop(mut self) {
        self.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn run(services: &Services, inspector: &Inspector, stop: &AtomicBool) {
    let told = &mut |applied| services.net.applied_unless(stop, applied);
    match settle(&services.replicas, &services.index, inspector, stop, told) {
        Ok(settled) if settled.found + settled.gone > 0 => {
            tracing::info!(found = settled.found, gone = settled.gone, "the replicas are in the index");
        }
        Ok(_) | Err(SettleError::Stopped) => {}
        Err(error) => tracing::error!(%error, "the replicas are not all in the index"),
    }
}

/// Until the next time, or until it is to end.
fn rest(stop: &AtomicBool, every: Duration) {
    let since = Instant::now();
    // It may wake for no reason.
    while let (Some(left), false) = (every.checked_sub(since.elapsed()), stop.load(Relaxed)) {
        thread::park_timeout(left);
    }
}
