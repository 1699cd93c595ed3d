//! A node: owns a folder, finds the others, publishes, serves and relays.
#![allow(unused, clippy::unused_async)]

pub mod config;
pub mod event;

pub use config::NodeConfig;
pub use event::NodeEvent;

use crate::protocol::{NodeStatus, PeerStatus};

/// Why a node could not start. (being written)
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Placeholder.
    #[error("{0}")]
    Usage(String),
}

/// A running node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeHandle;

/// Events of a node, in order.
#[derive(Debug)]
pub struct NodeEvents;

impl NodeEvents {
    /// The next event; `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        todo!()
    }
}

/// Starts a node and returns when it listens.
///
/// # Errors
/// Folder, key, addresses or index unusable.
pub async fn start(config: NodeConfig) -> Result<(NodeHandle, NodeEvents), StartError> {
    todo!()
}

impl NodeHandle {
    /// The node's state.
    pub async fn status(&self) -> Option<NodeStatus> {
        todo!()
    }

    /// Stops the node: no new work, connections closed, index closed, lock released.
    pub async fn shutdown(&self) {
        todo!()
    }
}
