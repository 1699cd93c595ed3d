//! The nodes that run on this machine, so that a client finds one without an address.
//!
//! Each node keeps a file `running/PEER-ID` locked while it runs. The lock, not a process
//! id, tells who is alive: it ends with the process however that ends, and no other
//! process can come to own it by chance, as happens with process ids.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use super::home::{Home, read_small};
use super::make_private;
use crate::limits::MAX_RUNNING_NODES;

const FIRST_LINE: &str = "p2pimg running 1";
const LAST_LINE: &str = "end";
/// 1,024 addresses of 64 bytes, and two paths.
const MAX_BYTES: u64 = 80 * 1024;

/// A node of this user that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningNode {
    /// Who.
    pub peer: PeerId,
    /// Its process, for people.
    pub pid: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// Its state; `None` when a version wrote the entry that did not say it.
    pub state: Option<PathBuf>,
    /// Where it listens, without `/p2p/`.
    pub addresses: Vec<Multiaddr>,
}

/// The entry of this process; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    file: File,
    path: PathBuf,
}

impl Entry {
    /// Makes and locks the entry of `peer`; `ResourceBusy` when another process keeps it,
    /// which then has the same identity.
    pub(super) fn make(home: &Home, peer: &PeerId) -> io::Result<Self> {
        make_private(&home.running())?;
        let path = home.running().join(peer.to_string());
        // Readers hold the lock for an instant. One that is removing a dead entry may
        // remove the file between our opening and our locking it: then the name means
        // another file, or none.
        for _ in 0..100 {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(e)) => return Err(e),
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            }
            if fs::metadata(&path).is_ok_and(|now| now.ino() == file.metadata().map_or(0, |m| m.ino())) {
                return Ok(Self { file, path });
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Replaces what the entry says. Written in place because the lock belongs to the
    /// file and not to its name; the last line tells a reader that it has all.
    pub(super) fn write(&mut self, folder: &Path, state: &Path, addresses: &[Multiaddr]) -> io::Result<()> {
        let [folder, state] = [folder, state].map(|path| crate::types::to_hex(path.as_os_str().as_bytes()));
        let mut text =
            format!("{FIRST_LINE}\npid {}\nfolder {folder}\nstate {state}", std::process::id()).into_bytes();
        for address in addresses {
            write!(text, "\naddress {address}")?;
        }
        text.extend(format!("\n{LAST_LINE}\n").bytes());
        self.file.set_len(0)?;
        self.file.write_all_at(&text, 0)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // While the lock is still held, so that it can't be another's.
        let _ = fs::remove_file(&self.path);
    }
}

/// The running nodes of this user, in the order of their folders. Entries of dead nodes
/// are removed.
///
/// # Errors
/// When the list can't be read; that there is none is not an error.
pub fn running_nodes(home: &Home) -> io::Result<Vec<RunningNode>> {
    let mut nodes = Vec::new();
    let entries = match fs::read_dir(home.running()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(nodes),
        entries => entries?,
    };
    for entry in entries.take(MAX_RUNNING_NODES) {
        let path = entry?.path();
        let peer = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(peer) = peer else { continue };
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                nodes.extend(read_small(&path, MAX_BYTES).ok().and_then(|data| parse(peer, &data)));
            }
            // Nobody holds it: its node is dead.
            Ok(()) => drop(fs::remove_file(&path)),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    nodes.sort_by(|a, b| (&a.folder, a.peer).cmp(&(&b.folder, b.peer)));
    Ok(nodes)
}

/// `None` for a node that is just starting (or stopping) and has not said where it is.
fn parse(peer: PeerId, data: &[u8]) -> Option<RunningNode> {
    let text = std::str::from_utf8(data).ok()?;
    let mut lines = text.lines();
    let complete = lines.next() == Some(FIRST_LINE) && lines.next_back() == Some(LAST_LINE);
    let mut node = RunningNode { peer, pid: 0, folder: PathBuf::new(), state: None, addresses: Vec::new() };
    let path = |hex: &str| from_hex(hex).map(|bytes| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)));
    for line in lines {
        match line.split_once(' ')? {
            ("pid", pid) => node.pid = pid.parse().ok()?,
            ("folder", hex) => node.folder = path(hex)?,
            ("state", hex) => node.state = Some(path(hex)?),
            ("address", address) => node.addresses.push(address.parse().ok()?),
            // A later version may say more.
            _ => {}
        }
    }
    complete.then_some(node)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: &u8| (*b as char).to_digit(16).map(|d| d as u8);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_nodes_are_found_and_dead_ones_cleaned_away() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert_eq!(running_nodes(&home).unwrap(), []);
        let (one, dead) = (PeerId::random(), PeerId::random());
        let mut entry = Entry::make(&home, &one).unwrap();
        assert_eq!(running_nodes(&home).unwrap(), [], "has not said where it is");
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/4711".parse().unwrap();
        let folder = Path::new(std::ffi::OsStr::from_bytes(b"/photos \n\xff"));
        let state = Path::new("/state");
        entry.write(folder, state, &["/ip6/::1/tcp/1".parse().unwrap(), address.clone()]).unwrap();
        entry.write(folder, state, std::slice::from_ref(&address)).unwrap();
        // What a killed node leaves: a complete file without a lock.
        fs::copy(&entry.path, home.running().join(dead.to_string())).unwrap();
        fs::write(home.running().join("README"), "not an entry").unwrap();

        let node = RunningNode {
            peer: one,
            pid: std::process::id(),
            folder: folder.into(),
            state: Some(state.into()),
            addresses: vec![address],
        };
        assert_eq!(running_nodes(&home).unwrap(), [node]);
        let twin = Entry::make(&home, &one).unwrap_err();
        assert_eq!(twin.kind(), io::ErrorKind::ResourceBusy);
        assert!(!home.running().join(dead.to_string()).exists());
        drop(entry);
        assert_eq!(running_nodes(&home).unwrap(), []);
    }

    #[test]
    fn half_an_entry_is_none() {
        let peer = PeerId::random();
        let whole = "p2pimg running 1\npid 7\nfolder 2f\naddress /ip4/1.2.3.4/tcp/5\nend\n";
        assert!(parse(peer, whole.as_bytes()).is_some());
        for cut in 0..whole.len() - 2 {
            assert_eq!(parse(peer, &whole.as_bytes()[..cut]), None, "{cut}");
        }
    }
}
