//! PNG and WebP: files made of chunks with a type and a length.

use std::io::{self, BufReader, Seek};

use crate::picture::quality::Fidelity;

use super::{Layout, MAX_STEPS, Source, array, blob, data_left, nonsense, skip};

pub(super) fn walk_png<R: Source>(
    source: &mut BufReader<R>,
    bytes: u64,
    layout: &mut Layout,
) -> io::Result<()> {
    let _signature: [u8; 8] = array(source)?;
    for _ in 0..MAX_STEPS {
        let length = u64::from(u32::from_be_bytes(array(source)?));
        let kind: [u8; 4] = array(source)?;
        // Seeking past the end succeeds: only the length tells that a chunk is cut off.
        if source.stream_position()?.saturating_add(length + 4) > bytes {
            layout.truncated = true;
        }
        match &kind {
            b"IHDR" if length == 13 => {
                let [w3, w2, w1, w0, h3, h2, h1, h0, depth, colour, _, _, _] = array(source)?;
                layout.width = u32::from_be_bytes([w3, w2, w1, w0]);
                layout.height = u32::from_be_bytes([h3, h2, h1, h0]);
                layout.deep = depth == 16;
                // Palettes become colours with alpha. One more for rows and filters.
                let channels = match colour {
                    0 | 4 => 2,
                    _ => 4,
                };
                layout.bytes_per_pixel = channels * if depth == 16 { 2 } else { 1 } + 1;
            }
            b"acTL" if length == 8 => {
                let frames = u32::from_be_bytes(array(source)?);
                let _plays: [u8; 4] = array(source)?;
                layout.multi_frame = frames > 1;
            }
            b"eXIf" => layout.set_exif(blob(source, length)?),
            b"IEND" => {
                skip(source, length + 4)?;
                layout.trailing_data = data_left(source)?;
                return Ok(());
            }
            _ => skip(source, length)?,
        }
        let _crc: [u8; 4] = array(source)?;
    }
    Err(nonsense())
}

pub(super) fn walk_webp<R: Source>(
    source: &mut BufReader<R>,
    bytes: u64,
    layout: &mut Layout,
) -> io::Result<()> {
    let [_, _, _, _, l0, l1, l2, l3, _, _, _, _] = array(source)?;
    let end = 8 + u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    layout.truncated = end > bytes;
    let mut frames = 0;
    let mut at = 12;
    // Lossy: planes, then colours. Lossless: two buffers of colours. Animated: canvas too.
    layout.bytes_per_pixel = 9;
    for _ in 0..MAX_STEPS {
        if at + 8 > end.min(bytes) {
            break;
        }
        let kind: [u8; 4] = array(source)?;
        let length = u64::from(u32::from_le_bytes(array(source)?));
        let padded = length + length % 2;
        at += 8 + padded;
        let read = match &kind {
            b"VP8X" if length >= 10 => {
                let [_, _, _, _, w0, w1, w2, h0, h1, h2] = array(source)?;
                layout.width = u32::from_le_bytes([w0, w1, w2, 0]) + 1;
                layout.height = u32::from_le_bytes([h0, h1, h2, 0]) + 1;
                10
            }
            b"VP8 " if length >= 10 => {
                layout.encoding.fidelity = Fidelity::UNKNOWN;
                let [_, _, _, _, _, _, w0, w1, h0, h1] = array(source)?;
                // An extended header has said it already.
                if layout.width == 0 {
                    layout.width = u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff);
                    layout.height = u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff);
                }
                10
            }
            b"VP8L" if length >= 5 && layout.width == 0 => {
                let [_, b0, b1, b2, b3] = array(source)?;
                let bits = u32::from_le_bytes([b0, b1, b2, b3]);
                layout.width = (bits & 0x3fff) + 1;
                layout.height = (bits >> 14 & 0x3fff) + 1;
                5
            }
            b"ANMF" => {
                frames += 1;
                layout.bytes_per_pixel = 17;
                0
            }
            b"EXIF" => {
                let raw = blob(source, length)?;
                // Some writers keep JPEG's prefix.
                layout.set_exif(raw.strip_prefix(b"Exif\0\0").map(<[u8]>::to_vec).unwrap_or(raw));
                length
            }
            _ => 0,
        };
        skip(source, padded - read)?;
    }
    layout.multi_frame = frames > 1;
    if !layout.truncated {
        source.seek(io::SeekFrom::Start(end))?;
        layout.trailing_data = data_left(source)?;
    }
    Ok(())
}
