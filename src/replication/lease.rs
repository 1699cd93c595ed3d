//! Leases, the holder's side: promises not to remove a content before a time.
//!
//! A lease is volatile: writing each to disk was rejected, because a restart can stand in
//! for it. A node that started or woke up doesn't know what it promised, so it removes nothing
//! until every promise that it can have made has run out ([`Leases::quiet_until`]).
//!
//! Both sides count on their own clock, and nothing is compared across machines but lengths.
//! The asker counts from the *sending* of its request, less [`Terms::margin`]; the holder
//! from the request's arrival, which is later. So the asker stops relying on the promise
//! before the holder stops keeping it, as long as the clocks drift apart by no more than
//! the margin during one lease.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;

use crate::limits::{
    DROP_PAUSE_FIRST, DROP_PAUSE_LONGEST, LEASE_ANSWER, LEASE_MARGIN, LEASE_TIME, MAX_LEASES,
};
pub use crate::protocol::Denial;
use crate::types::ContentId;

/// Time since this machine was started, suspend included (`CLOCK_BOOTTIME`), in milliseconds.
///
/// [`std::time::Instant`] won't do: on Linux it stands still while the machine sleeps, and
/// a laptop that slept an hour would believe in leases that ran out long ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// The time `wait` later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// How long things take, the same on every node of a swarm (the length of a lease) or the
/// node's own affair (all else).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terms {
    /// What is asked for and granted.
    pub lease: Duration,
    /// By how much the asker counts a lease shorter. Shorter than `lease`.
    pub margin: Duration,
    /// How long an answer may take.
    pub answer: Duration,
    /// Pause after the first failed attempt; doubles with each further one.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_longest: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: LEASE_TIME,
            margin: LEASE_MARGIN,
            answer: LEASE_ANSWER,
            pause_first: DROP_PAUSE_FIRST,
            pause_longest: DROP_PAUSE_LONGEST,
        }
    }
}

impl Terms {
    /// The usual terms with another length of a lease. With a shorter one, for tests that
    /// can't wait, the rest shrinks with it.
    #[must_use]
    pub fn of(lease: Duration) -> Self {
        let all = Self::default();
        if lease >= all.lease {
            return Self { lease, ..all };
        }
        let share = |time: Duration| time.mul_f64(lease.as_secs_f64() / all.lease.as_secs_f64());
        Self {
            lease,
            margin: share(all.margin),
            // A larger share, because disks don't become faster.
            answer: lease.mul_f64(0.6),
            pause_first: share(all.pause_first),
            pause_longest: share(all.pause_longest),
        }
    }

    /// Until when who asked at `sent` may rely on a lease.
    #[must_use]
    pub fn relied_on_until(&self, sent: BootTime) -> BootTime {
        sent.after(self.lease.saturating_sub(self.margin))
    }
}

/// The key of the proof that `holder` owes `asker` for `nonce`. Another one for each request,
/// so that nobody can answer from memory; and for each pair, so that nobody can pass the
/// question on.
#[must_use]
pub fn proof_key(holder: &PeerId, asker: &PeerId, nonce: &[u8]) -> [u8; 32] {
    let mut material = Vec::new();
    for peer in [holder, asker] {
        let id = peer.to_bytes();
        // A multihash of an identity key has 38 bytes, of a hashed one 34.
        material.push(id.len() as u8);
        material.extend(id);
    }
    material.extend(nonce);
    blake3::derive_key("p2pimg lease 1", &material)
}

/// What a node has promised, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leases {
    length: Duration,
    quiet_until: BootTime,
    granted: BTreeMap<(ContentId, PeerId), BootTime>,
}

impl Leases {
    /// Of a node that has just started, and so may have forgotten promises.
    #[must_use]
    pub fn new(now: BootTime, length: Duration) -> Self {
        Self { length, quiet_until: now.after(length), granted: BTreeMap::new() }
    }

    /// The machine slept: what was known of the others is old, and an answer that was sent
    /// may be unknown to this side.
    pub fn resumed(&mut self, now: BootTime) {
        self.quiet_until = self.quiet_until.max(now.after(self.length));
    }

    /// The node removes nothing before this time.
    #[must_use]
    pub fn quiet_until(&self) -> BootTime {
        self.quiet_until
    }

    /// Promises `content` to `asker`, for one length from now. A promise made before is
    /// made longer, never shorter.
    ///
    /// # Errors
    /// [`Denial::Busy`] when [`MAX_LEASES`] are out.
    pub fn grant(&mut self, now: BootTime, content: ContentId, asker: PeerId) -> Result<BootTime, Denial> {
        self.granted.retain(|_, until| *until > now);
        if self.granted.len() >= MAX_LEASES && !self.granted.contains_key(&(content, asker)) {
            return Err(Denial::Busy);
        }
        let until = now.after(self.length);
        let entry = self.granted.entry((content, asker)).or_insert(until);
        *entry = until.max(*entry);
        Ok(*entry)
    }

    /// Until when a live lease forbids any removal of `content`; `None` when there is none.
    #[must_use]
    pub fn blocked_until(&self, now: BootTime, content: ContentId) -> Option<BootTime> {
        let of_content = self.granted.iter().filter(|((leased, _), _)| *leased == content);
        of_content.map(|(_, until)| *until).filter(|until| *until > now).max()
    }

    /// Leases out at `now`.
    #[must_use]
    pub fn live(&self, now: BootTime) -> usize {
        self.granted.values().filter(|until| **until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::multihash::Multihash;

    use super::*;
    use crate::types::to_hex;

    fn peer(byte: u8) -> PeerId {
        let id = Multihash::wrap(0, &[byte; 32]).expect("32 bytes fit");
        PeerId::from_multihash(id).expect("an identity")
    }

    /// Other implementations have to agree. Computed without this program's library.
    #[test]
    fn the_key_of_a_proof_is_what_it_was() {
        let key = proof_key(&peer(1), &peer(2), &[3; 32]);
        assert_eq!(to_hex(&key), "c2b78dd2c7f8a2bbc876ea1939dd6bd06d6d0c972979301ef6ba7c2cbf674665");
        let proof = blake3::keyed_hash(&key, b"a picture");
        assert_eq!(
            to_hex(proof.as_bytes()),
            "3cc3bdaf38a105efa2ed8dae7c8d22a99e7aad6d3826237e925f5d4ced0e699c"
        );
    }

    #[test]
    fn holder_asker_and_nonce_each_make_another_key() {
        let key = proof_key(&peer(1), &peer(2), &[3; 32]);
        assert_ne!(proof_key(&peer(2), &peer(1), &[3; 32]), key, "a question passed back");
        assert_ne!(proof_key(&peer(1), &peer(4), &[3; 32]), key, "a question passed on");
        assert_ne!(proof_key(&peer(4), &peer(2), &[3; 32]), key, "an answer of somebody else");
        assert_ne!(proof_key(&peer(1), &peer(2), &[4; 32]), key, "an old answer");
    }

    /// A lease relied on longer than it is kept loses pictures; an answer waited for longer than
    /// the lease never counts.
    #[test]
    fn terms_of_any_length_keep_their_order() {
        let usual = Terms::default();
        assert_eq!(Terms::of(LEASE_TIME), usual);
        for millis in [1_u64, 10, 500, 1_000, 2_000, 4_000, 60_000, 119_999, 120_000, 600_000, u64::MAX] {
            let lease = Duration::from_millis(millis);
            let terms = Terms::of(lease);
            assert_eq!(terms.lease, lease);
            assert!(!terms.margin.is_zero() && terms.margin < lease, "{terms:?}");
            assert!(terms.answer < lease - terms.margin, "{terms:?}");
            assert!(!terms.pause_first.is_zero() && terms.pause_first <= terms.pause_longest, "{terms:?}");
            assert!(terms.margin <= usual.margin && terms.pause_longest <= usual.pause_longest, "{terms:?}");
            let sent = BootTime(7);
            assert!(terms.relied_on_until(sent) <= sent.after(lease), "{terms:?}");
        }
        let short = Terms::of(Duration::from_secs(12));
        let tenth = |time: Duration| time / 10;
        assert_eq!((short.margin, short.pause_first), (tenth(usual.margin), tenth(usual.pause_first)));
    }

    #[test]
    fn a_lease_is_made_longer_never_shorter_and_only_its_content_is_blocked() {
        let (content, other) = (ContentId([1; 32]), ContentId([2; 32]));
        let mut leases = Leases::new(BootTime(0), Duration::from_secs(4));
        let late = leases.grant(BootTime(3_000), content, peer(1)).expect("room");
        assert_eq!(late, BootTime(7_000));
        // The clock that is read later may say less: two threads.
        assert_eq!(leases.grant(BootTime(2_000), content, peer(1)), Ok(late));
        assert_eq!(leases.grant(BootTime(1_000), content, peer(2)), Ok(BootTime(5_000)));
        assert_eq!(leases.blocked_until(BootTime(6_999), content), Some(late), "the longest counts");
        assert_eq!(leases.blocked_until(late, content), None);
        assert_eq!(leases.blocked_until(BootTime(4_000), other), None);
    }
}
