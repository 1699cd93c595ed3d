//! The system's notifications of changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Shared;
use crate::store::folder::{MARKER_NAME, Root};
use crate::store::scan::is_ours;
use crate::types::RelPath;

/// macOS watches a tree as cheaply as a folder, and each added folder restarts all its
/// watches. Elsewhere folders are watched one by one, because a recursive watch would
/// include the state folder, where every write of the node would wake it up.
const RECURSIVE: bool = cfg!(target_os = "macos");

/// Watches folders and marks what changes in them.
pub(super) struct Watcher {
    inner: RecommendedWatcher,
    root: PathBuf,
    /// The system watches no more folders, as it said in this scan.
    exhausted: bool,
    warned: bool,
}

impl Watcher {
    /// Nothing is watched yet. The error is for people.
    pub(super) fn new(root: &Root, shared: &Arc<Shared>) -> Result<Self, String> {
        let (weak, watched) = (Arc::downgrade(shared), root.clone());
        let inner = notify::recommended_watcher(move |event| handle(&weak, &watched, event))
            .map_err(|e| format!("can't watch for changes ({}); {}", describe(&e), UNTIL_RESCAN))?;
        Ok(Self { inner, root: root.dir().to_path_buf(), exhausted: false, warned: false })
    }

    /// A scan of the whole folder begins: there may be room for more watches again.
    pub(super) fn begin(&mut self) {
        self.exhausted = false;
    }

    /// Watches `dir`, also when it is watched already: after a rename or a remount the old
    /// watch may be another folder's. The answer is a warning for people, given once.
    pub(super) fn watch(&mut self, dir: &Path) -> Option<String> {
        if self.exhausted || (RECURSIVE && dir != self.root) {
            return None;
        }
        let mode = if RECURSIVE { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let error = self.inner.watch(dir, mode).err()?;
        if !matches!(error.kind, ErrorKind::MaxFilesWatch) {
            // It vanished, or can't be read, which the scan finds out itself.
            tracing::debug!("no watch on {}: {}", dir.display(), describe(&error));
            return None;
        }
        self.exhausted = true;
        if std::mem::replace(&mut self.warned, true) {
            return None;
        }
        Some(format!(
            "the system's limit of watched folders is reached at {}; {UNTIL_RESCAN}. To raise it: \
             sudo sysctl fs.inotify.max_user_watches=1048576",
            dir.display()
        ))
    }
}

const UNTIL_RESCAN: &str = "changes there are noticed at the next periodic rescan";

fn describe(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::Io(e) => e.to_string(),
        kind => format!("{kind:?}"),
    }
}

/// Called on the notification thread.
fn handle(shared: &Weak<Shared>, root: &Root, event: notify::Result<notify::Event>) {
    let Some(shared) = shared.upgrade() else { return };
    let Ok(event) = event else { return shared.rescan() };
    if event.need_rescan() {
        return shared.rescan();
    }
    // Reading (our own reading, mostly) changes nothing.
    if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
        return;
    }
    for path in event.paths {
        if path == root.dir().join(MARKER_NAME) || (path == root.dir() && !event.kind.is_access()) {
            // A whole scan begins by checking the marker.
            shared.rescan();
        } else if let Some(path) = RelPath::below(root.dir(), &path)
            && !is_ours(root, &path)
        {
            shared.mark(path);
        }
    }
}
