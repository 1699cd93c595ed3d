//! File names for pictures that come from other machines.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use crate::protocol::ImageRow;
use crate::types::safe_file_name;

/// The name that its holder gave the picture, made safe.
#[must_use]
pub(super) fn safe_name(row: &ImageRow) -> String {
    safe_file_name(row.path.file_name(), row.facts.format.extension())
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
    use crate::types::{Format, RelPath, printable};
    use proptest::prelude::*;

    #[test]
    fn the_file_name_alone_counts_and_the_format_gives_what_it_lacks() {
        assert_eq!(safe_name(&row(1, b"holiday/2016/beach.jpg")), "beach.jpg");
        let mut tiff = row(1, b"holiday/scan\xff.old");
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
