//! A disk in memory that forgets at a crash what was not synced, in any combination.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path};
use std::sync::Mutex;

use super::disk::{Disk, Kind, Look};
use crate::store::index::Fingerprint;
use crate::types::ContentId;

mod faulty;

pub(super) use faulty::{Fault, Faulty};

const ROOT: u64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// Hard links are supported.
    pub(super) links: bool,
    /// A rename between two folders may be half lost at a crash.
    pub(super) torn: bool,
}

impl Model {
    /// Every rule but the last kind, which no program can survive: a torn rename without
    /// hard links.
    pub(super) const ALL: [Self; 3] = [
        Self { links: true, torn: true },
        Self { links: true, torn: false },
        Self { links: false, torn: false },
    ];
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    data: Vec<u8>,
    /// What is on the disk for sure.
    synced: Vec<u8>,
    names: BTreeMap<OsString, u64>,
    synced_names: BTreeMap<OsString, u64>,
    mtime: i128,
    ctime: i128,
}

/// A change of a folder that is not synced.
#[derive(Debug, Clone)]
struct Change {
    dir: u64,
    name: OsString,
    to: Option<u64>,
    /// Changes of one group come to the disk together.
    group: u64,
}

#[derive(Debug, Clone)]
struct State {
    nodes: BTreeMap<u64, Node>,
    pending: Vec<Change>,
    next: u64,
    clock: i128,
    group: u64,
}

#[derive(Debug)]
pub(super) struct MemDisk {
    model: Model,
    state: Mutex<State>,
}

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

impl State {
    fn add(&mut self, kind: Kind) -> u64 {
        self.next += 1;
        self.clock += 1;
        let node = Node {
            kind,
            data: Vec::new(),
            synced: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            mtime: self.clock,
            ctime: self.clock,
        };
        self.nodes.insert(self.next, node);
        self.next
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            let node = &self.nodes[&at];
            if node.kind != Kind::Dir {
                return Err(error(io::ErrorKind::NotADirectory));
            }
            at = *node.names.get(name).ok_or_else(|| error(io::ErrorKind::NotFound))?;
        }
        Ok(at)
    }

    fn parent(&self, path: &Path) -> io::Result<(u64, OsString)> {
        let dir = self.find(path.parent().unwrap())?;
        if self.nodes[&dir].kind != Kind::Dir {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        Ok((dir, path.file_name().unwrap().to_owned()))
    }

    fn set(&mut self, dir: u64, name: &OsString, to: Option<u64>, group: u64) {
        let names = &mut self.nodes.get_mut(&dir).unwrap().names;
        match to {
            Some(node) => names.insert(name.clone(), node),
            None => names.remove(name),
        };
        self.pending.push(Change { dir, name: name.clone(), to, group });
    }

    fn new_group(&mut self) -> u64 {
        self.group += 1;
        self.group
    }

    fn touch(&mut self, node: u64) {
        self.clock += 1;
        let clock = self.clock;
        self.nodes.get_mut(&node).unwrap().ctime = clock;
    }

    fn links(&self, node: u64) -> u64 {
        let names = self.nodes.values().flat_map(|n| n.names.values());
        names.filter(|to| **to == node).count() as u64
    }

    fn look(&self, id: u64) -> Look {
        let node = &self.nodes[&id];
        let fingerprint = Fingerprint {
            bytes: node.data.len() as u64,
            mtime_ns: node.mtime,
            ctime_ns: node.ctime,
            inode: id,
            device: 7,
        };
        Look { kind: node.kind, fingerprint, links: self.links(id) }
    }

    /// Makes the changes of a folder durable, and with them those of the same groups.
    fn sync_dir(&mut self, dir: u64) {
        let groups: Vec<_> = self.pending.iter().filter(|c| c.dir == dir).map(|c| c.group).collect();
        let (now, later) =
            std::mem::take(&mut self.pending).into_iter().partition(|c: &Change| groups.contains(&c.group));
        self.pending = later;
        self.apply(now);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            let names = &mut self.nodes.get_mut(&change.dir).unwrap().synced_names;
            match change.to {
                Some(node) => names.insert(change.name, node),
                None => names.remove(&change.name),
            };
        }
    }
}

impl MemDisk {
    pub(super) fn new(model: Model) -> Self {
        let mut state =
            State { nodes: BTreeMap::new(), pending: Vec::new(), next: 0, clock: 1_000, group: 0 };
        assert_eq!(state.add(Kind::Dir), ROOT);
        Self { model, state: Mutex::new(state) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    /// Groups of changes that a crash would lose or keep, one by one.
    pub(super) fn unsure(&self) -> usize {
        self.with(|state| {
            let mut groups: Vec<_> = state.pending.iter().map(|c| c.group).collect();
            groups.dedup();
            groups.len()
        })
    }

    /// The disk after a crash: bit `i` of `kept` tells whether the `i`th unsynced change
    /// came to the disk, `part` how much (of 2) of every unsynced file.
    pub(super) fn crashed(&self, kept: u64, part: usize) -> Self {
        let mut state = self.state.lock().unwrap().clone();
        let mut groups: Vec<_> = state.pending.iter().map(|c| c.group).collect();
        groups.dedup();
        let kept = |group: u64| {
            let at = groups.iter().position(|g| *g == group).unwrap();
            kept >> (at % 64) & 1 == 1
        };
        let (kept, _lost): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.pending).into_iter().partition(|c| kept(c.group));
        state.apply(kept);
        for node in state.nodes.values_mut() {
            node.names = node.synced_names.clone();
            if node.data != node.synced {
                let length = node.data.len() * part / 2;
                node.data = if node.data.starts_with(&node.synced) {
                    node.data[..length.max(node.synced.len())].to_vec()
                } else if part == 0 {
                    node.synced.clone()
                } else {
                    node.data[..length].to_vec()
                };
                node.synced = node.data.clone();
            }
        }
        Self { model: self.model, state: Mutex::new(state) }
    }

    /// Makes everything durable.
    pub(super) fn settle(&self) {
        self.with(|state| {
            let pending = std::mem::take(&mut state.pending);
            state.apply(pending);
            state.nodes.values_mut().for_each(|node| node.synced = node.data.clone());
        });
    }
}

impl Disk for MemDisk {
    fn look(&self, path: &Path) -> io::Result<Look> {
        self.with(|state| state.find(path).map(|id| state.look(id)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.with(|state| Ok(state.nodes[&state.find(dir)?].names.keys().cloned().collect()))
    }

    fn hash(&self, path: &Path) -> io::Result<(ContentId, Look)> {
        self.with(|state| {
            let id = state.find(path)?;
            if state.nodes[&id].kind != Kind::File {
                return Err(error(io::ErrorKind::InvalidInput));
            }
            Ok((ContentId(*blake3::hash(&state.nodes[&id].data).as_bytes()), state.look(id)))
        })
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.with(|state| {
            let data = state.nodes[&state.find(path)?].data.clone();
            if data.len() > limit { Err(error(io::ErrorKind::InvalidData)) } else { Ok(data) }
        })
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|state| {
            let (parent, name) = state.parent(dir)?;
            if state.nodes[&parent].names.contains_key(&name) {
                return Err(error(io::ErrorKind::AlreadyExists));
            }
            let (node, group) = (state.add(Kind::Dir), state.new_group());
            state.set(parent, &name, Some(node), group);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|state| {
            let node = state.find(dir)?;
            if !state.nodes[&node].names.is_empty() {
                return Err(error(io::ErrorKind::DirectoryNotEmpty));
            }
            let (parent, name) = state.parent(dir)?;
            let group = state.new_group();
            state.set(parent, &name, None, group);
            Ok(())
        })
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let (dir, name) = state.parent(path)?;
            let node = if let Some(node) = state.nodes[&dir].names.get(&name) {
                *node
            } else {
                let (node, group) = (state.add(Kind::File), state.new_group());
                state.set(dir, &name, Some(node), group);
                node
            };
            state.touch(node);
            let node = state.nodes.get_mut(&node).unwrap();
            node.data = data.to_vec();
            node.mtime = node.ctime;
            Ok(())
        })
    }

    fn append(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let before = self.read(path, usize::MAX).unwrap_or_default();
        self.write(path, &[&before, data].concat())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            let node = state.find(path)?;
            let node = state.nodes.get_mut(&node).unwrap();
            node.synced = node.data.clone();
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.with(|state| {
            let dir = state.find(dir)?;
            state.sync_dir(dir);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|state| {
            let node = state.find(from)?;
            let ((from_dir, from_name), (to_dir, to_name)) = (state.parent(from)?, state.parent(to)?);
            if state.nodes[&to_dir].names.get(&to_name) == Some(&node) {
                // POSIX: two names of one file, nothing happens.
                return Ok(());
            }
            let group = state.new_group();
            state.set(to_dir, &to_name, Some(node), group);
            let group = if self.model.torn { state.new_group() } else { group };
            state.set(from_dir, &from_name, None, group);
            state.touch(node);
            Ok(())
        })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.look(to) {
            Ok(_) => Err(error(io::ErrorKind::AlreadyExists)),
            Err(_) => self.rename(from, to),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|state| {
            if !self.model.links {
                return Err(error(io::ErrorKind::Unsupported));
            }
            let node = state.find(from)?;
            let (dir, name) = state.parent(to)?;
            if state.nodes[&dir].names.contains_key(&name) {
                return Err(error(io::ErrorKind::AlreadyExists));
            }
            let group = state.new_group();
            state.set(dir, &name, Some(node), group);
            state.touch(node);
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            let node = state.find(path)?;
            let (dir, name) = state.parent(path)?;
            let group = state.new_group();
            state.set(dir, &name, None, group);
            state.touch(node);
            Ok(())
        })
    }
}
