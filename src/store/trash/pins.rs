//! Which contents a person wants kept: restored, put back, or under a `--keep` pattern.
//!
//! A file of its own, and not a table of the index: the index is made anew from the folder
//! when it is damaged, and pins can't be. One line a change, each with a checksum, because
//! a crash may leave anything at the end of a file that was being appended to:
//!
//! ```text
//! p2pimg pins 1
//! 5f2a91c0 + <64 digits of the content> restored 1763896099
//! 8810aa3e - <64 digits of the content>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::error::DiskError;
use crate::limits::MAX_PINS_BYTES;
use crate::types::{ContentId, to_hex};

/// Name of the file in the state.
pub const PINS_NAME: &str = "pins";
const FIRST_LINE: &str = "p2pimg pins 1\n";
/// Lines that say nothing any more before the file is written anew.
const MAX_STALE: usize = 1000;

/// Why a content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinCause {
    /// A person took it out of the trash.
    Restored,
    /// It reappeared where it had been dropped.
    Reappeared,
    /// `--keep`.
    Asked,
}

impl PinCause {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Restored, "restored"), (Self::Reappeared, "reappeared"), (Self::Asked, "keep")];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(cause, _)| *cause == self).map_or("keep", |(_, name)| name)
    }
}

/// A pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Why.
    pub cause: PinCause,
    /// Seconds since 1970.
    pub since: u64,
}

/// The pins of a folder. Every change is durable when the call returns.
#[derive(Debug)]
pub(super) struct Pins {
    path: PathBuf,
    held: BTreeMap<ContentId, Pin>,
    /// Lines of the file, the damaged ones too.
    lines: usize,
    /// The file must be written anew before anything is appended to it.
    rewrite: bool,
    damaged: usize,
}

impl Pins {
    /// Reads the file. Lines that are damaged are counted, and the rest is used: of two
    /// mistakes, a lost pin can be seen in the trash and undone again.
    pub(super) fn open(disk: &dyn Disk, state: &Path) -> Result<Self, DiskError> {
        let path = state.join(PINS_NAME);
        let fail = DiskError::at("read the pins", &path);
        let mut pins =
            Self { path: path.clone(), held: BTreeMap::new(), lines: 0, rewrite: true, damaged: 0 };
        let data = match disk.read(&path, MAX_PINS_BYTES) {
            Ok(data) => data,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(pins),
            Err(e) => return Err(fail(e)),
        };
        let Some(body) = data.strip_prefix(FIRST_LINE.as_bytes()) else {
            return Err(fail(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a file of pins, or one of a newer p2pimg; it was left as it is",
            )));
        };
        for line in body.split_inclusive(|b| *b == b'\n') {
            pins.lines += 1;
            match parse(line) {
                Some((content, Some(pin))) => drop(pins.held.insert(content, pin)),
                Some((content, None)) => drop(pins.held.remove(&content)),
                None => pins.damaged += 1,
            }
        }
        // A line that a crash cut off would swallow the next one.
        pins.rewrite = pins.damaged > 0;
        Ok(pins)
    }

    pub(super) fn get(&self, content: &ContentId) -> Option<Pin> {
        self.held.get(content).copied()
    }

    pub(super) fn all(&self) -> Vec<(ContentId, Pin)> {
        self.held.iter().map(|(content, pin)| (*content, *pin)).collect()
    }

    pub(super) fn damaged(&self) -> usize {
        self.damaged
    }

    pub(super) fn add(
        &mut self,
        disk: &dyn Disk,
        content: ContentId,
        cause: PinCause,
        now: SystemTime,
    ) -> Result<(), DiskError> {
        if self.held.contains_key(&content) {
            return Ok(());
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let pin = Pin { cause, since };
        self.change(disk, content, Some(pin))
    }

    pub(super) fn remove(&mut self, disk: &dyn Disk, content: ContentId) -> Result<(), DiskError> {
        if self.held.contains_key(&content) { self.change(disk, content, None) } else { Ok(()) }
    }

    fn change(&mut self, disk: &dyn Disk, content: ContentId, pin: Option<Pin>) -> Result<(), DiskError> {
        let before = match pin {
            Some(pin) => self.held.insert(content, pin),
            None => self.held.remove(&content),
        };
        let stale = self.lines.saturating_sub(self.held.len()) > MAX_STALE.max(self.held.len());
        let result = if self.rewrite || stale {
            self.write_anew(disk)
        } else {
            self.lines += 1;
            // What an error left of the line is unknown.
            self.rewrite = true;
            let line = line(content, pin);
            disk.append(&self.path, line.as_bytes()).and_then(|()| disk.sync_file(&self.path))
        };
        match result {
            Ok(()) => self.rewrite = false,
            Err(_) => drop(match before {
                Some(before) => self.held.insert(content, before),
                None => self.held.remove(&content),
            }),
        }
        result.map_err(DiskError::at("write the pins", &self.path))
    }

    fn write_anew(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let temp = self.path.with_file_name(".p2pimg-pins.tmp");
        let mut text = FIRST_LINE.to_owned();
        self.held.iter().for_each(|(content, pin)| text.push_str(&line(*content, Some(*pin))));
        disk.write(&temp, text.as_bytes())?;
        disk.sync_file(&temp)?;
        disk.rename(&temp, &self.path)?;
        disk.sync_dir(self.path.parent().unwrap_or(Path::new("/")))?;
        (self.lines, self.damaged) = (self.held.len(), 0);
        Ok(())
    }
}

fn checksum(body: &str) -> String {
    to_hex(blake3::hash(body.as_bytes()).as_bytes().get(..4).unwrap_or_default())
}

fn line(content: ContentId, pin: Option<Pin>) -> String {
    let mut body = format!("{} {content}", if pin.is_some() { '+' } else { '-' });
    if let Some(Pin { cause, since }) = pin {
        // Writing to a String cannot fail.
        let _ = write!(body, " {} {since}", cause.name());
    }
    format!("{} {body}\n", checksum(&body))
}

fn parse(line: &[u8]) -> Option<(ContentId, Option<Pin>)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (sum, body) = line.split_once(' ')?;
    if sum != checksum(body) {
        return None;
    }
    let words: Vec<_> = body.split(' ').collect();
    match words[..] {
        ["-", content] => Some((content.parse().ok()?, None)),
        ["+", content, cause, since] => {
            // A cause that a later version invents is a pin all the same.
            let cause = PinCause::ALL.iter().find(|(_, name)| *name == cause);
            let cause = cause.map_or(PinCause::Asked, |(cause, _)| *cause);
            Some((content.parse().ok()?, Some(Pin { cause, since: since.parse().ok()? })))
        }
        _ => None,
    }
}
