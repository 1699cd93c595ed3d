//! What is kept of a picture that went for a better version of it, so that the keeper never
//! drifts away from it (promise P5b): see [`crate::dedup`].

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::quality::Encoding;
use super::{PixelPlanes, Recognition, Signature, recognise};
use crate::limits::MAX_WITNESS_HEADER_BYTES;
use crate::types::{ContentId, Facts, ImageId};

/// A content that went, as far as another can be compared with it without its file.
///
/// As bytes: the length of a header in two bytes, highest first; the header, a CBOR map of
/// `content`, `facts` and `encoding`; the signature; the planes ([`PixelPlanes::to_bytes`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Which content.
    pub content: ContentId,
    /// What its bytes said.
    pub facts: Facts,
    /// How it was encoded.
    pub encoding: Encoding,
    /// Its signature.
    pub signature: Signature,
    /// Its pixels.
    pub planes: PixelPlanes,
}

/// Bytes that are no witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the description of a picture that went: {0}")]
pub struct BadWitness(&'static str);

#[derive(Serialize, Deserialize)]
struct Header {
    content: ContentId,
    facts: Facts,
    encoding: Encoding,
}

impl Witness {
    /// Bytes of [`Witness::pixels`].
    pub const PIXELS: usize = Signature::LEN + PixelPlanes::LEN;

    /// Most bytes of [`Witness::to_bytes`].
    pub const MAX_BYTES: usize = 2 + MAX_WITNESS_HEADER_BYTES + Self::PIXELS;

    /// The form described above.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = self.header();
        let length = (header.len() as u16).to_be_bytes();
        [&length[..], &header, &self.pixels()].concat()
    }

    /// The inverse of [`Witness::to_bytes`].
    ///
    /// # Errors
    /// When the bytes are not exactly one witness.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadWitness> {
        let (length, rest) = bytes.split_first_chunk().ok_or(BadWitness("too short"))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (header, pixels) = rest.split_at_checked(length).ok_or(BadWitness("too short"))?;
        Self::from_parts(header, pixels)
    }

    /// Its CBOR header alone, at most [`MAX_WITNESS_HEADER_BYTES`].
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let header = Header { content: self.content, facts: self.facts.clone(), encoding: self.encoding };
        serde_cbor::to_vec(&header).expect("a map of numbers and short texts can be written")
    }

    /// Its signature and planes alone, [`Witness::PIXELS`] bytes.
    #[must_use]
    pub fn pixels(&self) -> Vec<u8> {
        [&self.signature.as_array()[..], &self.planes.to_bytes()].concat()
    }

    /// The inverse of [`Witness::header`] and [`Witness::pixels`].
    ///
    /// # Errors
    /// When one of them is none.
    pub fn from_parts(header: &[u8], pixels: &[u8]) -> Result<Self, BadWitness> {
        if header.len() > MAX_WITNESS_HEADER_BYTES {
            return Err(BadWitness("its header is too long"));
        }
        let Header { content, facts, encoding } =
            serde_cbor::from_slice(header).map_err(|_| BadWitness("its header can't be read"))?;
        let (signature, planes) = pixels.split_first_chunk().ok_or(BadWitness("its pixels are too short"))?;
        let planes = PixelPlanes::from_bytes(planes).ok_or(BadWitness("its planes have a wrong length"))?;
        Ok(Self { content, facts, encoding, signature: Signature::from_array(*signature), planes })
    }

    /// Whether hash, guard and signature follow from the planes. One that is not was put
    /// together of two pictures, or made by another version.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Recognition { hash, guard, signature } = recognise(&self.planes);
        self.facts.image == ImageId::Hash(hash) && self.facts.guard == guard && self.signature == signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::quality::{Fidelity, Metadata};
    use crate::types::{CaptureTime, Format, Traits, to_hex};

    fn witness() -> Witness {
        let bytes: Vec<u8> = (0..PixelPlanes::LEN).map(|i| (i * i / 977) as u8).collect();
        let planes = PixelPlanes::from_bytes(&bytes).unwrap();
        let Recognition { hash, guard, signature } = recognise(&planes);
        let facts = Facts {
            image: ImageId::Hash(hash),
            bytes: u64::MAX,
            width: u32::MAX,
            height: u32::MAX,
            format: Format::Jpeg,
            taken_at: CaptureTime::new("2016-04-21T14:03:22.123456789+02:00"),
            guard,
            traits: Traits(u16::MAX),
        };
        let encoding = Encoding { fidelity: Fidelity(u16::MAX), metadata: Metadata(u8::MAX) };
        Witness { content: ContentId([9; 32]), facts, encoding, signature, planes }
    }

    #[test]
    fn the_longest_header_is_well_below_its_limit() {
        assert_eq!(Witness::PIXELS, 75_264);
        assert!(witness().header().len() < MAX_WITNESS_HEADER_BYTES / 2, "{}", witness().header().len());
    }

    /// Witnesses are on disks and on their way: this form stays.
    #[test]
    fn the_form_is_what_it_was() {
        let mut witness = witness();
        witness.facts.image = ImageId::Hash([7; 32]);
        witness.signature = Signature::from_array([5; Signature::LEN]);
        let bytes = witness.to_bytes();
        let (length, rest) = bytes.split_at(2);
        assert_eq!(to_hex(length), "00ee");
        assert_eq!(
            to_hex(blake3::hash(rest).as_bytes()),
            "9680f7e81c11eba77bb7a3bf167faf7b7f3da5fef7f88f2501951c4e56423a6b"
        );
        assert_eq!(Witness::from_bytes(&bytes), Ok(witness));
    }

    #[test]
    fn what_is_not_one_witness_is_refused() {
        let bytes = witness().to_bytes();
        for cut in [0, 1, 2, 100, bytes.len() - PixelPlanes::LEN, bytes.len() - 1] {
            assert!(Witness::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Witness::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        let mut wrong = bytes.clone();
        wrong[2] = 0xff;
        assert!(Witness::from_bytes(&wrong).is_err());
        wrong[..2].copy_from_slice(&[0xff; 2]);
        assert!(Witness::from_bytes(&wrong).is_err());
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        let sound = witness();
        assert!(sound.is_sound());
        let planes = PixelPlanes { luma: vec![7; sound.planes.luma.len()], ..sound.planes.clone() };
        assert!(!Witness { planes, ..sound.clone() }.is_sound());
        let signature = Signature::from_array([5; Signature::LEN]);
        assert!(!Witness { signature, ..sound }.is_sound());
    }
}
