//! The markers of a JPEG up to its one scan, strictly.

use super::bits::Huffman;

/// Everything that the scan needs.
pub(super) struct Headers {
    pub(super) width: u32,
    pub(super) height: u32,
    /// MCUs across and down.
    pub(super) mcus: (u32, u32),
    pub(super) components: Vec<Component>,
    /// MCUs between restart markers; 0: none.
    pub(super) restart_interval: u32,
    /// Where the entropy-coded data begins.
    pub(super) scan: usize,
}

/// One component with its tables.
pub(super) struct Component {
    /// Blocks of it in an MCU, across and down.
    pub(super) sampling: (u32, u32),
    /// Pixels that one sample covers, across and down.
    pub(super) step: (u32, u32),
    /// In zigzag order.
    pub(super) quantisation: [u16; 64],
    pub(super) dc: Huffman,
    pub(super) ac: Huffman,
}

#[derive(Default)]
struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: u32,
    adobe_transform: Option<u8>,
    frame: Option<Frame>,
}

struct Frame {
    width: u32,
    height: u32,
    /// Id, sampling across and down, quantisation table.
    components: Vec<(u8, u32, u32, usize)>,
}

impl Headers {
    /// `None` when the file is not of the kind that this reader reads.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut tables = Tables::default();
        let mut at = 2;
        loop {
            // Fill bytes are legal and rare: the full decoder may have them.
            let [0xff, marker, l1, l0] = *data.get(at..)?.first_chunk()? else { return None };
            let length = usize::from(u16::from_be_bytes([l1, l0]));
            let segment = data.get(at + 4..at + 2 + length)?;
            at += 2 + length;
            match marker {
                0xdb => tables.quantisation(segment)?,
                0xc4 => tables.huffman(segment)?,
                0xc0 | 0xc1 => tables.frame(segment)?,
                0xdd => tables.restart_interval = u32::from(u16::from_be_bytes(*segment.first_chunk()?)),
                0xee => {
                    if let Some(adobe) = segment.strip_prefix(b"Adobe") {
                        tables.adobe_transform = Some(*adobe.get(6)?);
                    }
                }
                0xda => return tables.scan(segment, at),
                0xe0..=0xef | 0xfe => {}
                // Other kinds of frames, arithmetic coding, hierarchical pictures, ...
                _ => return None,
            }
        }
    }
}

impl Tables {
    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = segment.split_first() {
            let wide = kind >> 4;
            let (table, rest) = rest.split_at_checked(if wide == 0 { 64 } else { 128 })?;
            segment = rest;
            let mut values = [0; 64];
            match wide {
                0 => values.iter_mut().zip(table).for_each(|(value, byte)| *value = u16::from(*byte)),
                1 => {
                    let pairs = table.as_chunks().0;
                    values.iter_mut().zip(pairs).for_each(|(value, pair)| *value = u16::from_be_bytes(*pair));
                }
                _ => return None,
            }
            *self.quantisation.get_mut(usize::from(kind & 15))? = Some(values);
        }
        Some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let symbols: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.get(16..)?.split_at_checked(symbols)?;
            segment = rest;
            let dc = match kind >> 4 {
                0 => true,
                1 => false,
                _ => return None,
            };
            if dc && symbols.iter().any(|size| *size > 11) {
                return None;
            }
            let tables = if dc { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(Huffman::new(counts, symbols)?);
        }
        Some(())
    }

    fn frame(&mut self, segment: &[u8]) -> Option<()> {
        let (&[precision, h1, h0, w1, w0, count], rest) = segment.split_first_chunk()?;
        if self.frame.is_some() || precision != 8 || rest.len() != usize::from(count) * 3 {
            return None;
        }
        let components = rest
            .as_chunks()
            .0
            .iter()
            .map(|[id, sampling, table]| {
                (*id, u32::from(sampling >> 4), u32::from(sampling & 15), usize::from(*table))
            })
            .collect();
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        self.frame = Some(Frame { width: u32::from(width), height: u32::from(height), components });
        Some(())
    }

    fn scan(mut self, segment: &[u8], at: usize) -> Option<Headers> {
        let Frame { width, height, components } = self.frame.take()?;
        let (count, rest) = segment.split_first()?;
        let (selectors, &[0, 63, 0]) = rest.split_last_chunk()? else { return None };
        if usize::from(*count) != components.len() || selectors.len() != components.len() * 2 {
            return None;
        }
        let ids: Vec<u8> = components.iter().map(|component| component.0).collect();
        let colours_fit = match components.len() {
            1 => true,
            // Without Adobe's word for it, ids "RGB" mean that.
            3 => self.adobe_transform.map_or(ids != *b"RGB", |transform| transform == 1),
            _ => false,
        };
        if !colours_fit {
            return None;
        }
        let single = components.len() == 1;
        // Luma has the most samples; the others divide it.
        let most = components.first().map(|c| (c.1, c.2))?;
        let mut built = Vec::with_capacity(components.len());
        for ((id, h, v, table), selector) in components.into_iter().zip(selectors.as_chunks().0) {
            let [selected, tables] = *selector;
            let fits = |n: u32, most: u32| matches!(n, 1 | 2 | 4) && n <= most && most <= 4;
            if selected != id || !fits(h, most.0) || !fits(v, most.1) {
                return None;
            }
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            built.push(Component {
                // A single component is not interleaved: its sampling means nothing.
                sampling: if single { (1, 1) } else { (h, v) },
                step: if single { (1, 1) } else { (most.0 / h, most.1 / v) },
                quantisation: self.quantisation.get(table).copied()??,
                dc: self.dc.get(dc)?.clone()?,
                ac: self.ac.get(ac)?.clone()?,
            });
        }
        let (across, down) = if single { (8, 8) } else { (8 * most.0, 8 * most.1) };
        Some(Headers {
            width,
            height,
            mcus: (width.div_ceil(across), height.div_ceil(down)),
            components: built,
            restart_interval: self.restart_interval,
            scan: at,
        })
    }
}
