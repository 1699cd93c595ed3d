//! The keys under which p2pimg's facts are found in the DHT.
//!
//! A key is a multihash (sha2-256) of a domain and the identifier, and not the identifier
//! itself: perceptual hashes are far from evenly distributed and would crowd a few nodes,
//! and a multihash can be looked up as a CID by any libp2p implementation.

use libp2p::kad::RecordKey;
use sha2::{Digest as _, Sha256};

use crate::types::ImageId;

/// Bytes of every key: two of the multihash's prefix, 32 of SHA-256.
pub const KEY_BYTES: usize = 34;

/// Multicodec of sha2-256 and the digest's length, as a multihash begins.
const SHA2_256: [u8; 2] = [0x12, 0x20];
const IMAGE_DOMAIN: &[u8] = b"p2pimg/image/1\0";
const CONTENT_DOMAIN: &[u8] = b"p2pimg/content/1\0";
const BAND_DOMAIN: &[u8] = b"p2pimg/band/1\0";
const MEMBERS_DOMAIN: &[u8] = b"p2pimg/members/1";

/// The key of a picture, as bytes.
#[must_use]
pub fn image_key_bytes(image: &ImageId) -> [u8; KEY_BYTES] {
    match image {
        ImageId::Hash(hash) => multihash(IMAGE_DOMAIN, hash),
        ImageId::Content(content) => multihash(CONTENT_DOMAIN, &content.0),
    }
}

/// The key of a picture's provider records.
#[must_use]
pub fn image_key(image: &ImageId) -> RecordKey {
    RecordKey::new(&image_key_bytes(image))
}

/// The key under which the swarm's members are provider records.
#[must_use]
pub fn members_key() -> RecordKey {
    RecordKey::new(&multihash(MEMBERS_DOMAIN, &[]))
}

/// A key of this node, and where it is in the keyspace. In the order of the keyspace.
///
/// The first 64 bits of the place are enough to sort by: that two of a million keys agree in
/// them has a chance of one in 30 million, and nothing breaks if they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnKey {
    /// The first 64 bits of the SHA-256 of the key.
    pub place: u64,
    /// The key without the two bytes that all keys begin with.
    pub digest: [u8; KEY_BYTES - SHA2_256.len()],
}

impl OwnKey {
    /// The key of a picture.
    #[must_use]
    pub fn of(image: &ImageId) -> Self {
        let key = image_key_bytes(image);
        let mut digest = [0; KEY_BYTES - SHA2_256.len()];
        digest.copy_from_slice(&key[SHA2_256.len()..]);
        Self { place: place(&key), digest }
    }

    /// The key itself.
    #[must_use]
    pub fn bytes(&self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        let (prefix, hash) = key.split_at_mut(SHA2_256.len());
        prefix.copy_from_slice(&SHA2_256);
        hash.copy_from_slice(&self.digest);
        key
    }
}

/// Where a key is in Kademlia's keyspace: the first 64 bits.
#[must_use]
pub fn place(key: &[u8]) -> u64 {
    first_bits(&Sha256::digest(key).into())
}

/// The first 64 bits of a place.
#[must_use]
pub fn first_bits(place: &[u8; 32]) -> u64 {
    place.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}

/// The key of a band: its number and its bits, as they stand in the hash. Nothing is stored under
/// it by Kademlia: it says which nodes keep the band's entries.
#[must_use]
pub fn band_key_bytes(band: u8, bits: u16) -> [u8; KEY_BYTES] {
    let [high, low] = bits.to_be_bytes();
    multihash(BAND_DOMAIN, &[band, high, low])
}

fn multihash(domain: &[u8], rest: &[u8]) -> [u8; KEY_BYTES] {
    let digest = Sha256::new().chain_update(domain).chain_update(rest).finalize();
    let mut key = [0; KEY_BYTES];
    let (prefix, hash) = key.split_at_mut(SHA2_256.len());
    prefix.copy_from_slice(&SHA2_256);
    hash.copy_from_slice(&digest);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ContentId, to_hex};

    /// Computed with Python's hashlib: `b"\x12\x20" + sha256(domain + bytes(range(32)))`.
    #[test]
    fn keys_are_the_documented_ones() {
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
        let hex = |key: RecordKey| to_hex(&key.to_vec());
        assert_eq!(
            hex(image_key(&ImageId::Hash(bytes))),
            "12200252340c4a7d71db532a8cae2acee9dc92c2e24a06967d6bebec923a159183d8"
        );
        assert_eq!(
            hex(image_key(&ImageId::Content(ContentId(bytes)))),
            "1220aa0c1ffdcabbed6034ea514ba7872fbc09354b76ba30164bdc9cbf9cfce41728"
        );
        assert_eq!(
            hex(members_key()),
            "12200b883221f146d510587550e5e8e76966ebf5c47fd6ad8368ac81b491adac6352"
        );
    }

    /// Computed with Python's hashlib: `b"\x12\x20" + sha256(b"p2pimg/band/1\0" + bytes([7, 0x0e,
    /// 0x0f]))`: band 7 of the hash `00 01 .. 1f`.
    #[test]
    fn the_key_of_a_band_is_the_documented_one() {
        assert_eq!(
            to_hex(&band_key_bytes(7, 0x0e0f)),
            "122070009f60a7bcd0b9a9ae4abe7a8e4cc245b6323059926924b5470361a844917a"
        );
    }
}
