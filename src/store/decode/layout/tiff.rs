//! TIFF and `BigTIFF`: size, pages, capture time, and whether it is a camera's raw file.
//! The file may be larger than memory, so it is walked in place.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::{Layout, Source, array, exif_data, nonsense};
use crate::picture::Orientation;
use crate::picture::quality::Metadata;

/// Tags of one directory that are looked at; the largest real ones have under a hundred.
const MAX_ENTRIES: u64 = 4096;

/// Bytes of a value that are looked at: dates and makers are short.
const MAX_VALUE: u64 = 64;

struct Reader<'a, R: Source> {
    source: &'a mut BufReader<R>,
    big_endian: bool,
    /// `BigTIFF`: 8-byte offsets and counts.
    big: bool,
}

#[derive(Default)]
struct Directory {
    entries: Vec<(u16, Value)>,
    next: u64,
}

#[derive(Default)]
struct Value {
    number: u64,
    count: u64,
    bytes: Vec<u8>,
}

impl Directory {
    fn number(&self, tag: u16) -> Option<u64> {
        self.entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| value.number)
    }

    fn bytes(&self, tag: u16) -> Option<&[u8]> {
        self.entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| value.bytes.as_slice())
    }

    fn count(&self, tag: u16) -> u64 {
        self.entries.iter().find(|(t, _)| *t == tag).map_or(0, |(_, value)| value.count)
    }
}

impl<R: Source> Reader<'_, R> {
    fn word<const N: usize>(&mut self) -> io::Result<u64> {
        let bytes: [u8; N] = array(self.source)?;
        Ok(self.number(&bytes))
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let fold = |n: u64, b: &u8| n << 8 | u64::from(*b);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }

    fn offset(&mut self) -> io::Result<u64> {
        if self.big { self.word::<8>() } else { self.word::<4>() }
    }

    fn directory(&mut self, at: u64) -> io::Result<Directory> {
        self.source.seek(SeekFrom::Start(at))?;
        let entries = if self.big { self.word::<8>()? } else { self.word::<2>()? };
        if entries > MAX_ENTRIES {
            return Err(nonsense());
        }
        let mut directory = Directory::default();
        for _ in 0..entries {
            let (tag, kind, count) = (self.word::<2>()? as u16, self.word::<2>()?, self.offset()?);
            let mut inline = [0; 8];
            let field = inline.get_mut(..if self.big { 8 } else { 4 }).ok_or_else(nonsense)?;
            self.source.read_exact(field)?;
            let unit = match kind {
                1 | 2 | 6 | 7 => 1,
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                _ => 8,
            };
            let length = count.saturating_mul(unit);
            let field = field.to_vec();
            let bytes = if length <= field.len() as u64 {
                field.get(..length as usize).unwrap_or_default().to_vec()
            } else {
                let back = self.source.stream_position()?;
                let mut bytes = Vec::new();
                self.source.seek(SeekFrom::Start(self.number(&field)))?;
                self.source.by_ref().take(length.min(MAX_VALUE)).read_to_end(&mut bytes)?;
                self.source.seek(SeekFrom::Start(back))?;
                bytes
            };
            let number = self.number(bytes.get(..unit as usize).unwrap_or_default());
            directory.entries.push((tag, Value { number, count, bytes }));
        }
        directory.next = self.offset()?;
        Ok(directory)
    }
}

pub(super) fn walk<R: Source>(source: &mut BufReader<R>, layout: &mut Layout) -> io::Result<()> {
    let [order, _, v0, v1] = array(source)?;
    let mut reader = Reader { big_endian: order == b'M', big: v0 == 43 || v1 == 43, source };
    if reader.big {
        reader.word::<4>()?;
    }
    let first = reader.offset()?;
    let directory = reader.directory(first)?;
    let side = |tag| directory.number(tag).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    (layout.width, layout.height) = (side(256), side(257));
    let bits = directory.number(258).unwrap_or(1);
    let samples = directory.number(277).unwrap_or(1).max(directory.count(258)).clamp(1, 8);
    layout.deep = bits > 8;
    // The output, as much again for what is converted on the way, and strips or tiles
    // that may be as large as the picture.
    layout.bytes_per_pixel = 3 * samples.max(3) * bits.div_ceil(8).clamp(1, 8);
    layout.orientation =
        directory.number(274).map_or(Orientation::UPRIGHT, |n| Orientation::from_exif(n as u32));
    layout.raw = is_raw(&directory);
    // A second page. A thumbnail (bit 0 of the new subfile type) would be one of the same
    // picture, but what it shows can't be known without a look: it counts.
    layout.multi_frame = directory.next != 0;
    if let Some(at) = directory.number(34_665) {
        let exif = reader.directory(at)?;
        layout.taken_at = exif
            .bytes(36_867)
            .and_then(|date| exif_data::capture_time(date, exif.bytes(37_521), exif.bytes(36_881)));
    }
    let known = [
        (layout.taken_at.is_some(), Metadata::CAPTURE_TIME),
        (directory.bytes(34_853).is_some(), Metadata::GPS),
        (directory.bytes(272).is_some(), Metadata::CAMERA),
    ];
    layout.encoding.metadata = Metadata::of(known);
    Ok(())
}

/// DNG says so. NEF, ARW, PEF and their like keep a thumbnail in the first directory, the
/// sensor's data in another one below it, and name the camera's maker.
fn is_raw(directory: &Directory) -> bool {
    const DNG_VERSION: u16 = 50_706;
    const SUB_DIRECTORIES: u16 = 330;
    const COLOUR_FILTER_ARRAY: u64 = 32_803;
    let thumbnail_first = directory.number(254).is_some_and(|kind| kind & 1 == 1);
    directory.bytes(DNG_VERSION).is_some()
        || directory.number(262) == Some(COLOUR_FILTER_ARRAY)
        || thumbnail_first && directory.bytes(SUB_DIRECTORIES).is_some() && directory.bytes(271).is_some()
}
