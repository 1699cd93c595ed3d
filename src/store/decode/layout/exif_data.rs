//! Orientation and capture time from raw EXIF.

use exif::{Exif, In, Tag, Value};

use crate::picture::Orientation;
use crate::picture::quality::Metadata;
use crate::types::CaptureTime;

/// What EXIF says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExifData {
    pub(super) orientation: Orientation,
    pub(super) taken_at: Option<CaptureTime>,
    pub(super) metadata: Metadata,
}

/// What raw EXIF (a TIFF structure) says; nothing when it can't be read.
pub(super) fn read(raw: Vec<u8>) -> ExifData {
    let mut reader = exif::Reader::new();
    let exif = reader
        .continue_on_error(true)
        .read_raw(raw)
        .or_else(|error| error.distill_partial_result(|_| ()))
        .ok();
    let Some(exif) = exif else {
        let (orientation, metadata) = (Orientation::UPRIGHT, Metadata::default());
        return ExifData { orientation, taken_at: None, metadata };
    };
    let orientation = exif
        .get_field(Tag::Orientation, In::PRIMARY)
        .and_then(|field| field.value.get_uint(0))
        .map_or(Orientation::UPRIGHT, Orientation::from_exif);
    let taken_at = ascii(&exif, Tag::DateTimeOriginal).and_then(|date| {
        capture_time(date, ascii(&exif, Tag::SubSecTimeOriginal), ascii(&exif, Tag::OffsetTimeOriginal))
    });
    let has = |tag| exif.get_field(tag, In::PRIMARY).is_some();
    let metadata = Metadata::of([
        (taken_at.is_some(), Metadata::CAPTURE_TIME),
        (has(Tag::GPSLatitude) && has(Tag::GPSLongitude), Metadata::GPS),
        (has(Tag::Model), Metadata::CAMERA),
    ]);
    ExifData { orientation, taken_at, metadata }
}

fn ascii(exif: &Exif, tag: Tag) -> Option<&[u8]> {
    match &exif.get_field(tag, In::PRIMARY)?.value {
        Value::Ascii(texts) => texts.first().map(Vec::as_slice),
        _ => None,
    }
}

/// EXIF's `YYYY:MM:DD HH:MM:SS`, fractions and offset, as one text. A camera whose clock
/// was never set writes zeros or blanks: no time.
pub(super) fn capture_time(
    date: &[u8],
    fraction: Option<&[u8]>,
    offset: Option<&[u8]>,
) -> Option<CaptureTime> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned())
    };
    let (day, time) =
        text(date)?.split_once([' ', 'T']).map(|(day, time)| (day.replace(':', "-"), time.to_owned()))?;
    if day.starts_with("0000") || day.ends_with("-00") {
        return None;
    }
    let mut whole = format!("{day}T{time}");
    let fraction = fraction.and_then(text).unwrap_or_default();
    if (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit()) {
        whole = format!("{whole}.{fraction}");
    }
    let offset = offset.and_then(text).unwrap_or_default();
    if offset == "Z" || offset.len() == 6 && offset.starts_with(['+', '-']) {
        // An offset in a form of its own is dropped, not the time with it.
        if let Some(time) = CaptureTime::new(&format!("{whole}{offset}")) {
            return Some(time);
        }
    }
    CaptureTime::new(&whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_one_form_or_not_at_all() {
        let time = |date: &str, fraction: Option<&str>, offset: Option<&str>| {
            capture_time(date.as_bytes(), fraction.map(str::as_bytes), offset.map(str::as_bytes))
                .map(|time| time.to_string())
        };
        let plain = Some("2016-04-21T14:03:22".to_owned());
        assert_eq!(time("2016:04:21 14:03:22", None, None), plain);
        assert_eq!(time("2016:04:21 14:03:22\0", Some("  "), Some("   :  ")), plain);
        let full = time("2016:04:21 14:03:22", Some("120"), Some("+02:00"));
        assert_eq!(full.as_deref(), Some("2016-04-21T14:03:22.120+02:00"));
        for unset in ["0000:00:00 00:00:00", "    :  :     :  :  ", "", "yesterday"] {
            assert_eq!(time(unset, None, None), None, "{unset}");
        }
    }

    #[test]
    fn rubbish_is_upright_and_timeless() {
        for rubbish in [b"II*\0\xff\xff\xff\xff".to_vec(), Vec::new()] {
            let nothing =
                ExifData { orientation: Orientation::UPRIGHT, taken_at: None, metadata: Metadata::default() };
            assert_eq!(read(rubbish), nothing);
        }
    }
}
