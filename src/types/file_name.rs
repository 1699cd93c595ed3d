//! File names for pictures that come from other machines.

use super::printable;

/// Bytes of a name: file systems allow 255, and a suffix must still fit.
const MAX_NAME_BYTES: usize = 200;

/// Extensions that picture viewers take for a picture.
const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "mpo"];

/// The name that another machine gave a picture, made safe: one component, nothing hidden,
/// nothing that a terminal or a command takes for something else, not too long, and with
/// the extension of a picture, which is `extension` when it had none. Another machine chose
/// it: it never says where, only how the file is called.
#[must_use]
pub fn safe_file_name(name: &[u8], extension: &str) -> String {
    let name = String::from_utf8_lossy(name);
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
        _ => (name, extension),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_made_safe_and_stay_recognisable() {
        for (name, safe) in [
            ("beach.jpg", "beach.jpg"),
            ("beach.JPEG", "beach.JPEG"),
            ("beach", "beach.jpg"),
            ("beach.exe", "beach.exe.jpg"),
            ("../../etc/passwd", "_.._etc_passwd.jpg"),
            (".bashrc", "bashrc.jpg"),
            ("..hidden.png", "hidden.png"),
            ("-rf.jpg", "rf.jpg"),
            (".jpg", "image.jpg"),
            ("a\\b.jpg", "a_b.jpg"),
            ("a\x1b[2J.jpg", "a_[2J.jpg"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe.jpg"),
            ("写真.jpg", "写真.jpg"),
            ("", "image.jpg"),
            ("...", "image.jpg"),
        ] {
            assert_eq!(safe_file_name(name.as_bytes(), "jpg"), safe, "{name:?}");
        }
        assert_eq!(safe_file_name(b"scan\xff.old", "tif"), "scan_.old.tif");
    }

    proptest! {
        #[test]
        fn every_name_is_one_harmless_component(bytes: Vec<u8>) {
            let name = safe_file_name(&bytes, "jpg");
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with(['.', '-']), "{}", name);
            prop_assert!(name.len() <= 255, "{} bytes", name.len());
            prop_assert_eq!(printable(&name), name.clone());
            prop_assert_eq!(std::path::Path::new(&name).components().count(), 1);
        }
    }
}
