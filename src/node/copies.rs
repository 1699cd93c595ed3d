//! Copies on floor 4: what Chord calls `stabilize()`. Carries out what the planners of
//! `replication` decide, and tells them what came of it.
//!
//! - `desk` has the planners: who counts, when to survey, offers and what comes in; `act` is the event
//!   loop's part, which carries them out.
//! - `survey` reads what the catalogs say of all contents: what is short, what is excess, and how
//!   many copies everything has.
//! - `offer` tells members what this node sees short, and answers what they offer.
//! - `pull` fetches an offered content and makes it a replica.
//! - `reconcile` compares what this node believes of a member with what that says, by a digest.
//! - `probe` asks members for a chunk now and then: one that answers and can't deliver holds nothing.

mod act;
mod desk;
mod offer;
mod pace;
mod probe;
mod pull;
mod reconcile;
mod survey;

use libp2p::PeerId;
use tokio::sync::oneshot;

use crate::protocol::{DrainStatus, OfferAnswer, Offered};
use crate::replication::intake::Known;
use crate::types::ContentId;

pub(super) use desk::{CopyDesk, CopySettings};
pub(super) use pace::Pace;
pub(super) use reconcile::AddedUp;
use survey::Surveyed;

/// What tasks tell the desk.
#[derive(Debug)]
pub(super) enum News {
    /// A survey ended; `None`: the index could not be read.
    Surveyed(Option<Box<Surveyed>>),
    /// An offer was answered; `None`: it was not.
    Offered { peer: PeerId, answers: Option<Vec<(ContentId, OfferAnswer)>> },
    /// A member offers contents; what this side knows of each is found out already.
    Incoming {
        from: PeerId,
        offers: Vec<(Offered, Known)>,
        room: u64,
        reply: oneshot::Sender<Vec<OfferAnswer>>,
    },
    /// A pull ended.
    Pulled { content: ContentId, from: Vec<PeerId>, ok: bool },
    /// A member delivered what was asked of it, or failed.
    Delivered { peer: PeerId, ok: bool },
    /// What was known of a member's catalog was wrong: it is to be read anew.
    Wrong(PeerId),
    /// A person wants this node to hand over what it holds (or not any more).
    Drain { cancel: bool, reply: oneshot::Sender<DrainStatus> },
}
