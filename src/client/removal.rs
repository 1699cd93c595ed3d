//! Removing a picture from the swarm.

use super::{Client, ClientError};
use crate::protocol::{ClientRequest, ClientResponse, RemovalAnswer};
use crate::types::ContentId;

impl Client {
    /// Has a content removed from every node that holds it; what each of them did.
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` when the node is open to anybody, `not_found` when
    /// nobody holds it).
    pub async fn remove(&self, content: ContentId) -> Result<Vec<RemovalAnswer>, ClientError> {
        match self.call(ClientRequest::Remove { content }, "removing a picture").await?.header {
            ClientResponse::Removed(answers) => Ok(answers),
            _ => Err(ClientError::Protocol("removed")),
        }
    }
}
