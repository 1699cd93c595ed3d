//! Looks at two files as often as the same-picture rule wants to, cheapest first.
//! What it means is decided in [`crate::picture::same`].

use std::fs::File;
use std::io;
use std::path::Path;

use super::decode::Inspector;
use crate::picture::PixelPlanes;
use crate::picture::detail::Detail;
use crate::picture::same::{self, Doubt, Evidence, Known, Verdict};

/// A content and where its bytes are.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// What is known of it.
    pub known: &'a Known,
    /// A file with it.
    pub path: &'a Path,
}

impl Version<'_> {
    fn open(&self) -> io::Result<File> {
        let file = File::open(self.path)?;
        if file.metadata()?.len() != self.known.facts.bytes {
            return Err(io::Error::other("the file has changed"));
        }
        Ok(file)
    }

    fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_encoded_bytes()
    }

    /// Its pixels at 256x256. `None` when they can't be seen any more.
    pub fn planes(&self, inspector: &Inspector) -> Option<PixelPlanes> {
        inspector.planes(&self.open().ok()?, self.name()).ok()?.ok()
    }

    /// Its luma at `to` pixels. `None` when it can't be seen, or is another content by now.
    pub fn detail(&self, inspector: &Inspector, to: (u32, u32)) -> Option<Detail> {
        let (content, detail) = inspector.detail(&self.open().ok()?, self.name(), to).ok()?.ok()?;
        (content == self.known.content).then_some(detail)
    }
}

/// Two contents that were found to be the same picture, and what was seen of them.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What was measured.
    pub evidence: Evidence,
    /// The keeper's pixels.
    pub keeper: PixelPlanes,
    /// The loser's pixels.
    pub loser: PixelPlanes,
}

/// Judges whether `loser` may go because `keeper` stays. The keeper is the one of the
/// better quality: see [`crate::picture::quality`].
#[must_use]
pub fn compare(inspector: &Inspector, keeper: Version<'_>, loser: Version<'_>) -> Verdict {
    match see(inspector, keeper, loser) {
        Ok(seen) => Verdict::Same(seen.evidence),
        Err(verdict) => verdict,
    }
}

/// Like [`compare`], with the pixels that were looked at.
///
/// # Errors
/// The verdict, when it is another than [`Verdict::Same`].
pub fn see(inspector: &Inspector, keeper: Version<'_>, loser: Version<'_>) -> Result<Seen, Verdict> {
    let distance = same::screen(keeper.known, loser.known)?;
    look(inspector, keeper, loser, distance).map_err(Verdict::Probable)
}

fn look(
    inspector: &Inspector,
    keeper: Version<'_>,
    loser: Version<'_>,
    distance: u32,
) -> Result<Seen, Doubt> {
    let planes = |version: Version<'_>| version.planes(inspector).ok_or(Doubt::Unreadable);
    let side = |known: &Known| known.facts.width.min(known.facts.height);
    let shortest = side(keeper.known).min(side(loser.known));
    let (keeper_planes, loser_planes) = (planes(keeper)?, planes(loser)?);
    let pixels = same::look(&keeper_planes, &loser_planes, shortest)?;
    let size = (loser.known.facts.width, loser.known.facts.height);
    let detail = |version: Version<'_>| version.detail(inspector, size).ok_or(Doubt::Unreadable);
    let (closely, sharpness) = same::look_closely(&detail(keeper)?, &detail(loser)?)?;
    let evidence = Evidence { distance, pixels, closely, sharpness };
    Ok(Seen { evidence, keeper: keeper_planes, loser: loser_planes })
}
