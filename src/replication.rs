//! Keeping what the swarm knows of this node's images alive (publishing and republishing),
//! and removing what it need not keep (leases and drops; not wired in yet).

pub mod drop;
pub mod lease;
pub mod republish;
