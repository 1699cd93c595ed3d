//! Keeping what the swarm knows of this node's images alive: publishing and republishing.

pub mod republish;
