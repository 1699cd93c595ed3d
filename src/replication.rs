//! Keeping what the swarm knows of this node's images alive (publishing and republishing),
//! where copies belong (placement), and removing what the swarm
//! need not keep (wishes, drops and leases).

pub mod drop;
pub mod lease;
pub mod placement;
pub mod rendezvous;
pub mod republish;
pub mod wishes;

pub use rendezvous::rank;
