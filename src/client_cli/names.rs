//! File names for pictures that come from other machines.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use crate::protocol::ImageRow;
use crate::types::printable;

/// Bytes of a name: file systems allow 255, and a suffix must still fit.
const MAX_NAME_BYTES: usize = 200;

/// Extensions that picture viewers take for a picture.
const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "mpo"];

/// The name that its holder gave the picture, made safe: one component, nothing hidden,
/// nothing that a terminal or a command takes for something else, not too long, and with
/// the extension of a picture. Another machine chose it: it never says where, only how
/// the file is called.
#[must_use]
pub(super) fn safe_name(row: &ImageRow) -> String {
    let name = String::from_utf8_lossy(row.path.file_name());
    let harmless = |c: char| {
        let drives = printable(c.encode_utf8(&mut [0; 4])).len() != c.len_utf8();
        if drives || matches!(c, '/' | '\\' | '\u{fffd}') { '_' } else { c }
    };
    let name: String = name.chars().map(harmless).collect();
    // A leading dot hides, a leading dash is an option; Windows drops dots at the end.
    let name = name.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '.' | '-'));
    let name = name.trim_end_matches(|c: char| c.is_whitespace() || c == '.');
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, end)) if is_picture(end) && !stem.is_empty() => (stem, end),
        _ if is_picture(name) => ("", name),
        _ => (name, row.facts.format.extension()),
    };
    let stem = if stem.is_empty() { "image" } else { shortened(stem) };
    format!("{stem}.{extension}")
}

fn is_picture(extension: &str) -> bool {
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

fn shortened(stem: &str) -> &str {
    let mut end = stem.len().min(MAX_NAME_BYTES);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    stem.get(..end).unwrap_or(stem)
}

/// `name` with the beginning of the content's id before its extension.
#[must_use]
pub(super) fn with_content(name: &str, row: &ImageRow) -> String {
    let digits: String = row.content.to_string().chars().take(12).collect();
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{digits}.{extension}"),
        None => format!("{name}-{digits}"),
    }
}

/// Gives each picture of one run a name of its own.
///
/// Remembers 8 bytes a name, so a million pictures cost a few megabytes; two names with
/// the same digest only cost the second one a suffix. Names that differ in capitals count
/// as one: on some file systems they are.
#[derive(Debug, Default)]
pub(super) struct NamesTaken {
    digests: HashSet<u64>,
}

impl NamesTaken {
    /// A name for `row` that no other row of this run has.
    pub(super) fn take(&mut self, row: &ImageRow) -> String {
        let name = safe_name(row);
        let digest = BuildHasherDefault::<DefaultHasher>::default().hash_one(name.to_lowercase());
        if self.digests.insert(digest) { name } else { with_content(&name, row) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use crate::types::{Format, RelPath};
    use proptest::prelude::*;

    #[test]
    fn names_are_made_safe_and_stay_recognisable() {
        for (path, name) in [
            ("holiday/2016/beach.jpg", "beach.jpg"),
            ("beach.JPEG", "beach.JPEG"),
            ("beach", "beach.jpg"),
            ("beach.exe", "beach.exe.jpg"),
            (".bashrc", "bashrc.jpg"),
            ("..hidden.png", "hidden.png"),
            ("-rf.jpg", "rf.jpg"),
            (".jpg", "image.jpg"),
            ("a\\b.jpg", "a_b.jpg"),
            ("a\x1b[2J.jpg", "a_[2J.jpg"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe.jpg"),
            ("写真.jpg", "写真.jpg"),
            ("...", "image.jpg"),
        ] {
            assert_eq!(safe_name(&row(1, path.as_bytes())), name, "{path:?}");
        }
        let mut tiff = row(1, b"scan\xff.old");
        tiff.facts.format = Format::Tiff;
        assert_eq!(safe_name(&tiff), "scan_.old.tif");
    }

    proptest! {
        #[test]
        fn every_name_is_one_harmless_component(bytes: Vec<u8>) {
            let Some(path) = RelPath::from_bytes(bytes) else { return Ok(()) };
            let mut row = row(1, b"x");
            row.path = path;
            for name in [safe_name(&row), with_content(&safe_name(&row), &row)] {
                prop_assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with(['.', '-']), "{}", name);
                prop_assert!(name.len() <= 255, "{} bytes", name.len());
                prop_assert_eq!(printable(&name), name.clone());
                prop_assert_eq!(std::path::Path::new(&name).components().count(), 1);
            }
        }
    }

    #[test]
    fn two_pictures_of_one_name_get_two_files() {
        let mut taken = NamesTaken::default();
        assert_eq!(taken.take(&row(1, b"a/IMG_1.jpg")), "IMG_1.jpg");
        assert_eq!(taken.take(&row(2, b"b/img_1.jpg")), "img_1-020202020202.jpg");
        assert_eq!(taken.take(&row(3, b"b/IMG_2.jpg")), "IMG_2.jpg");
    }
}
