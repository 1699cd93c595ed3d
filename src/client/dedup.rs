//! What a client asks about duplicates, similar pictures, the node's trash, and its disk.

use super::{Client, ClientError};
use crate::protocol::{
    ClientRequest, ClientResponse, DrainStatus, DuplicatesPage, EmptiedTrash, HASH_VERSION, HolderProof,
    ScrubStatus, SimilarPage, SimilarQuery, WhyAnswer,
};
use crate::types::{ContentId, ImageId, RelPath};

impl Client {
    /// One page of groups of duplicates; start with 0, go on with [`DuplicatesPage::next`]
    /// until it is `None`.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn duplicates(&self, from: u32) -> Result<DuplicatesPage, ClientError> {
        match self.call(ClientRequest::Duplicates { from }, "asking for duplicates").await?.header {
            ClientResponse::Duplicates(page) => Ok(page),
            _ => Err(ClientError::Protocol("duplicates")),
        }
    }

    /// The pictures whose hashes are within `distance` bits of that of `image`, which need not be
    /// in the swarm; at most `limit`, the nearest first.
    ///
    /// # Errors
    /// Connection lost; refused with `invalid` when `image` has no hash, or the node computes
    /// other hashes.
    pub async fn similar(
        &self,
        image: ImageId,
        distance: u32,
        limit: u32,
    ) -> Result<SimilarPage, ClientError> {
        let query = SimilarQuery { hash_version: HASH_VERSION, image, distance, limit };
        match self.call(ClientRequest::Similar(query), "looking for similar pictures").await?.header {
            ClientResponse::Similar(page) => Ok(page),
            _ => Err(ClientError::Protocol("similar")),
        }
    }

    /// What is known of an image, or of a file that was dropped.
    ///
    /// # Errors
    /// Connection lost; refused with `invalid` when `query` is no hash or prefix.
    pub async fn why(&self, query: &str) -> Result<WhyAnswer, ClientError> {
        let request = ClientRequest::Why { query: query.to_owned() };
        match self.call(request, "asking what became of the picture").await?.header {
            ClientResponse::Why(answer) => Ok(*answer),
            _ => Err(ClientError::Protocol("why")),
        }
    }

    /// Lets the drops that the brake holds back go on; how many files may go now.
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` to strangers).
    pub async fn approve_drops(&self) -> Result<u64, ClientError> {
        match self.call(ClientRequest::ApproveDrops, "approving the drops").await?.header {
            ClientResponse::Approved { files } => Ok(files),
            _ => Err(ClientError::Protocol("approved")),
        }
    }

    /// Has the node hand over what it holds (or go on as before); how far it is.
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` to strangers).
    pub async fn drain(&self, cancel: bool) -> Result<DrainStatus, ClientError> {
        match self.call(ClientRequest::Drain { cancel }, "draining the node").await?.header {
            ClientResponse::Drain(status) => Ok(status),
            _ => Err(ClientError::Protocol("drain")),
        }
    }

    /// Has a file of the node's trash put back; where it is now.
    ///
    /// # Errors
    /// Connection lost, or refused (`not_found` when there is no such entry, `forbidden` to
    /// strangers).
    pub async fn restore_trash(&self, entry: &str) -> Result<RelPath, ClientError> {
        let request = ClientRequest::RestoreTrash { entry: entry.to_owned() };
        match self.call(request, "restoring a file").await?.header {
            ClientResponse::Restored { path } => Ok(path),
            _ => Err(ClientError::Protocol("restored")),
        }
    }

    /// Has the node delete what it dropped up to a time (seconds since 1970).
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` to strangers).
    pub async fn empty_trash(&self, until: u64) -> Result<EmptiedTrash, ClientError> {
        match self.call(ClientRequest::EmptyTrash { until }, "emptying the trash").await?.header {
            ClientResponse::Emptied(emptied) => Ok(emptied),
            _ => Err(ClientError::Protocol("emptied")),
        }
    }

    /// How far the node is with reading everything again; with `now` it begins at once.
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` to strangers who say `now`).
    pub async fn scrub(&self, now: bool) -> Result<ScrubStatus, ClientError> {
        match self.call(ClientRequest::Scrub { now }, "asking for a scrub").await?.header {
            ClientResponse::Scrub(status) => Ok(status),
            _ => Err(ClientError::Protocol("scrub")),
        }
    }

    /// Has every holder of a content read all of it again and prove it.
    ///
    /// # Errors
    /// Connection lost, or refused (`forbidden` to strangers).
    pub async fn verify(&self, image: ImageId, content: ContentId) -> Result<Vec<HolderProof>, ClientError> {
        match self.call(ClientRequest::Verify { content, image }, "verifying the copies").await?.header {
            ClientResponse::Verified(holders) => Ok(holders),
            _ => Err(ClientError::Protocol("verified")),
        }
    }
}
