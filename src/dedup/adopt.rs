//! The name of a better version that takes the place of a worse one in the folder.

use crate::types::{Format, RelPath};

/// Longest extension that is taken for one: `Invoice.from 2019` has none.
const MAX_EXTENSION: usize = 5;

/// `place` with the extension of `format`; with ` (2)`, ` (3)`, ... before it for the numbers
/// from 1 on, where that name is taken. `None` when the name would be too long.
#[must_use]
pub fn adopted_name(place: &RelPath, format: Format, number: u32) -> Option<RelPath> {
    let name = place.file_name();
    let folder = place.as_bytes().strip_suffix(name).unwrap_or_default();
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
    let (stem, old) = match dot {
        Some(at) if name.len() - at - 1 <= MAX_EXTENSION => name.split_at(at),
        _ => (name, &b""[..]),
    };
    let old = old.strip_prefix(b".").unwrap_or_default();
    let fits = extensions(format).iter().any(|known| known.as_bytes().eq_ignore_ascii_case(old));
    let new = extensions(format).first().map_or(&b""[..], |first| first.as_bytes());
    let extension = if fits { old } else { new };
    let tag = if number == 0 { String::new() } else { format!(" ({})", number + 1) };
    let full = [folder, stem, tag.as_bytes(), b".", extension].concat();
    let length = full.len() - folder.len();
    if length > MAX_NAME { None } else { RelPath::from_bytes(full) }
}

/// Bytes of a file name that every file system takes.
const MAX_NAME: usize = 255;

fn extensions(format: Format) -> &'static [&'static str] {
    match format {
        Format::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
        Format::Png => &["png", "apng"],
        Format::WebP => &["webp"],
        Format::Gif => &["gif"],
        Format::Bmp => &["bmp", "dib"],
        Format::Tiff => &["tif", "tiff"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_name_with_the_right_extension() {
        for (place, format, number, adopted) in [
            ("2019/IMG_1.jpg", Format::Png, 0, "2019/IMG_1.png"),
            ("2019/IMG_1.JPEG", Format::Jpeg, 0, "2019/IMG_1.JPEG"),
            ("2019/IMG_1.jpg", Format::Jpeg, 1, "2019/IMG_1 (2).jpg"),
            ("scan", Format::Tiff, 0, "scan.tif"),
            (".hidden", Format::Tiff, 0, ".hidden.tif"),
            ("from 12.04 Paris", Format::WebP, 2, "from 12.04 Paris (3).webp"),
        ] {
            let place = RelPath::from_bytes(place.into()).unwrap();
            let name = adopted_name(&place, format, number).unwrap();
            assert_eq!(name.as_str(), Some(adopted));
        }
        let long = RelPath::from_bytes(vec![b'a'; 255]).unwrap();
        assert_eq!(adopted_name(&long, Format::Jpeg, 0), None);
    }
}
