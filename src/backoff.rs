//! Pauses between attempts, and their spread.
//!
//! Planners draw no random numbers; they are handed a seed. The spread keeps nodes that
//! started (or lost a peer) together from acting together ever after.

use std::time::Duration;

/// A deterministic source of spread (`SplitMix64`, Steele et al. 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// From a seed that should differ between nodes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly spread over `from` to `to`.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let share = (self.next() >> 40) as f64 / f64::from(1 << 24);
        from + to.saturating_sub(from).mul_f64(share)
    }

    /// The pause before the attempt after `failures` failures in a row: doubles from `first`
    /// to `longest`, then shortened by up to a quarter. Never longer than `longest`.
    pub fn pause(&mut self, failures: u32, first: Duration, longest: Duration) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let pause = first.saturating_mul(1 << doublings).min(longest);
        self.between(pause * 3 / 4, pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_to_the_longest_and_no_further(seed: u64, failures in 0..u32::MAX) {
            let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
            let pause = Jitter::new(seed).pause(failures, first, longest);
            prop_assert!(pause >= first * 3 / 4 && pause <= longest);
            if failures > 6 {
                prop_assert!(pause >= longest * 3 / 4);
            }
        }
    }
}
