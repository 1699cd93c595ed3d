//! JPEG: markers up to the entropy-coded data, and where that ends.

use std::io::{self, BufReader};

use super::quantisation::Tables;
use super::{Layout, MAX_STEPS, Source, array, blob, is_padding, nonsense, skip};

pub(super) fn walk<R: Source>(source: &mut BufReader<R>, layout: &mut Layout) -> io::Result<()> {
    let _soi: [u8; 2] = array(source)?;
    let mut tables = Tables::default();
    for _ in 0..MAX_STEPS {
        let [mut byte] = array(source)?;
        // Bytes before a marker are skipped as the decoders do; 0xFF may fill.
        while byte != 0xff {
            [byte] = array(source)?;
        }
        while byte == 0xff {
            [byte] = array(source)?;
        }
        if matches!(byte, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if byte == 0xd9 {
            return Err(nonsense());
        }
        let length = u64::from(u16::from_be_bytes(array(source)?)).checked_sub(2).ok_or_else(nonsense)?;
        match byte {
            0xda => {
                layout.encoding.fidelity = tables.fidelity();
                return Ok(());
            }
            0xdb => tables.define(&blob(source, length)?),
            0xc0..=0xcf if !matches!(byte, 0xc4 | 0xc8 | 0xcc) => {
                let segment = blob(source, length)?;
                tables.frame(&segment);
                frame_header(&segment, byte, layout)?;
            }
            0xe1 => {
                let segment = blob(source, length)?;
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    layout.set_exif(exif.to_vec());
                }
            }
            0xe2 if length > 8 => {
                let segment = blob(source, length)?;
                layout.multi_frame |= segment.strip_prefix(b"MPF\0").is_some_and(|mpf| mpf_images(mpf) > 1);
            }
            _ => skip(source, length)?,
        }
    }
    Err(nonsense())
}

fn frame_header(segment: &[u8], marker: u8, layout: &mut Layout) -> io::Result<()> {
    let &[precision, h1, h0, w1, w0, components, ..] = segment else { return Err(nonsense()) };
    layout.height = u32::from(u16::from_be_bytes([h1, h0]));
    layout.width = u32::from(u16::from_be_bytes([w1, w0]));
    layout.deep = precision > 8;
    layout.sequential = matches!(marker, 0xc0 | 0xc1) && precision == 8;
    let components = u64::from(components).clamp(1, 4);
    // The output and one row of blocks; a progressive picture also keeps all its
    // coefficients, two bytes each, for planes padded to whole MCUs.
    let progressive = matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce);
    layout.bytes_per_pixel = components + if progressive { components * 2 } else { 1 };
    Ok(())
}

/// The number of images in a multi-picture file (CIPA DC-007, tag 0xB001), 0 when the
/// index can't be read.
fn mpf_images(mpf: &[u8]) -> u32 {
    let big = mpf.starts_with(b"MM");
    let u16_at = |at: usize| {
        let bytes: [u8; 2] = mpf.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes: [u8; 4] = mpf.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let count = || {
        let ifd = u32_at(4)? as usize;
        (0..usize::from(u16_at(ifd)?))
            .map(|entry| ifd + 2 + entry * 12)
            .find(|at| u16_at(*at) == Some(0xb001))
            .and_then(|at| u32_at(at + 8))
    };
    count().unwrap_or(0)
}

/// What is behind the headers of a JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Tail {
    /// There is an end marker.
    pub(in super::super) complete: bool,
    /// More than padding follows it.
    pub(in super::super) trailing_data: bool,
}

/// Looks for the end of the image in the whole file.
pub(in super::super) fn tail(data: &[u8]) -> Tail {
    match end_of_image(data) {
        Some(end) => Tail { complete: true, trailing_data: has_data(data, end) },
        None => Tail { complete: false, trailing_data: false },
    }
}

/// Whether more than padding follows from `end` on.
pub(in super::super) fn has_data(data: &[u8], end: usize) -> bool {
    data.get(end..).is_some_and(|rest| rest.iter().any(|b| !is_padding(*b)))
}

/// Where the first image ends, walking over segments by their lengths, because an
/// embedded preview has an end marker of its own.
fn end_of_image(data: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += data.get(at..)?.iter().position(|b| *b == 0xff)? + 1;
        match *data.get(at)? {
            // Stuffed zero, fill byte, restart marker, markers without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 1,
            0xff => {}
            0xd9 => return Some(at + 1),
            _ => {
                let length = data.get(at + 1..at + 3)?;
                at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}
