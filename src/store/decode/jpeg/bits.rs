//! The entropy-coded segment, bit by bit, and Huffman codes in it.

/// Bits of a code that one look into the table resolves.
const LOOKUP_BITS: u32 = 10;

/// A Huffman table (T.81, annex C), made for stepping over symbols.
#[derive(Debug, Clone)]
pub(super) struct Huffman {
    lookup: Box<[Entry; 1 << LOOKUP_BITS]>,
    /// By code length: the first code of the next length, left-aligned to 16 bits, and
    /// what to add to a code to get its symbol's index.
    limits: [(u32, u32); 17],
    symbols: Vec<u8>,
}

/// One symbol: bits of its code (0: no such code), run and size of T.81, F.1.2.2.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) code_bits: u8,
    /// Bits of the value behind the code.
    pub(super) size: u8,
    /// How many coefficients the symbol stands for; [`Entry::END`] at the block's end.
    pub(super) advance: u8,
}

impl Entry {
    /// Larger than any position in a block can become by valid symbols.
    pub(super) const END: u8 = 128;

    fn new(code_bits: u8, symbol: u8) -> Option<Self> {
        let (run, size) = (symbol >> 4, symbol & 15);
        let advance = match (run, size) {
            (0, 0) => Self::END,
            (15, 0) => 16,
            // Only progressive streams have these.
            (_, 0) => return None,
            _ => run + 1,
        };
        Some(Self { code_bits, size, advance })
    }
}

impl Huffman {
    /// From the counts and symbols of a DHT segment; `None` when they make no prefix code.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut lookup = Box::new([Entry::default(); 1 << LOOKUP_BITS]);
        let mut limits = [(0, 0); 17];
        let (mut code, mut index) = (0u32, 0usize);
        for (bits, count) in (1u32..).zip(counts) {
            let offset = (index as u32).wrapping_sub(code);
            for _ in 0..*count {
                let symbol = *symbols.get(index)?;
                if bits <= LOOKUP_BITS {
                    let entry = Entry::new(bits as u8, symbol)?;
                    let from = (code << (LOOKUP_BITS - bits)) as usize;
                    lookup.get_mut(from..from + (1 << (LOOKUP_BITS - bits)))?.fill(entry);
                }
                code += 1;
                index += 1;
            }
            if code > 1 << bits {
                return None;
            }
            *limits.get_mut(bits as usize)? = (code << (16 - bits), offset);
            code <<= 1;
        }
        Some(Self { lookup, limits, symbols: symbols.get(..index)?.to_vec() })
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn entry(&self, window: u64) -> Option<Entry> {
        let entry = self.lookup[(window >> (64 - LOOKUP_BITS)) as usize];
        if entry.code_bits != 0 { Some(entry) } else { self.long(window) }
    }

    #[cold]
    fn long(&self, window: u64) -> Option<Entry> {
        let code = (window >> 48) as u32;
        for bits in LOOKUP_BITS + 1..=16 {
            let (limit, offset) = self.limits[bits as usize];
            if code < limit {
                let index = (code >> (16 - bits)).wrapping_add(offset);
                return Entry::new(bits as u8, *self.symbols.get(index as usize)?);
            }
        }
        None
    }
}

/// Reads bits from the most significant end, taking stuffed zeros out.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, left-aligned. Below [`Bits::count`] there may be more of the right
    /// ones; they are put in again, alike, by the next refill.
    window: u64,
    count: u32,
    /// Zero bits that were invented behind a marker or the end of the data.
    invented: u32,
}

/// A one in each byte.
const LOW: u64 = 0x0101_0101_0101_0101;

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, window: 0, count: 0, invented: 0 }
    }

    /// Makes at least 32 bits available: a code and its value.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn refill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.data.get(self.at..).and_then(<[u8]>::first_chunk) {
            let next = u64::from_be_bytes(*next);
            // Any byte 0xFF? (Its complement is zero: Warren, Hacker's Delight, 6-1.)
            if (!next).wrapping_sub(LOW) & next & (LOW << 7) == 0 {
                self.window |= next >> self.count;
                let bytes = (63 - self.count) >> 3;
                self.at += bytes as usize;
                self.count += bytes * 8;
                return;
            }
        }
        self.refill_slowly();
    }

    fn refill_slowly(&mut self) {
        // What lies below `count` need not be what comes next when a 0xFF is near.
        self.window = if self.count == 0 { 0 } else { self.window & (u64::MAX << (64 - self.count)) };
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff) | None, _) => {
                    // A marker: its bytes stay where they are.
                    self.invented += 8;
                    0
                }
                (Some(byte), _) => {
                    self.at += 1;
                    *byte
                }
            };
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next symbol of `table`, its code taken, its value not.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn symbol(&mut self, table: &Huffman) -> Option<Entry> {
        self.refill();
        let entry = table.entry(self.window)?;
        self.take(u32::from(entry.code_bits));
        Some(entry)
    }

    /// Steps over the next symbol and its value; returns how far that leads in the block.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) fn skip_symbol(&mut self, table: &Huffman) -> Option<u8> {
        self.refill();
        let entry = table.entry(self.window)?;
        self.take(u32::from(entry.code_bits + entry.size));
        Some(entry.advance)
    }

    /// The next AC symbol with its value.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) fn coefficient(&mut self, table: &Huffman) -> Option<(u8, i32)> {
        let entry = self.symbol(table)?;
        Some((entry.advance, self.value(entry.size)))
    }

    /// The next difference of a DC coefficient. The table's symbols are sizes.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) fn difference(&mut self, table: &Huffman) -> Option<i32> {
        let entry = self.symbol(table)?;
        Some(self.value(entry.size))
    }

    /// T.81, F.2.2.1, RECEIVE and EXTEND.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn value(&mut self, size: u8) -> i32 {
        let size = u32::from(size);
        // No branches: the sign is a coin toss that no predictor guesses. A size of 0
        // gives 0. Values that start with a 0 bit are negative.
        let bits = (self.window >> 1 >> (63 - size)) as i32;
        let negative = (self.window >> 63) as i32 - 1;
        self.take(size);
        bits - (negative & ((1 << size) - 1))
    }

    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn take(&mut self, bits: u32) {
        self.window <<= bits;
        // `refill` made 32 bits available and a symbol has at most 31.
        self.count = self.count.saturating_sub(bits);
    }

    /// Bits were read that the file doesn't hold.
    #[inline]
    pub(super) fn overrun(&self) -> bool {
        self.count < self.invented
    }

    /// Moves over the padding of the last byte to the marker, which must be next.
    fn marker(&mut self) -> Option<u8> {
        self.refill_slowly();
        let real = self.count.checked_sub(self.invented)?;
        if real >= 8 {
            return None;
        }
        (self.window, self.count, self.invented) = (0, 0, 0);
        while self.data.get(self.at..self.at + 2)? == [0xff, 0xff] {
            self.at += 1;
        }
        let [0xff, marker] = self.data.get(self.at..self.at + 2)? else { return None };
        self.at += 2;
        Some(*marker)
    }

    /// Expects restart marker number `number` (0 to 7).
    pub(super) fn restart(&mut self, number: u8) -> Option<()> {
        (self.marker()? == 0xd0 + number).then_some(())
    }

    /// Expects the end of the image; returns where it ends.
    pub(super) fn end(mut self) -> Option<usize> {
        (self.marker()? == 0xd9).then_some(self.at)
    }
}
