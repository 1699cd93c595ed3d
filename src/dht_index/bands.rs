//! Bands: how a picture that is *nearly* the same is found among nodes that don't know each
//! other's catalogs.
//!
//! A hash is cut into 16 bands of 16 bits. Two hashes that differ in at most 15 bits have a band
//! in common (16 bands with a difference in each make 16 bits), and of pairs of photos within 32
//! bits 99.98 % have one. Each band's value has a key ([`band_key_bytes`]), and the nodes closest
//! to the key keep an entry for each picture with that value: hash, content, holder. Who looks for
//! what is near a picture asks the nodes of its own 16 keys.
//!
//! 12 bands of 21 bits would have fewer strangers in each (6 instead of 244 in a million), but
//! guarantee 11 bits only. Strangers cost little here: the question carries the whole hash, and the
//! node that has the entries compares them; only what is near travels. So there is one set of
//! parameters for swarms of any size, and nobody has to agree on how large a swarm is. Its
//! number ([`SCHEME`]) is in each message; another set would be another number and another domain
//! of keys.
//!
//! The value of a band is never sent: it follows from hash and number, so nobody can put a picture
//! into a band that it does not have. One entry of a message speaks of all bands of a picture that
//! its receiver keeps ([`Bands`]).

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::kad::{KBucketKey, RecordKey};

use super::keys::{KEY_BYTES, band_key_bytes};
use super::keyspace::Keyspace;

/// Number of the parameters in force: 16 bands of 16 bits, in the order of the hash.
pub const SCHEME: u8 = 1;

/// Bands of a hash.
pub const BANDS: u8 = 16;

/// Distance up to which two hashes have a band in common, always.
pub const CERTAIN_UP_TO: u32 = BANDS as u32 - 1;

/// Some of the bands of a hash: bit `n` (of value `1 << n`) is band `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Bands(pub u16);

impl Bands {
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    /// One.
    #[must_use]
    pub fn one(band: u8) -> Self {
        Self(1u16.checked_shl(u32::from(band)).unwrap_or(0))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `band` is one of them.
    #[must_use]
    pub fn has(self, band: u8) -> bool {
        self.0 & Self::one(band).0 != 0
    }

    /// These and those.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These and not those.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Their numbers, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..BANDS).filter(move |band| self.has(*band))
    }
}

/// The bits of a band; 0 for a band that there is not.
#[must_use]
pub fn bits(hash: &[u8; 32], band: u8) -> u16 {
    hash.as_chunks::<2>().0.get(usize::from(band)).map_or(0, |bits| u16::from_be_bytes(*bits))
}

/// The bands in which two hashes are equal.
#[must_use]
pub fn common(a: &[u8; 32], b: &[u8; 32]) -> Bands {
    (0..BANDS)
        .filter(|band| bits(a, *band) == bits(b, *band))
        .fold(Bands::default(), |common, band| common.with(Bands::one(band)))
}

/// A node's view of who keeps what: the other nodes, and itself.
#[derive(Debug, Clone)]
pub struct Keepers {
    space: Keyspace,
    me: KBucketKey<PeerId>,
}

impl Keepers {
    /// Among the nodes of `space` and `me`.
    #[must_use]
    pub fn new(space: Keyspace, me: PeerId) -> Self {
        Self { space, me: KBucketKey::from(me) }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> PeerId {
        *self.me.preimage()
    }

    /// The `count` nodes closest to `key`, this one among them when it is, closest first.
    #[must_use]
    pub fn closest(&self, key: &[u8; KEY_BYTES], count: usize) -> Vec<PeerId> {
        let me = self.me();
        let mut near = self.space.closest(key, count);
        if count == 0 || near.contains(&me) {
            return near;
        }
        let target = KBucketKey::new(RecordKey::new(key));
        let own = target.distance(&self.me);
        let at = near.partition_point(|peer| target.distance(&KBucketKey::from(*peer)) < own);
        near.insert(at, me);
        near.truncate(count);
        near
    }

    /// Who keeps which bands of a picture: each band at `count` nodes.
    #[must_use]
    pub fn assign(&self, hash: &[u8; 32], count: usize) -> BTreeMap<PeerId, Bands> {
        let mut assigned: BTreeMap<PeerId, Bands> = BTreeMap::new();
        for band in 0..BANDS {
            for peer in self.closest(&band_key_bytes(band, bits(hash, band)), count) {
                let bands = assigned.entry(peer).or_default();
                *bands = bands.with(Bands::one(band));
            }
        }
        assigned
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::BAND_REPLICAS;
    use crate::picture::distance;

    fn peers(count: usize) -> Vec<PeerId> {
        (0..count).map(|_| PeerId::random()).collect()
    }

    #[test]
    fn all_nodes_agree_on_who_keeps_a_band() {
        for count in [1, 2, 3, 10, 50] {
            let all = peers(count);
            let views: Vec<Keepers> = all
                .iter()
                .map(|me| Keepers::new(Keyspace::new(all.iter().copied().filter(|peer| peer != me)), *me))
                .collect();
            for seed in 0..20 {
                let hash = [seed * 7; 32];
                let assigned = views[0].assign(&hash, BAND_REPLICAS);
                assert!(views.iter().all(|view| view.assign(&hash, BAND_REPLICAS) == assigned), "{count}");
                for band in 0..BANDS {
                    let kept = assigned.values().filter(|bands| bands.has(band)).count();
                    assert_eq!(kept, BAND_REPLICAS.min(count));
                }
            }
            // Also when the keyspace names the node itself.
            let with_me = Keepers::new(Keyspace::new(all.iter().copied()), all[0]);
            assert_eq!(with_me.assign(&[1; 32], 3), views[0].assign(&[1; 32], 3));
        }
    }

    #[test]
    fn sets_of_bands_add_up() {
        let some = Bands::one(0).with(Bands::one(15));
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 15]);
        assert_eq!(Bands::ALL.without(some).iter().count(), 14);
        assert_eq!(Bands::ALL.and(some), some);
        assert!(Bands::default().is_empty() && Bands::one(200).is_empty());
        assert_eq!(bits(&std::array::from_fn(|at| at as u8), 7), 0x0e0f);
    }

    proptest! {
        /// The guarantee, with the bits spread as badly as they can be.
        #[test]
        fn what_is_within_15_bits_has_a_band_in_common(
            base: [u8; 32],
            flips in prop::collection::vec(0usize..256, 0..16),
            spare in 0usize..16,
        ) {
            let mut near = base;
            for bit in flips {
                near[bit / 8] ^= 1 << (bit % 8);
            }
            if distance(&base, &near) <= CERTAIN_UP_TO {
                prop_assert!(!common(&base, &near).is_empty());
            }
            let mut spread = base;
            for band in (0..16).filter(|band| *band != spare) {
                spread[band * 2] ^= 1;
            }
            prop_assert_eq!(common(&base, &spread), Bands::one(spare as u8));
        }
    }
}
