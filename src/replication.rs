//! Keeping what the swarm knows of this node's images alive (publishing and republishing),
//! and removing what it need not keep (wishes, drops and leases).

pub mod drop;
pub mod lease;
pub mod removal;
pub mod rendezvous;
pub mod republish;
pub mod wishes;

pub use rendezvous::rank;
