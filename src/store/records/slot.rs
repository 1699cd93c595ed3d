//! The providers of one key, in as few bytes as possible: nearly all keys have one to
//! three.

use super::names::PeerIndex;

/// Seconds after the store's origin; `MAX` means never.
pub(super) type Seconds = u32;

/// One provider of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) peer: PeerIndex,
    pub(super) expires: Seconds,
}

/// A list that costs nothing beside itself for one provider, and has no spare capacity
/// for more: it is copied at each change, at most `MAX_PROVIDERS_PER_KEY` times 8 bytes.
#[derive(Debug)]
pub(super) enum Slot {
    One(Provider),
    /// Also the empty list, which allocates nothing.
    Many(Box<[Provider]>),
}

// The tag hides in the pointer's niche.
const _: () = assert!(size_of::<Slot>() == 16);

impl Default for Slot {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl Slot {
    fn as_slice(&self) -> &[Provider] {
        match self {
            Self::One(provider) => std::slice::from_ref(provider),
            Self::Many(providers) => providers,
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Provider> {
        self.as_slice().iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn find_mut(&mut self, peer: PeerIndex) -> Option<&mut Provider> {
        let providers = match self {
            Self::One(provider) => std::slice::from_mut(provider),
            Self::Many(providers) => providers,
        };
        providers.iter_mut().find(|provider| provider.peer == peer)
    }

    pub(super) fn push(&mut self, provider: Provider) {
        let providers = self.iter().copied().chain([provider]).collect();
        self.set(providers);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Provider) -> bool) {
        let providers = self.iter().copied().filter(|provider| keep(provider)).collect();
        self.set(providers);
    }

    fn set(&mut self, providers: Vec<Provider>) {
        *self = match providers.as_slice() {
            [one] => Self::One(*one),
            _ => Self::Many(providers.into_boxed_slice()),
        };
    }
}
