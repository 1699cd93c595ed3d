//! A database that is opened again when its disk works again.
//!
//! After a write that failed (a full disk, most of all) redb refuses everything: it does not know
//! what of its file is on the disk. Opened again it reads the file, and what is there is what was last
//! committed durably. So nothing is taken for stored that isn't: whoever was told of an error did not store,
//! and what was committed without waiting for the disk is gone, as after a crash.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redb::Database;

use super::Fault;
use crate::limits::REOPEN_AGAIN;

/// Opens the file; called for each try.
type Open<R> = fn(&std::path::Path) -> Result<Database, Fault<R>>;

/// The database of one file.
pub(in crate::store) struct Lasting<R> {
    state: Mutex<State>,
    /// `None`: in memory, where no disk fails.
    reopen: Option<(PathBuf, Open<R>)>,
}

#[derive(Debug)]
struct State {
    /// `None`: it is closed, and could not be opened again yet.
    db: Option<Arc<Database>>,
    /// It refuses everything since a write failed.
    broken: bool,
    /// When it was last tried to be opened again.
    tried: Option<Instant>,
}

impl<R> std::fmt::Debug for Lasting<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.reopen.as_ref().map(|(file, _)| file);
        f.debug_struct("Lasting").field("file", &file).field("state", &self.state).finish()
    }
}

impl<R: std::fmt::Debug> Lasting<R> {
    /// One that is open, and stays as it is.
    pub(in crate::store) fn new(db: Database) -> Self {
        let state = State { db: Some(Arc::new(db)), broken: false, tried: None };
        Self { state: Mutex::new(state), reopen: None }
    }

    /// Has it opened again like this when a write has failed.
    pub(in crate::store) fn reopen_with(&mut self, file: PathBuf, open: Open<R>) {
        self.reopen = Some((file, open));
    }

    /// Does something with the database. Once that has found that a write had failed, the database is
    /// opened again before anything else is done with it.
    pub(in crate::store) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Fault<R>>,
    ) -> Result<T, Fault<R>> {
        let db = self.current(Instant::now())?;
        let done = work(&db);
        if matches!(&done, Err(fault) if fault.is_refusal()) {
            let mut state = self.state();
            // Or it was opened again meanwhile, and this was about the one before.
            state.broken |= state.db.as_ref().is_some_and(|now| Arc::ptr_eq(now, &db));
        }
        done
    }

    fn current(&self, now: Instant) -> Result<Arc<Database>, Fault<R>> {
        // Held while it is opened: who comes meanwhile could do nothing without it.
        let mut state = self.state();
        if state.broken && self.may_try(&mut state, now) {
            self.open_again(&mut state);
        }
        let usable = state.db.as_ref().filter(|_| !state.broken || self.reopen.is_none());
        usable.cloned().ok_or_else(|| Fault::Database(Box::new(redb::Error::PreviousIo)))
    }

    /// Whether it is time; then it is closed.
    fn may_try(&self, state: &mut State, now: Instant) -> bool {
        let early = |tried| now.saturating_duration_since(tried) < REOPEN_AGAIN;
        if self.reopen.is_none() || state.tried.is_some_and(early) {
            return false;
        }
        // Its file is locked until the last of those who are at it has given up.
        if let Some(db) = state.db.take()
            && let Err(used) = Arc::try_unwrap(db)
        {
            state.db = Some(used);
            return false;
        }
        state.tried = Some(now);
        true
    }

    fn open_again(&self, state: &mut State) {
        let Some((file, open)) = &self.reopen else { return };
        match open(file) {
            Ok(db) => {
                tracing::warn!(file = %file.display(), "a write had failed: opened again, as it was last stored");
                state.db = Some(Arc::new(db));
                state.broken = false;
            }
            Err(fault) => tracing::debug!(file = %file.display(), ?fault, "can't be opened again yet"),
        }
    }

    /// For tests that write what this program does not.
    #[cfg(test)]
    pub(in crate::store) fn get(&self) -> Arc<Database> {
        self.state().db.clone().expect("open")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use redb::backends::FileBackend;
    use redb::{Builder, ReadableDatabase as _, StorageBackend, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");

    /// The disks of these tests are full.
    static FULL: AtomicBool = AtomicBool::new(false);

    #[derive(Debug)]
    struct Disk(FileBackend);

    impl Disk {
        fn room() -> io::Result<()> {
            if FULL.load(Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            Self::room()?;
            self.0.set_len(len)
        }
        fn sync_data(&self) -> io::Result<()> {
            Self::room()?;
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            Self::room()?;
            self.0.write(offset, data)
        }
    }

    fn open(path: &Path) -> Result<Database, Fault<()>> {
        let io = |error| Fault::Database(Box::new(redb::Error::Io(error)));
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let backend = FileBackend::new(file.map_err(io)?)?;
        Ok(Builder::new().create_with_backend(Disk(backend))?)
    }

    fn put(lasting: &Lasting<()>, key: u64) -> Result<(), Fault<()>> {
        lasting.with(|db| {
            let txn = db.begin_write()?;
            txn.open_table(TABLE)?.insert(key, &[7; 5000][..])?;
            txn.commit()?;
            Ok(())
        })
    }

    fn keys(lasting: &Lasting<()>) -> Result<Vec<u64>, Fault<()>> {
        use redb::ReadableTable as _;
        lasting.with(|db| {
            let table = db.begin_read()?.open_table(TABLE)?;
            table.iter()?.map(|entry| Ok(entry?.0.value())).collect()
        })
    }

    /// As if the pause were over.
    fn later(lasting: &Lasting<()>) {
        lasting.state().tried = None;
    }

    /// After a full disk every read and write was refused until the node was started again.
    #[test]
    fn a_disk_that_was_full_is_used_again_with_what_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.redb");
        let mut lasting = Lasting::new(open(&file).unwrap());
        lasting.reopen_with(file, open);
        put(&lasting, 1).unwrap();
        FULL.store(true, Relaxed);
        for key in 2..5 {
            later(&lasting);
            put(&lasting, key).unwrap_err();
        }
        later(&lasting);
        assert!(keys(&lasting).is_err(), "not even opening works");
        FULL.store(false, Relaxed);
        assert!(keys(&lasting).is_err(), "it was just tried");
        later(&lasting);
        assert_eq!(keys(&lasting).unwrap(), [1], "what was told to have failed is not there");
        put(&lasting, 6).unwrap();
        assert_eq!(keys(&lasting).unwrap(), [1, 6]);

        // Somebody reads when it breaks: the file is left to them.
        let reading = lasting.state().db.clone();
        lasting.state().broken = true;
        later(&lasting);
        assert!(put(&lasting, 7).is_err());
        drop(reading);
        put(&lasting, 7).unwrap();
        assert_eq!(keys(&lasting).unwrap(), [1, 6, 7]);
    }
}
