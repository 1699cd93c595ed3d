//! Adding a picture through a node: what a client says, and what the node answers.

use serde::{Deserialize, Serialize};

use super::ImageRow;
use crate::types::{ContentId, ImageId, RelPath};

/// A step of adding a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PutRequest {
    /// I want to send this content. The payload is its outline, as in
    /// [`PeerResponse::Outline`](super::PeerResponse::Outline). Answer: [`PutResponse::Known`]
    /// or [`PutResponse::Begun`].
    Begin {
        /// The content.
        content: ContentId,
        /// Its length.
        bytes: u64,
        /// How the file is called; the node makes a safe name of it. At most
        /// [`MAX_NAME_BYTES`](crate::limits::MAX_NAME_BYTES).
        name: String,
    },
    /// The payload is one chunk. Answer: [`PutResponse::Taken`].
    Chunk {
        /// From [`PutResponse::Begun`].
        token: u64,
        /// Chunk number, from 0. Chunks may come in any order.
        index: u32,
    },
    /// That was all. Answer: [`PutResponse::Stored`].
    End {
        /// From [`PutResponse::Begun`].
        token: u64,
    },
    /// How many copies are there? The node waits a while for as many as there should be.
    /// Answer: [`PutResponse::Copies`].
    Copies {
        /// The content.
        content: ContentId,
        /// Its picture.
        image: ImageId,
    },
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PutResponse {
    /// A trusted node that is there has it already: there is nothing to send.
    Known(Box<ImageRow>),
    /// Send the chunks.
    Begun {
        /// Names this upload, for this client.
        token: u64,
    },
    /// The chunk is right, and written.
    Taken,
    /// The picture is in the node's folder, on its disk, and in its index.
    Stored {
        /// Where; nothing as long as the node still works on it: ask again.
        path: Option<RelPath>,
    },
    /// What the holders confirmed just now.
    Copies {
        /// Trusted holders with different folders.
        have: u32,
        /// How many there should be.
        wanted: u32,
        /// Trusted nodes that are there, this one included.
        nodes: u32,
    },
}
