//! The quantisation tables of a JPEG: how coarsely its luma was rounded.

use crate::picture::quality::Fidelity;

/// What a walk over a JPEG's markers has met of them.
#[derive(Default)]
pub(super) struct Tables {
    tables: [Option<[u16; 64]>; 4],
    /// The one that the first component, luma, uses.
    luma: Option<usize>,
}

impl Tables {
    /// A DQT segment: tables until it ends, or until one makes no sense.
    pub(super) fn define(&mut self, mut segment: &[u8]) {
        while let Some((kind, rest)) = segment.split_first() {
            let wide = kind >> 4 != 0;
            let Some((table, rest)) = rest.split_at_checked(if wide { 128 } else { 64 }) else { return };
            segment = rest;
            let mut values = [0; 64];
            if wide {
                let pairs = table.as_chunks().0;
                values.iter_mut().zip(pairs).for_each(|(value, pair)| *value = u16::from_be_bytes(*pair));
            } else {
                values.iter_mut().zip(table).for_each(|(value, byte)| *value = u16::from(*byte));
            }
            if let Some(slot) = self.tables.get_mut(usize::from(kind & 15)) {
                *slot = Some(values);
            }
        }
    }

    /// A frame header: which table luma uses.
    pub(super) fn frame(&mut self, segment: &[u8]) {
        self.luma = segment.get(8).map(|table| usize::from(*table));
    }

    /// At the start of the scan.
    pub(super) fn fidelity(&self) -> Fidelity {
        let table = self.luma.and_then(|at| self.tables.get(at)).and_then(Option::as_ref);
        table.map_or(Fidelity::UNKNOWN, Fidelity::of_jpeg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_luma_is_taken_and_nonsense_is_harmless() {
        let mut tables = Tables::default();
        let mut segment = vec![0; 1];
        segment.extend([99; 64]);
        segment.push(0x12);
        segment.extend([0, 3].repeat(64));
        tables.define(&segment);
        assert_eq!(tables.fidelity(), Fidelity::UNKNOWN, "no frame yet");
        tables.frame(&[8, 0, 1, 0, 1, 1, 1, 0x11, 2]);
        assert_eq!(tables.fidelity(), Fidelity::of_jpeg(&[3; 64]));
        tables.frame(&[8, 0, 1, 0, 1, 1, 1, 0x11, 9]);
        assert_eq!(tables.fidelity(), Fidelity::UNKNOWN);
        tables.define(&[0x0f]);
        tables.define(&[0, 1, 2]);
        tables.frame(&[]);
        assert_eq!(tables.fidelity(), Fidelity::UNKNOWN);
    }
}
