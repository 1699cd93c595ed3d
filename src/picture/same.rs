//! Whether two contents show the same picture.
//!
//! In stages, each dearer than the one before: what is known of both without reading them
//! ([`screen`]), both at 256x256 ([`look`]), both at the size of the lesser one
//! ([`look_closely`]). Only what passes them all is [`Verdict::Same`], the only verdict
//! that may ever remove a file. What the hash takes for the same and a later stage does not
//! is [`Verdict::Probable`]: shown to people, never acted on.
//!
//! The thresholds come from measurements (`docs/accuracy.md`): no false merge first, recall
//! second. Not guaranteed: a change too small to be seen at the lesser version's size (a
//! few pixels of a large photo), and a change in colour only, smaller than a sixteenth of a
//! side, are the same picture here.

use std::collections::BTreeSet;
use std::fmt;

mod capture;

use self::capture::taken_apart;
use super::compare::{self, ColourGap, LocalGap, SignatureGap, View};
use super::detail::Detail;
use super::quality::{Encoding, Quality};
use super::witness::Witness;
use super::{HASH, HashParameters, PixelPlanes, Signature, distance};
use crate::types::{ContentId, Facts, ImageId, Traits};

/// Version of everything that decides: hash, signature, quality, same-picture rule, vetoes.
/// Nodes of different versions share copies and never drop against each other.
pub const DECISION_VERSION: u32 = 1;

/// The parameters of one version of the same-picture rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionParameters {
    /// The version that these parameters are.
    pub version: u32,
    /// The hash and signature that they belong to.
    pub hash: HashParameters,
    /// Largest distance of the hashes, of 256 bits.
    pub max_distance: u32,
    /// Largest difference of the aspect ratios, as a part of 1. Rounding a small copy's
    /// size to whole pixels is allowed on top.
    pub max_aspect: f32,
    /// Largest gaps of the signatures. That of luma counts for pictures of `signature_side`
    /// or more on the shorter side; smaller ones may differ by so much more as they are
    /// smaller, because a cell is then few pixels, and resizing moves what is in it.
    pub signature: SignatureGap,
    /// See `signature`.
    pub signature_side: u32,
    /// Shortest side that is looked at: smaller pictures match by content only.
    pub min_side: u32,
    /// Window of the structural comparison, in cells.
    pub window: usize,
    /// Worst window at 256x256 or, for small pictures, less.
    pub pixels: LocalGap,
    /// Largest gaps of the colours; `saturation` is the least.
    pub colours: ColourGap,
    /// Worst window at the loser's size; the outlier of structure in windows twice as wide.
    pub closely: LocalGap,
    /// How much less sharp the keeper may be.
    pub sharpness: SharpnessLimits,
}

/// How much less sharp than the loser a keeper may be, at the loser's size. Encoding a picture
/// again moves its energy up or down by some per cent, and small steps of a fine encoder
/// make the other look sharper than it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpnessLimits {
    /// Least ratio of the energies.
    pub least: f32,
    /// Least ratio where no part has lost more than `unseen`, or no window differs by more
    /// than `rounding`.
    pub least_unseen: f32,
    /// Energy of a part that nobody misses: noise of about three levels.
    pub unseen: f32,
    /// Largest difference of a window's mean, in levels, that is rounding in an encoder: a
    /// softer copy differs by more at its edges. Of pixels, not of larger cells.
    pub rounding: f32,
    /// Least ratio of any part.
    pub least_of_part: f32,
    /// Energy that is added to both sides: of a picture without any detail there is nothing
    /// to lose.
    pub next_to_nothing: f32,
}

/// What this program decides by.
pub const DECISION: DecisionParameters = DecisionParameters {
    version: DECISION_VERSION,
    hash: HASH,
    max_distance: 24,
    max_aspect: 0.02,
    signature: SignatureGap { luma_mean: 2.2, luma_max: 16.0, chroma_mean: 1.3, chroma_max: 9.0 },
    signature_side: 256,
    min_side: 64,
    window: 8,
    pixels: LocalGap { level: 5.0, structure: 0.85, level_outlier: 8.0, structure_outlier: f32::MAX },
    colours: ColourGap {
        level: 4.5,
        broad: 2.3,
        level_outlier: 3.5,
        broad_outlier: 2.2,
        turn: 2.0,
        saturation: 0.96,
        strength: 3.0,
    },
    closely: LocalGap { level: 7.2, structure: 0.25, level_outlier: 5.0, structure_outlier: 6.0 },
    sharpness: SharpnessLimits {
        least: 0.87,
        least_unseen: 0.75,
        unseen: 40.0,
        rounding: 0.7,
        least_of_part: 0.55,
        next_to_nothing: 16.0,
    },
};

/// Everything known of a content without reading it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which content.
    pub content: ContentId,
    /// What its bytes say.
    pub facts: Facts,
    /// How it is encoded.
    pub encoding: Encoding,
    /// `None` when it was not decoded.
    pub signature: Option<Signature>,
    /// What it was made of, and what was made of it, in place.
    pub edits: Edits,
}

/// The contents that a content is related to by edits in place: a file had the one, and then
/// the other. Whoever changed it knew two pictures, however alike they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Some of them; all when there are no `more`.
    pub contents: BTreeSet<ContentId>,
    /// There are more than are followed: nobody may go for it, and it for nobody.
    pub more: bool,
}

impl Edits {
    /// What speaks against `keeper` standing for `loser`, if anything.
    fn between(keeper: &Known, loser: &Known) -> Option<Verdict> {
        let names = |a: &Known, b: &Known| a.edits.contents.contains(&b.content);
        if names(keeper, loser) || names(loser, keeper) {
            return Some(Verdict::Different(Doubt::Edited));
        }
        (keeper.edits.more || loser.edits.more).then_some(Verdict::Probable(Doubt::EditedOften))
    }
}

impl Known {
    /// Its place in the order.
    #[must_use]
    pub fn quality(&self) -> Quality {
        Quality::new(self.content, &self.facts, self.encoding)
    }
}

/// Its edits are not kept: whoever is compared with it has to name them.
impl From<&Witness> for Known {
    fn from(witness: &Witness) -> Self {
        Self {
            content: witness.content,
            facts: witness.facts.clone(),
            encoding: witness.encoding,
            signature: Some(witness.signature.clone()),
            edits: Edits::default(),
        }
    }
}

/// What is known of two pictures' likeness when all stages have been passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Bits in which the hashes differ.
    pub distance: u32,
    /// Worst window at 256x256.
    pub pixels: LocalGap,
    /// Worst window at the loser's size.
    pub closely: LocalGap,
    /// Sharpness of the keeper over that of the loser, at the loser's size.
    pub sharpness: f32,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hash distance {} of 256, structure {:.2}, closely {:.2}, sharpness {:.2}",
            self.distance, self.pixels.structure, self.closely.structure, self.sharpness
        )
    }
}

/// Why two contents are not taken for the same picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Doubt {
    /// One has too little structure for a hash, or was not decoded: by content only.
    NoHash,
    /// The hashes differ in this many bits.
    Distance(u32),
    /// Taken at different times: a burst.
    CaptureTimes,
    /// One is an edit of the other, made in place.
    Edited,
    /// One was edited in place so often that it is not known what of.
    EditedOften,
    /// One has properties that pixels can't stand for.
    ContentOnly(Traits),
    /// Shorter than [`DecisionParameters::min_side`].
    TooSmall(u32),
    /// The aspect ratios differ by this part.
    Aspect(f32),
    /// The signatures.
    Signature(SignatureGap),
    /// At 256x256.
    Pixels(LocalGap),
    /// The colours.
    Colours(ColourGap),
    /// At the size of the lesser one.
    Closely(LocalGap),
    /// The better version is less sharp than the other, by this ratio.
    LessSharp(f32),
    /// The better version does not know when or where the picture was taken, and the
    /// other does.
    LessMetadata,
    /// One can't be looked at again.
    Unreadable,
}

impl Doubt {
    /// A word for programs.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match self {
            Self::NoHash => "guard",
            Self::Distance(_) => "hash",
            Self::CaptureTimes
            | Self::Edited
            | Self::EditedOften
            | Self::ContentOnly(_)
            | Self::LessMetadata => "veto",
            Self::TooSmall(_) | Self::Aspect(_) | Self::Signature(_) => "signature",
            Self::Pixels(_) | Self::Colours(_) => "pixels",
            Self::Closely(_) | Self::LessSharp(_) => "detail",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHash => f.write_str("too little structure to compare"),
            Self::Distance(bits) => write!(f, "hash distance {bits} of 256"),
            Self::CaptureTimes => f.write_str("taken at different times"),
            Self::Edited => f.write_str("one is an edit of the other"),
            Self::EditedOften => f.write_str("edited so often that it is not known what of"),
            Self::ContentOnly(traits) => {
                write!(f, "never merged by looks: {}", traits.names().collect::<Vec<_>>().join(", "))
            }
            Self::TooSmall(side) => write!(f, "only {side} pixels on the shorter side"),
            Self::Aspect(part) => write!(f, "proportions differ by {:.1} %", part * 100.0),
            Self::Signature(gap) => write!(
                f,
                "tones or colours differ (luma by {:.1}, at most {:.0}; chroma by {:.1}, at most {:.0})",
                gap.luma_mean, gap.luma_max, gap.chroma_mean, gap.chroma_max
            ),
            Self::Pixels(gap) => write!(f, "a part differs ({})", Shown(gap)),
            Self::Colours(gap) => write!(
                f,
                "colours differ (a part by {:.1}, {:.1} times the rest; turned {:.1}°, saturation {:.2})",
                gap.level, gap.level_outlier, gap.turn, gap.saturation
            ),
            Self::Closely(gap) => write!(f, "a small part differs ({})", Shown(gap)),
            Self::LessSharp(ratio) => write!(f, "the larger one is less sharp ({ratio:.2}): enlarged?"),
            Self::LessMetadata => f.write_str("the better one has lost when or where it was taken"),
            Self::Unreadable => f.write_str("can't be looked at again"),
        }
    }
}

/// A gap in a sentence.
struct Shown<'a>(&'a LocalGap);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = self.0;
        write!(f, "structure {:.2}, level {:.0}", gap.structure, gap.level)?;
        write!(f, "; {:.1} and {:.1} times the rest", gap.structure_outlier, gap.level_outlier)
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The same picture: the worse one may go.
    Same(Evidence),
    /// Perhaps. For people to judge.
    Probable(Doubt),
    /// Another picture.
    Different(Doubt),
}

/// First stages: guard, hash, vetoes, signature. `Ok` is the distance of the hashes of two
/// contents that have to be looked at.
///
/// # Errors
/// The verdict, when it is clear already.
pub fn screen(keeper: &Known, loser: &Known) -> Result<u32, Verdict> {
    let (ImageId::Hash(a), ImageId::Hash(b)) = (keeper.facts.image, loser.facts.image) else {
        return Err(Verdict::Different(Doubt::NoHash));
    };
    let (Some(a_signature), Some(b_signature)) = (&keeper.signature, &loser.signature) else {
        return Err(Verdict::Different(Doubt::NoHash));
    };
    if keeper.facts.guard.min(loser.facts.guard) < HASH.min_guard {
        return Err(Verdict::Different(Doubt::NoHash));
    }
    let bits = distance(&a, &b);
    if bits > DECISION.max_distance {
        return Err(Verdict::Different(Doubt::Distance(bits)));
    }
    if taken_apart(keeper.facts.taken_at.as_ref(), loser.facts.taken_at.as_ref()) {
        return Err(Verdict::Different(Doubt::CaptureTimes));
    }
    if let Some(verdict) = Edits::between(keeper, loser) {
        return Err(verdict);
    }
    let traits = keeper.facts.traits.with(loser.facts.traits);
    if traits != Traits::default() {
        return Err(Verdict::Probable(Doubt::ContentOnly(traits)));
    }
    let shortest = |known: &Known| known.facts.width.min(known.facts.height);
    let side = shortest(keeper).min(shortest(loser));
    if side < DECISION.min_side {
        return Err(Verdict::Probable(Doubt::TooSmall(side)));
    }
    if let Some(part) = aspect_gap(&keeper.facts, &loser.facts) {
        return Err(Verdict::Probable(Doubt::Aspect(part)));
    }
    let gap = compare::signatures(a_signature, b_signature);
    let most = DECISION.signature;
    let smaller = (DECISION.signature_side as f32 / side as f32).max(1.0);
    if gap.luma_mean > most.luma_mean * smaller
        || gap.luma_max > most.luma_max * smaller
        || gap.chroma_mean > most.chroma_mean
        || gap.chroma_max > most.chroma_max
    {
        return Err(Verdict::Probable(Doubt::Signature(gap)));
    }
    if keeper.encoding.metadata.misses(loser.encoding.metadata) {
        return Err(Verdict::Probable(Doubt::LessMetadata));
    }
    Ok(bits)
}

/// The stage that needs both pictures at 256x256, and the shorter side in pixels of the
/// smaller one.
///
/// # Errors
/// What differs.
pub fn look(a: &PixelPlanes, b: &PixelPlanes, shortest_side: u32) -> Result<LocalGap, Doubt> {
    let gap = pixel_gap(a, b, shortest_side);
    if exceeds(&gap, &DECISION.pixels) {
        return Err(Doubt::Pixels(gap));
    }
    let colours = compare::colours(a, b);
    let most = DECISION.colours;
    let coloured = colours.strength >= most.strength;
    if colours.level > most.level
        || colours.broad > most.broad
        || colours.level_outlier > most.level_outlier
        || colours.broad_outlier > most.broad_outlier
        || coloured && (colours.turn > most.turn || colours.saturation < most.saturation)
    {
        return Err(Doubt::Colours(colours));
    }
    Ok(gap)
}

fn exceeds(gap: &LocalGap, most: &LocalGap) -> bool {
    gap.level > most.level
        || gap.structure < most.structure
        || gap.level_outlier > most.level_outlier
        || gap.structure_outlier > most.structure_outlier
}

/// Whether `keeper` stands for what went for the content that it is to replace: everything
/// but the last stage, because of a witness no file is left. `keeper` has to know its edits.
///
/// # Errors
/// What was found instead.
pub fn matches_witness(keeper: &Known, planes: &PixelPlanes, witness: &Witness) -> Result<(), Verdict> {
    // It went once, and is back.
    if keeper.content == witness.content {
        return Ok(());
    }
    let loser = Known::from(witness);
    screen(keeper, &loser)?;
    let side = |facts: &Facts| facts.width.min(facts.height);
    let shortest = side(&keeper.facts).min(side(&loser.facts));
    look(planes, &witness.planes, shortest).map(|_| ()).map_err(Verdict::Probable)
}

/// Luma of two pictures at half the resolution of the smaller one, or less: finer than that,
/// it is two programs' ways of resizing that differ.
#[must_use]
pub fn pixel_gap(a: &PixelPlanes, b: &PixelPlanes, shortest_side: u32) -> LocalGap {
    let mut side = HASH.luma_side;
    while side > MIN_PLANE_SIDE && side * 2 > shortest_side as usize {
        side /= 2;
    }
    let (a, b) = (compare::luma_at(a, side), compare::luma_at(b, side));
    compare::local(View::square(&a, side), View::square(&b, side), DECISION.window)
}

/// Below this there are too few windows to tell one from the rest.
const MIN_PLANE_SIDE: usize = 32;

/// The last stage: both at the loser's size. The worst window and the sharpness.
///
/// # Errors
/// What differs.
pub fn look_closely(keeper: &Detail, loser: &Detail) -> Result<(LocalGap, f32), Doubt> {
    let (gap, sharpness) = detail_gap(keeper, loser);
    if exceeds(&gap, &DECISION.closely) {
        return Err(Doubt::Closely(gap));
    }
    let most = DECISION.sharpness;
    let rounding = loser.cell == 1 && gap.level <= most.rounding;
    let least = if rounding || sharpness.lost <= most.unseen { most.least_unseen } else { most.least };
    if sharpness.ratio < least {
        return Err(Doubt::LessSharp(sharpness.ratio));
    }
    if sharpness.worst < most.least_of_part {
        return Err(Doubt::LessSharp(sharpness.worst));
    }
    Ok((gap, sharpness.ratio))
}

/// How sharp a keeper is beside a loser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sharpness {
    /// Its energy over that of the loser.
    pub ratio: f32,
    /// The same of the part where it is least.
    pub worst: f32,
    /// The most energy that a part has less.
    pub lost: f32,
}

/// The numbers of the last stage.
#[must_use]
pub fn detail_gap(keeper: &Detail, loser: &Detail) -> (LocalGap, Sharpness) {
    fn view(detail: &Detail) -> View<'_> {
        View { width: detail.width, cells: &detail.cells }
    }
    let gap = if keeper.width == loser.width && keeper.height == loser.height {
        let broad = compare::local(view(keeper), view(loser), 2 * DECISION.window);
        let fine = compare::local(view(keeper), view(loser), DECISION.window);
        LocalGap { structure_outlier: broad.structure_outlier, ..fine }
    } else {
        LocalGap::ALL
    };
    let some = DECISION.sharpness.next_to_nothing;
    let ratio = |keeper: f32, loser: f32| (keeper + some) / (loser + some);
    let whole = ratio(keeper.energy as f32, loser.energy as f32);
    let lost = (loser.energy - keeper.energy) as f32;
    let parts = || keeper.parts.iter().zip(&loser.parts);
    let sharpness = Sharpness {
        ratio: whole,
        worst: parts().fold(whole, |worst, (keeper, loser)| worst.min(ratio(*keeper, *loser))),
        lost: parts().fold(lost, |most, (keeper, loser)| most.max(loser - keeper)),
    };
    (gap, sharpness)
}

/// By how much the aspect ratios differ, if by too much. A small copy's sides are rounded
/// to whole pixels: half a pixel on each side of each is no difference.
fn aspect_gap(a: &Facts, b: &Facts) -> Option<f32> {
    let ratio = |facts: &Facts| facts.width as f32 / facts.height.max(1) as f32;
    let rounding = |facts: &Facts| 0.5 / facts.width.max(1) as f32 + 0.5 / facts.height.max(1) as f32;
    let part = (ratio(a) / ratio(b) - 1.0).abs();
    (part > DECISION.max_aspect + rounding(a) + rounding(b)).then_some(part)
}

#[cfg(test)]
mod tests;
