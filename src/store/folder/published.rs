//! What has been published to whom, written down: a node that starts again goes on where it
//! stopped instead of publishing everything anew.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;

use super::Folder;
use super::home::read_small;
use crate::dht_index::spans::Spans;
use crate::dht_index::sweep::Remembered;
use crate::limits::{MAX_SPANS, MAX_SWEEP_BYTES};
use crate::store::files::{AtomicFile, Overwrite, WriteError};
use crate::types::{CatalogHead, Epoch, Seq};

/// Name of the file in the state.
const NAME: &str = "published";

/// What has been published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// By whom: a node with a new identity has published nothing.
    pub node: PeerId,
    /// How far in the own catalog: what came after it may be published nowhere.
    pub head: CatalogHead,
    /// What, and to whom.
    pub sweep: Remembered,
}

impl Folder {
    /// Writes down what has been published to whom.
    ///
    /// # Errors
    /// The disk's.
    pub fn remember_published(&self, published: &Published) -> Result<(), WriteError> {
        published.write(&self.root.state.join(NAME))
    }

    /// What was written down last; `None` when nothing was, by another node, or in the future.
    #[must_use]
    pub fn remembered_published(&self) -> Option<Published> {
        Published::read(&self.root.state.join(NAME), &self.keypair.public().to_peer_id())
    }
}

impl Published {
    /// Lines: the node, the catalog's head, the time of each section, and what each holder has.
    fn write(&self, path: &Path) -> Result<(), WriteError> {
        let now = unix_now();
        let mut text = format!("{}\n{} {}\n", self.node, self.head.epoch.0, self.head.seq.0);
        let times = self.sweep.sections.iter().map(|age| age.map(|age| now.saturating_sub(age.as_secs())));
        let times: Vec<String> =
            times.map(|time| time.map_or_else(|| "-".to_owned(), |time| time.to_string())).collect();
        text += &times.join(" ");
        text += "\n";
        for (peer, held) in &self.sweep.holders {
            text += &peer.to_string();
            for (from, to) in held.iter() {
                // Writing to a text can't fail.
                let _ = write!(text, " {from:x}-{to:x}");
            }
            text += "\n";
        }
        let file = AtomicFile::create(path, 0o600)?;
        file.write_at(0, text.as_bytes())?;
        file.commit(Overwrite::Replace)
    }

    /// Only a help: what can't be read, or is of another node, counts as not published.
    fn read(path: &Path, node: &PeerId) -> Option<Self> {
        let data = read_small(path, MAX_SWEEP_BYTES).ok()?;
        let text = String::from_utf8(data).ok()?;
        let mut lines = text.lines();
        let by: PeerId = lines.next()?.parse().ok()?;
        let (epoch, seq) = lines.next()?.split_once(' ')?;
        let head = CatalogHead { epoch: Epoch(epoch.parse().ok()?), seq: Seq(seq.parse().ok()?) };
        let now = unix_now();
        // A time to come is of a clock that was wrong, then or now.
        let age = |time: &str| Some(Duration::from_secs(now.checked_sub(time.parse().ok()?)?));
        let sections = lines.next()?.split(' ').map(age).collect();
        let holders = lines.map_while(|line| {
            let (peer, spans) = line.split_once(' ')?;
            let span = |span: &str| {
                let (from, to) = span.split_once('-')?;
                Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
            };
            let spans = spans.split(' ').take(MAX_SPANS).map(span).collect::<Option<Vec<_>>>()?;
            Some((peer.parse().ok()?, Spans::of(spans)))
        });
        let sweep = Remembered { sections, holders: holders.collect() };
        (by == *node).then_some(Self { node: by, head, sweep })
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_is_read_again_and_a_damaged_line_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let node = PeerId::random();
        assert_eq!(Published::read(&path, &node), None);
        let published = Published {
            node,
            head: CatalogHead { epoch: Epoch(u64::MAX), seq: Seq(12) },
            sweep: Remembered {
                sections: vec![None, Some(Duration::from_secs(3000)), Some(Duration::ZERO)],
                holders: vec![
                    (PeerId::random(), Spans::all()),
                    (PeerId::random(), Spans::of([(0, 7), (0xabc, u64::MAX)])),
                ],
            },
        };
        published.write(&path).unwrap();
        let read = Published::read(&path, &node).unwrap();
        assert_eq!((read.head, &read.sweep.holders), (published.head, &published.sweep.holders));
        let older = |read: Option<Duration>| read.unwrap().as_secs() - 3000;
        assert!(read.sweep.sections[0].is_none() && older(read.sweep.sections[1]) < 60);
        assert_eq!(Published::read(&path, &PeerId::random()), None, "of another identity");

        let good = std::fs::read_to_string(&path).unwrap();
        let spoilt = good.replace("abc-", "xyz-");
        std::fs::write(&path, &spoilt).unwrap();
        assert_eq!(Published::read(&path, &node).unwrap().sweep.holders, published.sweep.holders[..1]);
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(Published::read(&path, &node), None);
    }
}
