//! Where the copies of a content belong: the order in which members take one, and the order
//! in which they give one up.
//!
//! Weighted rendezvous hashing (Mosko; Schindelhauer, Schomaker 2005: the logarithmic
//! method). The hash of content and peer is read as a number u between 0 and 1; who has the
//! smallest -ln(u) / weight is the first. These are exponential variates whose rate is the
//! weight: a member is the first with the probability weight / sum of weights, and among the
//! others the order is as if it were not there. So a member that comes, goes or changes its
//! weight moves only copies to or from itself.
//!
//! All nodes have to compute the same order, and `ln` differs in the last bits between
//! libraries and platforms. So logarithms are computed here, in integers, bit by bit.
//!
//! Two members on one folder are one place: they fail together. Members without a zone are in
//! one zone, too, the nameless: a person who names only the cellar wants copies there of what
//! is anywhere else. When nobody names a zone, all are in the same and it makes no difference.
//!
//! A score costs one hash (two blocks of BLAKE3, 0.2 us) and two logarithms (0.1 us each): 100,000
//! contents and 100 members are four seconds of one slow core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::rank;
use crate::limits::DEFAULT_CAPACITY_BYTES;
use crate::types::{ContentId, FolderId, Zone};

/// How much a member is to hold, in coarse steps so that small changes move nothing.
///
/// Four steps from each power of two to the next: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... bytes,
/// the largest that the capacity reaches; the number counts the steps. All numbers from a peer
/// are weights: those beyond the step of 2^64 bytes are that step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

impl Weight {
    /// Takes no copies: never a candidate.
    pub const NONE: Self = Self(0);

    /// The step of a configured capacity. What is free now must not go in: each copy would
    /// change the order that it was placed by.
    #[must_use]
    pub fn of_capacity(bytes: u64) -> Self {
        // As in a floating-point number: two bits after the first one, and the exponent.
        // Below 4 there are no fractions.
        match bytes.checked_ilog2() {
            Some(exponent) if exponent >= 2 => {
                let quarter = bytes >> (exponent - 2) & 3;
                Self((4 * (exponent - 1)) as u16 + quarter as u16)
            }
            _ => Self(bytes as u16),
        }
    }

    /// The bytes of the step: in proportion to these members hold copies.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self.0.min(LAST_STEP) {
            small @ 0..4 => small.into(),
            step => u64::from(4 + step % 4) << (step / 4 - 1),
        }
    }

    /// [`log2`] of [`Weight::bytes`], which would cost a sixth of the score.
    fn log2(self) -> u64 {
        const QUARTERS: [u64; 4] = [log2(4), log2(5), log2(6), log2(7)];
        match self.0.min(LAST_STEP) {
            small @ 0..4 => log2(small.into()),
            step => {
                let quarter = QUARTERS.get(usize::from(step % 4)).copied().unwrap_or_default();
                quarter + (u64::from(step / 4 - 1) << FRACTION)
            }
        }
    }
}

impl Default for Weight {
    /// Of a member that told no capacity: that of [`DEFAULT_CAPACITY_BYTES`].
    fn default() -> Self {
        Self::of_capacity(DEFAULT_CAPACITY_BYTES)
    }
}

/// A member as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who.
    pub peer: PeerId,
    /// What fails together: places with the same folder are one.
    pub folder: FolderId,
    /// How much it is to hold.
    pub weight: Weight,
    /// Where it is, when somebody said so.
    pub zone: Option<Zone>,
}

/// A member that has a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Where.
    pub place: &'a Place,
    /// Whether it is kept for the swarm, and is not in a person's folder.
    pub replica: bool,
}

/// The step of `u64::MAX` bytes.
const LAST_STEP: u16 = 4 * 62 + 3;

/// Bits after the point of the logarithms here.
const FRACTION: u32 = 32;

/// The logarithm of `x` to the base 2, with [`FRACTION`] bits after the point, rounded down.
/// That of 0 is taken as 0.
///
/// Bit by bit: squaring doubles the logarithm, and its next bit is whether the square has
/// reached 2. Only integers, so that it is the same everywhere; never falls when `x` grows.
const fn log2(x: u64) -> u64 {
    let x = if x == 0 { 1 } else { x };
    let whole = x.ilog2();
    // 1 to 2, with 63 bits after the point.
    let mut power = x << (63 - whole);
    let mut log = whole as u64;
    let mut bits = 0;
    while bits < FRACTION {
        let square = (power as u128 * power as u128) >> 63;
        let bit = square >> 64;
        log = log << 1 | bit as u64;
        power = (square >> bit) as u64;
        bits += 1;
    }
    log
}

/// The place of a member among all for `content`; the highest is the first. 0 for one that
/// takes none, more for all others.
///
/// It is log2(weight / -log2(u)), where u is the place's [`rank`] / 2^64, with the last bit set so that
/// u is never 0.
#[must_use]
pub fn score(content: ContentId, place: &Place) -> u64 {
    /// Makes all scores positive: -log2(u) is at most 64, 2^6, with [`FRACTION`] bits.
    const ABOVE: u64 = (FRACTION as u64 + 7) << FRACTION;
    if place.weight == Weight::NONE {
        return 0;
    }
    let u = rank(content, &place.peer) | 1;
    let exponential = (64 << FRACTION) - log2(u);
    ABOVE + place.weight.log2() - log2(exponential)
}

/// All of `places` in the order in which they should take a copy of `content`, when those of
/// `have` have one. See [`first`].
#[must_use]
pub fn candidates<'a>(content: ContentId, places: &'a [Place], have: &[&Place]) -> Vec<&'a Place> {
    first(content, places, have, usize::MAX)
}

/// The first `k` places that should take a copy of `content`, when those of `have` have one:
///
/// 1. of each zone that none of `have` is in, the one with the highest score;
/// 2. the others of these zones, so that there are more when some refuse;
/// 3. those in zones of `have`.
///
/// In each of the three by score, the highest first, and of equal scores the lower peer id.
/// Never two of one folder, none of a folder of `have`, and none that takes no copies.
#[must_use]
pub fn first<'a>(content: ContentId, places: &'a [Place], have: &[&Place], k: usize) -> Vec<&'a Place> {
    let mut folders: BTreeSet<FolderId> = have.iter().map(|place| place.folder).collect();
    let taken: BTreeSet<Option<&Zone>> = have.iter().map(|place| place.zone.as_ref()).collect();
    let mut ranked: Vec<(Reverse<u64>, &PeerId, &Place)> = places
        .iter()
        .filter(|place| place.weight != Weight::NONE && !folders.contains(&place.folder))
        .map(|place| (Reverse(score(content, place)), &place.peer, place))
        .collect();
    ranked.sort_unstable_by_key(|(score, peer, _)| (*score, *peer));

    let mut order = Vec::new();
    let mut zones = taken.clone();
    let rounds: [&mut dyn FnMut(&'a Place) -> bool; 3] = [
        &mut |place| zones.insert(place.zone.as_ref()),
        &mut |place| !taken.contains(&place.zone.as_ref()),
        &mut |_| true,
    ];
    for of_this_round in rounds {
        for (_, _, place) in &ranked {
            if order.len() >= k {
                return order;
            }
            if !folders.contains(&place.folder) && of_this_round(place) {
                folders.insert(place.folder);
                order.push(*place);
            }
        }
    }
    order
}

/// One folder's copy, told by the holder that is worth most.
struct Copy<'a> {
    /// Originals stay before replicas, then the higher score, then the lower peer id.
    worth: (bool, u64, Reverse<&'a PeerId>),
    zone: Option<&'a Zone>,
    /// All holders with this folder, the one worth least first.
    holders: Vec<&'a Place>,
}

/// Who of `holders` is to give its copy up when `copies` of them stay (one at least), in the
/// order in which they go:
///
/// 1. replicas beside another holder of the same folder: they are no copies;
/// 2. one folder's copy after the other, with all its holders, until `copies` are left: replicas
///    before originals, one in a zone that another copy is in before the only one there, then
///    the lowest score, and of equal scores the higher peer id.
///
/// A copy is a replica when all its holders are. A peer that is named twice, because it has both,
/// has an original: what is not returned for it stays.
#[must_use]
pub fn excess<'a>(content: ContentId, holders: &[Holder<'a>], copies: u16) -> Vec<&'a Place> {
    let (mut going, mut kept) = by_folder(content, holders);
    let mut zones: BTreeMap<Option<&Zone>, usize> = BTreeMap::new();
    for copy in &kept {
        *zones.entry(copy.zone).or_default() += 1;
    }
    while kept.len() > usize::from(copies.max(1)) {
        let alone = |copy: &Copy| zones.get(&copy.zone).is_none_or(|there| *there < 2);
        let least = kept.iter().enumerate().min_by_key(|(_, copy)| {
            let (original, score, peer) = copy.worth;
            (original, alone(copy), score, peer)
        });
        let Some((at, _)) = least else { break };
        let copy = kept.swap_remove(at);
        zones.entry(copy.zone).and_modify(|there| *there -= 1);
        going.extend(copy.holders);
    }
    going
}

/// The replicas that are no copies, and the copies.
fn by_folder<'a>(content: ContentId, holders: &[Holder<'a>]) -> (Vec<&'a Place>, Vec<Copy<'a>>) {
    let mut ranked: Vec<_> = holders
        .iter()
        .map(|holder| {
            let place = holder.place;
            ((!holder.replica, score(content, place), Reverse(&place.peer)), place)
        })
        .collect();
    ranked.sort_by_key(|(worth, _)| Reverse(*worth));
    let mut peers = BTreeSet::new();
    ranked.retain(|(_, place)| peers.insert(&place.peer));

    let mut surplus = Vec::new();
    let mut copies: BTreeMap<FolderId, Copy> = BTreeMap::new();
    for (worth, place) in ranked {
        match copies.get_mut(&place.folder) {
            Some(_) if !worth.0 => surplus.push(place),
            Some(copy) => copy.holders.insert(0, place),
            None => {
                let copy = Copy { worth, zone: place.zone.as_ref(), holders: vec![place] };
                copies.insert(place.folder, copy);
            }
        }
    }
    surplus.reverse();
    (surplus, copies.into_values().collect())
}

#[cfg(test)]
mod tests;
