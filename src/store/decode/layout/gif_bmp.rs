//! GIF and BMP.

use std::io::{self, BufReader, Seek, SeekFrom};

use super::{Layout, MAX_STEPS, Source, array, data_left, nonsense, skip};

pub(super) fn walk_gif<R: Source>(
    source: &mut BufReader<R>,
    bytes: u64,
    layout: &mut Layout,
) -> io::Result<()> {
    let [_, _, _, _, _, _, w0, w1, h0, h1, flags, _, _] = array(source)?;
    layout.width = u32::from(u16::from_le_bytes([w0, w1]));
    layout.height = u32::from(u16::from_le_bytes([h0, h1]));
    // The screen and a frame, four bytes a pixel each, and the frame's indices.
    layout.bytes_per_pixel = 9;
    skip(source, colour_table(flags))?;
    let mut frames = 0;
    for _ in 0..MAX_STEPS {
        let [block] = array(source)?;
        match block {
            0x2c => {
                frames += 1;
                layout.multi_frame = frames > 1;
                let [_, _, _, _, _, _, _, _, flags] = array(source)?;
                skip(source, colour_table(flags) + 1)?;
                skip_sub_blocks(source)?;
            }
            0x21 => {
                skip(source, 1)?;
                skip_sub_blocks(source)?;
            }
            0x3b => {
                layout.trailing_data = source.stream_position()? < bytes && data_left(source)?;
                return Ok(());
            }
            _ => return Err(nonsense()),
        }
    }
    Err(nonsense())
}

fn colour_table(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn skip_sub_blocks<R: Source>(source: &mut BufReader<R>) -> io::Result<()> {
    loop {
        match array(source)? {
            [0] => return Ok(()),
            [length] => skip(source, u64::from(length))?,
        }
    }
}

pub(super) fn walk_bmp<R: Source>(
    source: &mut BufReader<R>,
    bytes: u64,
    layout: &mut Layout,
) -> io::Result<()> {
    let [_, _, l0, l1, l2, l3, _, _, _, _, o0, o1, o2, o3] = array(source)?;
    let (stated, offset) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([o0, o1, o2, o3]));
    let header = u32::from_le_bytes(array(source)?);
    let (bits, compression);
    if header == 12 {
        let [w0, w1, h0, h1, _, _, b0, b1] = array(source)?;
        layout.width = u32::from(u16::from_le_bytes([w0, w1]));
        layout.height = u32::from(u16::from_le_bytes([h0, h1]));
        (bits, compression) = (u16::from_le_bytes([b0, b1]), 0);
    } else {
        layout.width = i32::from_le_bytes(array(source)?).unsigned_abs();
        // Negative: stored from top to bottom.
        layout.height = i32::from_le_bytes(array(source)?).unsigned_abs();
        let [_, _, b0, b1] = array(source)?;
        bits = u16::from_le_bytes([b0, b1]);
        compression = if header >= 40 { u32::from_le_bytes(array(source)?) } else { 0 };
    }
    layout.bytes_per_pixel = 5;
    if matches!(compression, 0 | 3) {
        let row = (u64::from(layout.width) * u64::from(bits)).div_ceil(32) * 4;
        let end = u64::from(offset).saturating_add(row.saturating_mul(u64::from(layout.height)));
        layout.truncated = end > bytes;
        let end = end.max(u64::from(stated));
        if end < bytes {
            source.seek(SeekFrom::Start(end))?;
            layout.trailing_data = data_left(source)?;
        }
    }
    Ok(())
}
