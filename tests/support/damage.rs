//! Files that no program should stumble over.

/// A PNG file of 50,000 x 50,000 pixels in some dozens of bytes: its image data is one empty
/// zlib stream.
pub(crate) fn png_bomb() -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(50_000_u32.to_be_bytes());
    header.extend(50_000_u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in
        [(b"IHDR", header.as_slice()), (b"IDAT", b"\x78\x9c\x03\x00\x00\x00\x00\x01"), (b"IEND", b"")]
    {
        file.extend((data.len() as u32).to_be_bytes());
        let checked = [kind.as_slice(), data].concat();
        file.extend(&checked);
        file.extend(crc32(&checked).to_be_bytes());
    }
    file
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
