//! What a file is, by its first bytes. Its name only helps where many formats share one
//! magic number (TIFF), and says whether a file that is no picture ought to be one.

use crate::types::Format;

/// How many first bytes of a file are looked at.
pub(super) const HEAD_BYTES: usize = 64;

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A picture of a handled format.
    Picture(Format),
    /// A photo or video of a type that is not handled.
    Unprotected(&'static str),
    /// Neither.
    Other,
}

const HEIC: Kind = Kind::Unprotected("HEIC");
const AVIF: Kind = Kind::Unprotected("AVIF");
const JXL: Kind = Kind::Unprotected("JPEG XL");
/// Camera raw data of any maker.
pub(super) const RAW: Kind = Kind::Unprotected("RAW");
const VIDEO: Kind = Kind::Unprotected("video");

/// Magic numbers at the start of a file that are long enough to trust.
const MAGIC: &[(&[u8], Kind)] = &[
    (b"\xff\xd8\xff", Kind::Picture(Format::Jpeg)),
    (b"\x89PNG\r\n\x1a\n", Kind::Picture(Format::Png)),
    (b"GIF87a", Kind::Picture(Format::Gif)),
    (b"GIF89a", Kind::Picture(Format::Gif)),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\0", RAW),
    (b"\0MRM", RAW),
    (b"FOVb", RAW),
    (b"II\x1a\0\0\0HEAPCCDR", RAW),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (b"\x1a\x45\xdf\xa3", VIDEO),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),
    (b"FLV\x01", VIDEO),
    (b"\0\0\x01\xba", VIDEO),
];

/// Extensions of raw files that are TIFF inside.
const RAW_EXTENSIONS: &[&str] = &[
    "3fr", "arw", "cr2", "crw", "cr3", "dcr", "dng", "erf", "iiq", "k25", "kdc", "mef", "mos", "nef", "nrw",
    "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
];

const PICTURE_EXTENSIONS: &[&str] = &[
    "apng", "avif", "bmp", "dib", "gif", "heic", "heif", "hif", "jfif", "jpe", "jpeg", "jpg", "jxl", "png",
    "tif", "tiff", "webp",
];

/// The extension of `name` in lower case, when it is ASCII.
fn extension(name: &[u8]) -> Option<String> {
    let dot = name.iter().rposition(|b| *b == b'.')?;
    let extension = name.get(dot + 1..)?;
    (extension.len() <= 5 && extension.is_ascii())
        .then(|| String::from_utf8_lossy(extension).to_ascii_lowercase())
}

fn extension_is(name: &[u8], list: &[&str]) -> bool {
    extension(name).is_some_and(|extension| list.contains(&extension.as_str()))
}

/// Whether the name promises a picture.
pub(super) fn named_like_a_picture(name: &[u8]) -> bool {
    extension_is(name, PICTURE_EXTENSIONS) || extension_is(name, RAW_EXTENSIONS)
}

/// What a file is that starts with `head` (up to [`HEAD_BYTES`]).
pub(super) fn kind(head: &[u8], name: &[u8]) -> Kind {
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return *kind;
    }
    let at = |offset: usize, length: usize| head.get(offset..offset + length).unwrap_or_default();
    match (at(0, 4), at(4, 4), at(8, 4)) {
        (b"RIFF", _, b"WEBP") => Kind::Picture(Format::WebP),
        (b"RIFF", _, b"AVI ") => VIDEO,
        (_, b"ftyp", _) => brand(head),
        (b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+", _, _) => {
            // Canon's CR2 says so; DNG and the rest are told by their tags.
            let raw = at(8, 2) == b"CR" || extension_is(name, RAW_EXTENSIONS);
            if raw { RAW } else { Kind::Picture(Format::Tiff) }
        }
        // QuickTime before `ftyp`, and codestreams whose two magic bytes prove little.
        (_, b"moov" | b"mdat" | b"wide" | b"pnot", _) if extension_is(name, &["mov", "qt", "mp4", "m4v"]) => {
            VIDEO
        }
        _ if head.starts_with(b"\xff\x0a") && extension_is(name, &["jxl"]) => JXL,
        _ if head.first() == Some(&0x47) && extension_is(name, &["mts", "m2ts", "ts"]) => VIDEO,
        _ if at(4, 1) == [0x47] && extension_is(name, &["mts", "m2ts"]) => VIDEO,
        _ if is_bmp(head) => Kind::Picture(Format::Bmp),
        _ => Kind::Other,
    }
}

/// ISO base media file: the major brand, else the compatible ones.
fn brand(head: &[u8]) -> Kind {
    let length = head.get(..4).map_or(0, |b| b.iter().fold(0usize, |n, b| n << 8 | usize::from(*b)));
    let brands = head.get(8..length.clamp(12, head.len().max(12))).unwrap_or_default();
    for brand in brands.chunks_exact(4) {
        match brand {
            b"avif" | b"avis" => return AVIF,
            b"crx " => return RAW,
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => return HEIC,
            _ => {}
        }
    }
    if matches!(brands.get(..4), Some(b"mif1" | b"msf1" | b"mif2")) { HEIC } else { VIDEO }
}

/// "BM" alone starts many texts: the reserved bytes and the size of the second header
/// have to fit as well.
fn is_bmp(head: &[u8]) -> bool {
    let header = head.get(14..18).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    head.starts_with(b"BM") && matches!(header, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_the_name_only_helps() {
        let bmp = [b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0".as_slice(), &40u32.to_le_bytes()].concat();
        for (head, name, kind_expected) in [
            (b"\xff\xd8\xff\xe0".as_slice(), "x.png", Kind::Picture(Format::Jpeg)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "x", Kind::Picture(Format::WebP)),
            (b"RIFF\x10\0\0\0AVI LIST", "x.jpg", VIDEO),
            (b"II*\0\x08\0\0\0", "scan.tif", Kind::Picture(Format::Tiff)),
            (b"II*\0\x08\0\0\0", "DSC_1.NEF", RAW),
            (b"II*\0\x10\0\0\0CR\x02\0", "x.tif", RAW),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "x.jpg", HEIC),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "x", AVIF),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx ", "x", RAW),
            (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "x", VIDEO),
            (b"\xff\x0a\x01", "x.jxl", JXL),
            (b"\xff\x0a\x01", "x.txt", Kind::Other),
            (&bmp, "x", Kind::Picture(Format::Bmp)),
            (b"BMW drivers, a study of", "x.txt", Kind::Other),
            (b"", "x.jpg", Kind::Other),
        ] {
            assert_eq!(kind(head, name.as_bytes()), kind_expected, "{name} {head:?}");
        }
    }

    #[test]
    fn names_that_promise_a_picture() {
        assert!(named_like_a_picture(b"a.JPG"));
        assert!(named_like_a_picture(b"\xff.heic"));
        assert!(!named_like_a_picture(b"jpg"));
        assert!(!named_like_a_picture(b"a.jpg.txt"));
    }
}
