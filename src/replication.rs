//! Keeping what the swarm knows of this node's images alive (publishing and republishing), making
//! the copies that are lacking (survey, placement, repair, intake; absence tells who counts), and
//! removing what the swarm need not keep (wishes, drops and leases).

pub mod absence;
pub mod drop;
pub mod intake;
pub mod lease;
pub mod placement;
pub mod probes;
pub mod removal;
pub mod rendezvous;
pub mod repair;
pub mod rounds;
pub mod scrub;
pub mod stabilize;
pub mod survey;
pub mod wishes;

pub use rendezvous::rank;
