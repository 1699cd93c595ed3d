//! What the planner is told, what it asks for, and what it goes by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::protocol::{Census, Keeps, OfferAnswer};
use crate::replication::intake::Pull;
use crate::replication::repair::Short;
use crate::replication::survey::{Excess, View};
use crate::types::{ContentId, FolderId};

/// How a node keeps copies.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub me: PeerId,
    /// Its folder.
    pub folder: FolderId,
    /// What it tells of itself.
    pub keeps: Keeps,
    /// Copies that it asks for.
    pub copies: u16,
    /// How long a member that was never seen to come back may be away.
    pub repair_after: Duration,
    /// How long an original has to be excess before it goes.
    pub trim_after: Duration,
    /// Peers that the index knows, with their folders: they are expected back.
    pub known: Vec<(PeerId, FolderId)>,
    /// How long they stayed away before.
    pub absences: Vec<(PeerId, Duration)>,
}

/// What a survey saw.
#[derive(Debug)]
pub struct Surveyed {
    /// Own contents with too few copies, the most urgent of them.
    pub shorts: Vec<Short>,
    /// How many there are, also beyond those named.
    pub short: u64,
    /// Of the own contents, those that no other member counts as a holder of.
    pub sole: u64,
    /// Own copies that are one too many.
    pub excess: Vec<Excess>,
    /// All contents by the number of their copies.
    pub census: Census,
    /// When it began: what changed since may not be in it.
    pub began: Instant,
    /// It was made for a node that is about to leave.
    pub leaving: bool,
}

/// What the planner is told.
#[derive(Debug)]
pub enum Event {
    /// A trusted member came up, or told more of itself.
    Heard {
        /// Who.
        peer: PeerId,
        /// Its folder.
        folder: FolderId,
        /// Copies that it asks for.
        copies: u16,
        /// The rest.
        keeps: Keeps,
    },
    /// A member is not connected any more.
    Gone(PeerId),
    /// Something that a survey may see has changed.
    Changed,
    /// The same, and until then a look for duplicates will have told more.
    ChangedUntil(Instant),
    /// A look for duplicates is about to begin or under way: a survey waits until then, though not
    /// for ever.
    LookNear(Instant),
    /// All of the own folder is in the index.
    FolderKnown,
    /// The machine slept: nobody is judged by that time.
    Slept,
    /// [`Action::Survey`] ended; `None`: the index could not be read.
    Surveyed(Option<Box<Surveyed>>),
    /// [`Action::Offer`] was answered; `None`: it was not.
    Answered {
        /// By whom.
        peer: PeerId,
        /// What.
        answers: Option<Vec<(ContentId, OfferAnswer)>>,
    },
    /// [`Action::Pull`] ended.
    Pulled {
        /// What.
        content: ContentId,
        /// It is a replica here now.
        ok: bool,
    },
    /// [`Action::Probe`] showed something.
    Probed {
        /// Whom.
        peer: PeerId,
        /// It delivered.
        ok: bool,
    },
    /// [`Action::Probe`] found a member busy.
    Busy(PeerId),
    /// This node is to hand over what it holds, or not any more.
    Drain {
        /// Not any more.
        cancel: bool,
    },
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Look at all contents and their holders; ends with [`Event::Surveyed`].
    Survey(Arc<View>),
    /// Offer these contents, with the copies that count of each; ends with [`Event::Answered`].
    Offer {
        /// To whom.
        peer: PeerId,
        /// What.
        contents: Vec<(ContentId, u16)>,
    },
    /// Fetch this and keep it; ends with [`Event::Pulled`].
    Pull(Pull),
    /// Ask a member for some content that its catalog names, chosen by the number; ends with
    /// [`Event::Probed`] or [`Event::Busy`], or with nothing when there is nothing to ask it for.
    Probe {
        /// Whom.
        peer: PeerId,
        /// Another one each time.
        number: u64,
    },
    /// Compare what is believed of this member's catalog with what it says.
    Compare(PeerId),
    /// Tell people: this node takes itself for cut off, or does so no more.
    CutOff(bool),
    /// Tell people: each of so many contents has so many copies.
    Settled {
        /// Contents.
        contents: u64,
        /// Copies.
        copies: u16,
    },
    /// All that can be handed over has been.
    Drained,
}
