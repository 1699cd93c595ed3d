//! Copies on floor 4: what Chord calls `stabilize()`. Carries out what the planners of
//! `replication` decide, and tells them what came of it.
//!
//! - `act` is the event loop's part: it translates between the planner (`replication::stabilize`) and these
//!   tasks.
//! - `survey` reads what the catalogs say of all contents: what is short, what is excess, and how
//!   many copies everything has.
//! - `offer` tells members what this node sees short, and answers what they offer.
//! - `pull` fetches an offered content and makes it a replica; `taking` is what all pulls share, `pace` how
//!   fast they are.
//! - `elsewhere` remembers what members hold whose catalogs are not kept here.
//! - `reconcile` compares what this node believes of a member with what that says, by a digest.
//! - `probe` asks members for a chunk now and then: one that answers and can't deliver holds nothing.

mod act;
mod elsewhere;
mod offer;
mod pace;
mod probe;
mod pull;
mod reconcile;
mod survey;
mod taking;

use libp2p::PeerId;
use tokio::sync::oneshot;

use crate::protocol::{DrainStatus, OfferAnswer, Offered};
use crate::replication::intake::Known;
use crate::replication::stabilize::Event;

pub(super) use elsewhere::HeldElsewhere;
pub(super) use pace::Pace;
pub(super) use reconcile::AddedUp;
pub(super) use taking::Taking;

/// What tasks tell the event loop.
#[derive(Debug)]
pub(super) enum News {
    /// What the planner is to hear.
    Told(Event),
    /// A member offers contents; what this side knows of each is found out already.
    Incoming {
        from: PeerId,
        offers: Vec<(Offered, Known)>,
        room: u64,
        reply: oneshot::Sender<Vec<OfferAnswer>>,
    },
    /// What was known of a member's catalog was wrong: it is to be read anew.
    Wrong(PeerId),
    /// A person wants this node to hand over what it holds (or not any more).
    Drain { cancel: bool, reply: oneshot::Sender<DrainStatus> },
}
