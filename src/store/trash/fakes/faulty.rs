//! A disk that fails or stops at a chosen operation.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::store::trash::disk::{Disk, Look};
use crate::types::ContentId;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::trash) enum Fault {
    /// From this operation on nothing happens any more: the process is gone.
    Stop,
    /// This one operation fails; a write leaves half of the data.
    Once(io::ErrorKind),
    /// This operation and all after it that change something fail.
    Forever(io::ErrorKind),
}

/// Runs at the chosen operation, before it.
type Meddler = Box<dyn Fn() + Send + Sync>;

/// A disk with one fault, at the `at`th operation that changes or syncs something.
pub(in crate::store::trash) struct Faulty<D> {
    pub(in crate::store::trash) disk: D,
    at: AtomicU64,
    fault: Mutex<Option<Fault>>,
    meddler: Mutex<Option<Meddler>>,
    count: AtomicU64,
}

impl<D> std::fmt::Debug for Faulty<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl<D: Disk> Faulty<D> {
    pub(in crate::store::trash) fn new(disk: D) -> Self {
        Self {
            disk,
            at: AtomicU64::new(u64::MAX),
            fault: Mutex::new(None),
            meddler: Mutex::new(None),
            count: AtomicU64::new(0),
        }
    }

    /// The fault comes at operation `at`, counted from now on.
    pub(in crate::store::trash) fn arm(&self, at: u64, fault: Fault) {
        self.count.store(0, Relaxed);
        *self.fault.lock().unwrap() = Some(fault);
        self.at.store(at, Relaxed);
    }

    /// `meddler` acts before operation `at`, counted from now on.
    pub(in crate::store::trash) fn meddle(&self, at: u64, meddler: impl Fn() + Send + Sync + 'static) {
        self.count.store(0, Relaxed);
        *self.fault.lock().unwrap() = None;
        *self.meddler.lock().unwrap() = Some(Box::new(meddler));
        self.at.store(at, Relaxed);
    }

    /// Ends the fault. The answer is whether it had come.
    pub(in crate::store::trash) fn disarm(&self) -> bool {
        *self.fault.lock().unwrap() = None;
        *self.meddler.lock().unwrap() = None;
        self.count.load(Relaxed) > self.at.swap(u64::MAX, Relaxed)
    }

    fn pass(&self) -> io::Result<()> {
        let (now, at) = (self.count.fetch_add(1, Relaxed), self.at.load(Relaxed));
        if now == at
            && let Some(meddler) = self.meddler.lock().unwrap().take()
        {
            meddler();
        }
        match *self.fault.lock().unwrap() {
            Some(Fault::Stop) if now >= at => Err(io::Error::other("the process is gone")),
            Some(Fault::Once(kind)) if now == at => Err(kind.into()),
            Some(Fault::Forever(kind)) if now >= at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn is_gone(&self) -> bool {
        let (now, at) = (self.count.load(Relaxed), self.at.load(Relaxed));
        *self.fault.lock().unwrap() == Some(Fault::Stop) && now > at
    }
}

impl<D: Disk> Disk for Faulty<D> {
    fn look(&self, path: &Path) -> io::Result<Look> {
        if self.is_gone() { Err(io::Error::other("the process is gone")) } else { self.disk.look(path) }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn hash(&self, path: &Path) -> io::Result<(ContentId, Look)> {
        self.disk.hash(path)
    }
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.disk.read(path, limit)
    }
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.make_dir(dir))
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.remove_dir(dir))
    }
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if let Err(e) = self.pass() {
            if self.count.load(Relaxed) == self.at.load(Relaxed) + 1 {
                self.disk.write(path, &data[..data.len() / 2])?;
            }
            return Err(e);
        }
        self.disk.write(path, data)
    }
    fn append(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if let Err(e) = self.pass() {
            if self.count.load(Relaxed) == self.at.load(Relaxed) + 1 {
                self.disk.append(path, &data[..data.len() / 2])?;
            }
            return Err(e);
        }
        self.disk.append(path, data)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.sync_file(path))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.sync_dir(dir))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.rename(from, to))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.rename_new(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.link(from, to))
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| self.disk.unlink(path))
    }
}
