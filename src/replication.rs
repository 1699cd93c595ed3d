//! Keeping what the swarm knows of this node's images alive (publishing and republishing),
//! where copies belong (placement) and how long absent ones count (absence), and removing what
//! the swarm need not keep (wishes, drops and leases).

pub mod absence;
pub mod drop;
pub mod lease;
pub mod placement;
pub mod rendezvous;
pub mod republish;
pub mod wishes;

pub use rendezvous::rank;
