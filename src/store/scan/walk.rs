//! The folder's files in the byte order of their paths, the order of the index, so that
//! both can be merged with little memory: one listing a level is all that is held.
//!
//! Not `walkdir`: its entries carry whole paths (a folder of a million files would take
//! 150 MB), and it reports a listing that breaks off half-way as a single bad entry, which
//! would make the rest of that folder look deleted.

use std::cmp::Ordering;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::vec;

use crate::store::files::TEMP_PREFIX;
use crate::store::folder::{MARKER_NAME, Root, STATE_NAME, TRASH_NAME};
use crate::store::index::Fingerprint;
use crate::types::RelPath;

/// Folders of file managers and systems: what lies there was deleted, or is no photo of
/// the user's. A picture moved to the desktop's trash must not stay listed.
const SKIPPED_FOLDERS: [&[u8]; 9] = [
    STATE_NAME.as_bytes(),
    TRASH_NAME.as_bytes(),
    b".Trash",
    b".Trashes",
    b"$RECYCLE.BIN",
    b"System Volume Information",
    b".Spotlight-V100",
    b".fseventsd",
    b"@eaDir",
];

/// Whether a file or folder of this name is not looked at.
pub(super) fn is_skipped(name: &[u8], is_dir: bool) -> bool {
    if is_dir {
        return SKIPPED_FOLDERS.contains(&name) || name.starts_with(b".Trash-");
    }
    // `._name`: what macOS keeps beside a file on foreign file systems.
    name == MARKER_NAME.as_bytes() || name.starts_with(TEMP_PREFIX.as_bytes()) || name.starts_with(b"._")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File,
    Link,
    Other,
}

/// A name in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Box<[u8]>,
    pub(super) kind: Kind,
}

/// Lists a folder, all or nothing. A parameter because a test can't make a folder that
/// its own user (root, often) may not read.
pub(super) type List = fn(&Path) -> io::Result<Vec<Entry>>;

pub(super) fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let entries = fs::read_dir(dir)?.map(|entry| {
        let entry = entry?;
        let kind = entry.file_type()?;
        let kind = match () {
            () if kind.is_dir() => Kind::Dir,
            () if kind.is_file() => Kind::File,
            () if kind.is_symlink() => Kind::Link,
            () => Kind::Other,
        };
        Ok(Entry { name: entry.file_name().into_vec().into_boxed_slice(), kind })
    });
    entries.collect()
}

/// What a walk comes across, in the byte order of the paths; a folder sorts like its
/// path and a `/`.
#[derive(Debug)]
pub(super) enum Item {
    /// A regular file.
    File { path: RelPath, fingerprint: Fingerprint },
    /// A file that can't be looked at: nothing is known, so nothing changes.
    Unreadable { path: RelPath, reason: String },
    /// A folder of which nothing may be concluded.
    Hole(Hole),
    /// Something that is left out on purpose.
    Skipped(Skipped),
    /// A path that can't be handled.
    Odd { shown: String, reason: String },
}

/// A folder whose files must not be taken for deleted.
#[derive(Debug)]
pub(super) struct Hole {
    /// Its path.
    pub(super) dir: RelPath,
    /// Why it can't be read; `None`: it is empty, which on another device than its files
    /// were on means that a drive is away.
    pub(super) reason: Option<String>,
    pub(super) device: u64,
}

impl Hole {
    /// Whether the file at `path`, last seen on `device`, may just be out of sight.
    pub(super) fn hides(&self, path: &RelPath, device: u64) -> bool {
        let below = *path == self.dir
            || path
                .as_bytes()
                .strip_prefix(self.dir.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&b'/'));
        below && (self.reason.is_some() || device != self.device)
    }
}

#[derive(Debug)]
pub(super) enum Skipped {
    /// A link that leads out of the folder.
    Link,
    /// A folder with its own marker: another node's, whose copies must not count twice.
    OtherFolder(RelPath),
}

struct Level {
    /// Path of the folder with a `/` at its end; empty for the root.
    prefix: Vec<u8>,
    entries: vec::IntoIter<Entry>,
}

/// An iterator over a folder or a part of it.
pub(super) struct Walk<'a> {
    root: &'a Root,
    list: List,
    /// Told of every folder before it is listed, so that a watch set up there misses
    /// nothing that comes after the listing.
    enter: &'a dyn Fn(&Path),
    levels: Vec<Level>,
}

impl<'a> Walk<'a> {
    /// The whole folder.
    ///
    /// # Errors
    /// When the folder itself can't be listed.
    pub(super) fn all(root: &'a Root, list: List, enter: &'a dyn Fn(&Path)) -> io::Result<Self> {
        enter(root.dir());
        let level = Level { prefix: Vec::new(), entries: sorted(list(root.dir())?) };
        Ok(Self { root, list, enter, levels: vec![level] })
    }

    /// `path` and what is below it.
    pub(super) fn part(root: &'a Root, path: &RelPath, list: List, enter: &'a dyn Fn(&Path)) -> Self {
        let bytes = path.as_bytes();
        let (prefix, name) = bytes.split_at(bytes.len() - path.file_name().len());
        let kind = match fs::symlink_metadata(path.in_folder(root.dir())) {
            Ok(meta) if meta.is_dir() => Kind::Dir,
            // A link, a file or nothing: found out again in its turn.
            _ => Kind::File,
        };
        let entries = vec![Entry { name: name.into(), kind }].into_iter();
        Self { root, list, enter, levels: vec![Level { prefix: prefix.to_vec(), entries }] }
    }

    fn look_at(&mut self, bytes: &[u8], kind: Kind) -> Option<Item> {
        let Some(path) = RelPath::from_bytes(bytes.to_vec()) else {
            let shown = crate::types::printable(&String::from_utf8_lossy(bytes));
            return Some(Item::Odd { shown, reason: format!("longer than {} bytes", RelPath::MAX_BYTES) });
        };
        let full = path.in_folder(self.root.dir());
        match kind {
            Kind::Other => None,
            Kind::Link => leads_out(self.root, &full).then_some(Item::Skipped(Skipped::Link)),
            Kind::File => match fs::symlink_metadata(&full) {
                Ok(meta) if meta.is_file() => Some(Item::File { path, fingerprint: fingerprint(&meta) }),
                // It became something else since it was listed.
                Ok(_) => None,
                Err(e) if is_absent(&e) => None,
                Err(e) => Some(Item::Unreadable { path, reason: e.to_string() }),
            },
            Kind::Dir => self.enter(path, &full),
        }
    }

    fn enter(&mut self, dir: RelPath, full: &Path) -> Option<Item> {
        if full == self.root.state() {
            return None;
        }
        let device = match fs::symlink_metadata(full) {
            Ok(meta) if meta.is_dir() => meta.dev(),
            Ok(_) => return None,
            Err(e) if is_absent(&e) => return None,
            Err(e) => return Some(Item::Hole(Hole { dir, reason: Some(e.to_string()), device: 0 })),
        };
        if is_other_folder(full) {
            return Some(Item::Skipped(Skipped::OtherFolder(dir)));
        }
        (self.enter)(full);
        match (self.list)(full) {
            Ok(entries) if entries.is_empty() => Some(Item::Hole(Hole { dir, reason: None, device })),
            Ok(entries) => {
                let mut prefix = dir.as_bytes().to_vec();
                prefix.push(b'/');
                self.levels.push(Level { prefix, entries: sorted(entries) });
                None
            }
            Err(e) if is_absent(&e) => None,
            Err(e) => Some(Item::Hole(Hole { dir, reason: Some(e.to_string()), device })),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            if is_skipped(&entry.name, entry.kind == Kind::Dir) {
                continue;
            }
            let path = [&level.prefix[..], &entry.name].concat();
            if let Some(item) = self.look_at(&path, entry.kind) {
                return Some(item);
            }
        }
    }
}

/// Sorted so that the walk's paths come in byte order: `a-b` before `a/c` before `a0`.
fn sorted(mut entries: Vec<Entry>) -> vec::IntoIter<Entry> {
    let end = |entry: &Entry| (entry.kind == Kind::Dir).then_some(b'/');
    entries.sort_unstable_by(|a, b| -> Ordering {
        a.name.iter().copied().chain(end(a)).cmp(b.name.iter().copied().chain(end(b)))
    });
    entries.into_iter()
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn is_other_folder(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(MARKER_NAME)).is_ok_and(|meta| meta.is_file())
}

fn leads_out(root: &Root, link: &Path) -> bool {
    fs::canonicalize(link).is_ok_and(|target| !target.starts_with(root.dir()))
}

pub(in crate::store) fn fingerprint(meta: &Metadata) -> Fingerprint {
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    Fingerprint {
        bytes: meta.len(),
        mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        inode: meta.ino(),
        device: meta.dev(),
    }
}

/// How far a path that is to be looked at can be followed.
pub(super) enum Way {
    /// All its folders are real folders of this node.
    Open,
    /// It leads through a link, a file, nothing, or a folder that is not this node's: no
    /// file of ours can be there. The hole says what must not be concluded all the same.
    Gone(Option<Hole>),
    /// A folder that can't be looked into.
    Hidden(Hole),
    /// p2pimg's own files, or something else that is never looked at.
    Skipped,
}

/// Follows `path` from the root without following links.
pub(super) fn way_to(root: &Root, path: &RelPath) -> Way {
    let parts: Vec<&[u8]> = path.as_bytes().split(|b| *b == b'/').collect();
    let Some((name, parents)) = parts.split_last() else { return Way::Skipped };
    let mut at = PathBuf::from(root.dir());
    let mut so_far: Option<RelPath> = None;
    let mut device = None;
    for part in parents {
        at.push(std::ffi::OsStr::from_bytes(part));
        let dir = RelPath::below(root.dir(), &at);
        if is_skipped(part, true) || at == root.state() {
            return Way::Skipped;
        }
        match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() && !is_other_folder(&at) => device = Some(meta.dev()),
            Ok(_) => return Way::Gone(None),
            Err(e) if is_absent(&e) => return Way::Gone(so_far.and_then(|dir| empty(root, dir, device))),
            Err(e) => {
                let hole = dir.map(|dir| Hole { dir, reason: Some(e.to_string()), device: 0 });
                return hole.map_or(Way::Skipped, Way::Hidden);
            }
        }
        so_far = dir;
    }
    let full = path.in_folder(root.dir());
    let is_dir = match fs::symlink_metadata(&full) {
        Ok(meta) => meta.is_dir(),
        Err(e) if is_absent(&e) => {
            return Way::Gone(so_far.and_then(|dir| empty(root, dir, device)));
        }
        Err(e) => {
            return Way::Hidden(Hole { dir: path.clone(), reason: Some(e.to_string()), device: 0 });
        }
    };
    if is_skipped(name, is_dir) || full == root.state() { Way::Skipped } else { Way::Open }
}

/// Only the first entry is read: a folder from which many files were deleted is asked for
/// each of them.
fn empty(root: &Root, dir: RelPath, device: Option<u64>) -> Option<Hole> {
    let reason = match fs::read_dir(dir.in_folder(root.dir())).map(|mut entries| entries.next()) {
        Ok(None) => None,
        Ok(Some(Ok(_))) => return None,
        Ok(Some(Err(e))) | Err(e) => Some(e.to_string()),
    };
    Some(Hole { dir, reason, device: device? })
}

/// Counts the files that a walk would come across, far faster because it looks at none.
pub(super) fn count(root: &Root, list: List, found: &AtomicU64, stop: &dyn Fn() -> bool) {
    let mut dirs = vec![root.dir().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        if stop() || (dir != root.dir() && (dir == root.state() || is_other_folder(&dir))) {
            continue;
        }
        for entry in list(&dir).unwrap_or_default() {
            match entry.kind {
                _ if is_skipped(&entry.name, entry.kind == Kind::Dir) => {}
                Kind::Dir => dirs.push(dir.join(std::ffi::OsStr::from_bytes(&entry.name))),
                Kind::File => drop(found.fetch_add(1, Relaxed)),
                Kind::Link | Kind::Other => {}
            }
        }
    }
}
