//! A node's folder on disk: what must be true before a node may start on it, and its
//! state beside it.
//!
//! The danger here is a drive that is away: its mount point looks like an empty folder,
//! and a node that believes it would withdraw all its pictures. So a folder has a marker
//! with a random id, and the id is remembered in the state *and* in the user's own list
//! (the state may be on the same drive). A known folder without its marker, or with
//! another id, is refused before anything is written to it.
//!
//! Order of a first start: state folder, lock, marker, memory of the marker, identity. A
//! crash after any of them leaves an unknown folder or one with its marker, and the next
//! start goes on from there. Memory before marker would leave a "known folder without
//! its marker".
//!
//! Decisions: a folder that can't be written is fine when its state is elsewhere and the
//! marker is there already. Without a marker it is refused, because nothing would tell
//! it from an empty mount point. The user's list must be writable for the same reason.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libp2p::Multiaddr;
use libp2p::identity::{Keypair, ed25519};

use super::files::{AtomicFile, Overwrite, WriteError};
use crate::limits::{MAX_OWN_ADDRESSES, MAX_REMEMBERED_PEERS};
use crate::types::FolderId;

mod absences;
mod error;
mod home;
mod identity;
mod marker;
mod published;
mod running;
mod swarm_key;

use marker::Malformed;

pub use error::FolderError;
pub use home::{HOME_VARIABLE, Home};
pub use published::Published;
pub use running::{RunningNode, running_nodes};
pub use swarm_key::{SwarmKeyError, create_swarm_key, read_swarm_key};

/// Name of the state folder inside the user's folder.
pub const STATE_NAME: &str = ".p2pimg";
/// Name of the marker in the user's folder.
pub const MARKER_NAME: &str = ".p2pimg-folder";
/// Name of the trash in the user's folder, when the state is on another file system.
pub const TRASH_NAME: &str = ".p2pimg-trash";

/// How to open a folder.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the state is; `None`: [`STATE_NAME`] in the folder.
    pub state: Option<PathBuf>,
    /// The user's own folders.
    pub home: Home,
    /// Take a known folder without its marker, or with another's, as a new one
    /// (`--new-folder`).
    pub accept_new: bool,
}

/// A folder and its marker: all that a scan needs to know where it may look.
#[derive(Debug, Clone)]
pub struct Root {
    dir: PathBuf,
    state: PathBuf,
    id: FolderId,
}

impl Root {
    /// A folder that is only looked at: no marker, and no state but what a node may have
    /// left in the usual place. `dir` has to be absolute and without links.
    pub(super) fn unmarked(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), state: dir.join(STATE_NAME), id: FolderId(0) }
    }

    /// The folder, as an absolute path without links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state folder, as an absolute path without links.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The folder's id.
    #[must_use]
    pub fn id(&self) -> FolderId {
        self.id
    }

    /// Whether the folder is still there and still the same: to be asked before anything
    /// is withdrawn because it seems to be gone.
    ///
    /// # Errors
    /// [`FolderError::MarkerMissing`], [`FolderError::OtherFolder`] or
    /// [`FolderError::BadMarker`].
    pub fn check_marker(&self) -> Result<(), FolderError> {
        match read_marker(&self.dir)? {
            Some(id) if id == self.id => Ok(()),
            Some(found) => Err(FolderError::OtherFolder {
                path: self.dir.clone(),
                found,
                expected: self.id,
                remembered_by: "at its start the node read",
            }),
            None => Err(FolderError::MarkerMissing { path: self.dir.clone(), expected: self.id }),
        }
    }
}

/// A folder that this process alone uses as a node. Dropping it ends that.
#[derive(Debug)]
pub struct Folder {
    root: Root,
    keypair: Keypair,
    home: Home,
    warnings: Vec<String>,
    running: Mutex<Option<running::Entry>>,
    /// Held for its lock, which ends with the process whatever happens to it.
    _lock: File,
}

impl Folder {
    /// Checks `dir`, makes what is missing and takes the lock.
    ///
    /// # Errors
    /// See [`FolderError`]. A folder that is refused is left as it was.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, FolderError> {
        let dir = checked_dir(dir)?;
        let state = options.state.clone().unwrap_or_else(|| dir.join(STATE_NAME));
        // Once before anything is written, so that an empty mount point stays empty, ...
        resolve_id(&dir, &state, options)?;
        options.home.check_writable()?;
        let state = prepare_state(&dir, &state)?;
        let lock = take_lock(&state)?;
        clean_up(&dir, &state);
        // ... and again now that no other node can change the state.
        let id = settle_id(&dir, &state, options)?;
        let (keypair, warning) = identity::load_or_create(&state.join("identity.key"))?;
        Ok(Self {
            root: Root { dir, state, id },
            keypair,
            home: options.home.clone(),
            warnings: warning.into_iter().collect(),
            running: Mutex::new(None),
            _lock: lock,
        })
    }

    /// Where it is and which one it is.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The node's identity.
    #[must_use]
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// The index of the folder.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        self.root.state.join("index.redb")
    }

    /// What the node did and can't find out anew: [`crate::store::ledger`].
    #[must_use]
    pub fn ledger_path(&self) -> PathBuf {
        self.root.state.join("ledger.redb")
    }

    /// The DHT's records: [`crate::store::records`].
    #[must_use]
    pub fn records_path(&self) -> PathBuf {
        self.root.state.join("records.redb")
    }

    /// For files in the making; emptied at every start.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.state.join("tmp")
    }

    /// What a person should know, although the node can start.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tells clients on this machine where the node listens, in the state's `address` file
    /// (with `/p2p/`) and in the user's list of running nodes, until this is dropped.
    ///
    /// # Errors
    /// When either can't be written, or another process runs with the same identity. A
    /// client can still be given the address.
    pub fn announce(&self, addresses: &[Multiaddr]) -> Result<(), FolderError> {
        let peer = self.keypair.public().to_peer_id();
        let mut lines = String::new();
        for address in addresses.iter().filter_map(|a| a.clone().with_p2p(peer).ok()) {
            lines.extend([address.to_string().as_str(), "\n"]);
        }
        let file = AtomicFile::create(&self.address_path(), 0o644)?;
        file.write_at(0, lines.as_bytes())?;
        file.commit(Overwrite::Replace)?;

        let fail = |source: io::Error| match source.kind() {
            io::ErrorKind::ResourceBusy => FolderError::SameIdentity { peer },
            _ => FolderError::HomeNotWritable { path: self.home.running(), source },
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match running.take() {
            Some(entry) => entry,
            None => running::Entry::make(&self.home, &peer).map_err(fail)?,
        };
        running.insert(entry).write(&self.root.dir, &self.root.state, addresses).map_err(fail)
    }

    /// Writes down nodes to join by at the next start.
    ///
    /// # Errors
    /// When the state folder can't be written.
    pub fn remember_peers(&self, addresses: &[Multiaddr]) -> Result<(), WriteError> {
        let lines =
            addresses.iter().fold(String::new(), |lines, address| lines + &address.to_string() + "\n");
        let file = AtomicFile::create(&self.peers_path(), 0o600)?;
        file.write_at(0, lines.as_bytes())?;
        file.commit(Overwrite::Replace)
    }

    /// The nodes written down last. Only a help: what can't be read is left out.
    #[must_use]
    pub fn remembered_peers(&self) -> Vec<Multiaddr> {
        read_addresses(&self.peers_path(), MAX_REMEMBERED_PEERS)
    }

    fn peers_path(&self) -> PathBuf {
        self.root.state.join("peers")
    }

    fn address_path(&self) -> PathBuf {
        self.root.state.join("address")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.address_path());
    }
}

/// Where the node with this state listens, as [`Folder::announce`] wrote it down; nothing
/// when none runs.
#[must_use]
pub fn announced_addresses(state: &Path) -> Vec<Multiaddr> {
    read_addresses(&state.join("address"), MAX_OWN_ADDRESSES)
}

fn read_addresses(path: &Path, most: usize) -> Vec<Multiaddr> {
    let data = home::read_small(path, 64 * 1024).unwrap_or_default();
    let text = String::from_utf8_lossy(&data);
    text.lines().filter_map(|line| line.parse().ok()).take(most).collect()
}

/// `dir` as an absolute path without links, when it is a folder that can be read.
fn checked_dir(dir: &Path) -> Result<PathBuf, FolderError> {
    let path = dir.to_path_buf();
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FolderError::Missing { path: path.clone() },
        io::ErrorKind::NotADirectory => FolderError::NotFolder { path: path.clone() },
        _ => FolderError::NotReadable { path: path.clone(), source },
    };
    if !fs::metadata(dir).map_err(fail)?.is_dir() {
        return Err(FolderError::NotFolder { path });
    }
    fs::read_dir(dir).map_err(fail)?;
    let canonical = fs::canonicalize(dir).map_err(fail)?;
    if let Some(state) = canonical.ancestors().find(|a| a.file_name().is_some_and(|n| n == STATE_NAME)) {
        return Err(FolderError::IsState { state: state.to_path_buf(), path: canonical });
    }
    Ok(canonical)
}

fn read_marker(dir: &Path) -> Result<Option<FolderId>, FolderError> {
    let path = dir.join(MARKER_NAME);
    marker::read(&path).map_err(|reason| FolderError::BadMarker { path, reason: reason.to_string() })
}

/// The id that the state remembers.
fn read_remembered(state: &Path) -> Result<Option<FolderId>, FolderError> {
    let path = state.join("folder");
    marker::read(&path).map_err(|reason| match reason {
        Malformed::Io(source) => FolderError::Io { what: "read the state", path, source },
        reason => FolderError::BadRecord { path, reason: reason.to_string() },
    })
}

/// The folder's id; `None` for a first start. Refuses a known folder that is not itself.
fn resolve_id(dir: &Path, state: &Path, options: &Options) -> Result<Option<FolderId>, FolderError> {
    let found = read_marker(dir)?;
    if options.accept_new {
        return Ok(found);
    }
    let memories = [
        ("the state remembers", read_remembered(state)?),
        ("the list of known folders", options.home.known(dir)?),
    ];
    for (remembered_by, expected) in memories {
        let Some(expected) = expected else { continue };
        let path = dir.to_path_buf();
        match found {
            None => return Err(FolderError::MarkerMissing { path, expected }),
            Some(found) if found != expected => {
                return Err(FolderError::OtherFolder { path, found, expected, remembered_by });
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Makes the marker and the memories of it agree.
fn settle_id(dir: &Path, state: &Path, options: &Options) -> Result<FolderId, FolderError> {
    let found = resolve_id(dir, state, options)?;
    if options.accept_new {
        // Before the marker changes: a crash in between leaves an unknown folder.
        let remembered = state.join("folder");
        remove_if_there(&remembered).map_err(|source| FolderError::Io {
            what: "change the state",
            path: remembered,
            source,
        })?;
        options.home.forget(dir)?;
    }
    let id = match found {
        Some(id) => id,
        None => create_marker(dir)?,
    };
    if read_remembered(state)? != Some(id) {
        marker::write(&state.join("folder"), id, "", Overwrite::Replace)?;
    }
    if options.home.known(dir)? != Some(id) {
        options.home.remember(dir, id)?;
    }
    Ok(id)
}

fn create_marker(dir: &Path) -> Result<FolderId, FolderError> {
    let [high, low] = [0, 16].map(|at| {
        let bytes = random_bytes();
        bytes.iter().skip(at).take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
    });
    let id = FolderId(u128::from(high) << 64 | u128::from(low));
    match marker::write(&dir.join(MARKER_NAME), id, marker::NOTE, Overwrite::Never) {
        Ok(()) => Ok(id),
        // Another node (with another state) made it at this moment.
        Err(error @ WriteError::Exists { .. }) => {
            read_marker(dir)?.ok_or(FolderError::MarkerNotWritable { path: dir.to_path_buf(), source: error })
        }
        Err(source) => Err(FolderError::MarkerNotWritable { path: dir.to_path_buf(), source }),
    }
}

/// Makes the state folder and gives its absolute path.
fn prepare_state(dir: &Path, state: &Path) -> Result<PathBuf, FolderError> {
    let fail = |source| FolderError::StateNotWritable { path: state.to_path_buf(), source };
    if let Ok(canonical) = fs::canonicalize(state)
        && dir.starts_with(&canonical)
    {
        return Err(FolderError::IsState { path: dir.to_path_buf(), state: canonical });
    }
    if !is_state_or_new(state).map_err(fail)? {
        return Err(FolderError::ForeignState { state: state.to_path_buf() });
    }
    make_private(&state.join("tmp")).map_err(fail)?;
    let canonical = fs::canonicalize(state).map_err(fail)?;
    if dir.starts_with(&canonical) {
        return Err(FolderError::IsState { path: dir.to_path_buf(), state: canonical });
    }
    Ok(canonical)
}

/// Whether `state` is a node's state, or nothing yet. A node removes and replaces files of
/// its state by name, `tmp/` wholly: in a folder that somebody named by mistake they would
/// be that person's. The lock is the first file of a state, an empty `tmp/` comes before it; an
/// identity alone is one that somebody brings along.
fn is_state_or_new(state: &Path) -> io::Result<bool> {
    if ["node.lock", "identity.key"].iter().any(|name| state.join(name).is_file()) {
        return Ok(true);
    }
    let entries = match fs::read_dir(state) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_new = entry.file_name() == "tmp"
            && entry.file_type()?.is_dir()
            && fs::read_dir(entry.path())?.next().is_none();
        if !is_new {
            return Ok(false);
        }
    }
    Ok(true)
}

fn take_lock(state: &Path) -> Result<File, FolderError> {
    let path = state.join("node.lock");
    let fail = |source| FolderError::StateNotWritable { path: path.clone(), source };
    let lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(FolderError::Locked { state: state.to_path_buf(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(fail(source)),
    }
    let pid = format!("{}\n", std::process::id());
    lock.set_len(0).and_then(|()| lock.write_all_at(pid.as_bytes(), 0)).map_err(fail)?;
    Ok(lock)
}

/// Removes what a crash left: half-written files of the state and of the marker, and the
/// addresses of a node that runs no more. What can't be removed does no harm.
fn clean_up(dir: &Path, state: &Path) {
    let _ = fs::remove_file(state.join("address"));
    let everything = |_: &str| true;
    let temporary = |name: &str, prefix| name.starts_with(prefix) && name.strip_suffix(".tmp").is_some();
    let ours = |name: &str| temporary(name, super::files::TEMP_PREFIX);
    let markers = |name: &str| temporary(name, marker::MARKER_TEMP_PREFIX);
    for (folder, stale) in [
        (&state.join("tmp"), &everything as &dyn Fn(&str) -> bool),
        (&state.to_path_buf(), &ours),
        (&dir.to_path_buf(), &markers),
    ] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_stale = stale(&entry.file_name().to_string_lossy());
            if is_stale && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Makes a folder and those above it that are missing, for this user only.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => super::files::sync_folder(path.parent().unwrap_or(Path::new("/"))),
    }
}

/// 32 bytes from the system's source of secrets, in the form of an ed25519 secret, which
/// is just that (RFC 8032, 5.1.5): one dependency less than a generator of our own.
fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(ed25519::SecretKey::generate().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests;
