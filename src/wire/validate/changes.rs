//! The limits of what a client may change.

use super::{Violation, at_most, content_length, rows, text};
use crate::limits::MAX_NAME_BYTES;
use crate::protocol::{PutRequest, PutResponse, RemovalAnswer};

pub(super) fn removal_answers(
    field: &'static str,
    answers: &[RemovalAnswer],
    limit: usize,
) -> Result<(), Violation> {
    at_most(field, answers.len(), limit)?;
    answers.iter().try_for_each(|answer| text("why", answer.why.as_deref().unwrap_or_default()))
}

pub(super) fn put_request(request: &PutRequest) -> Result<(), Violation> {
    match request {
        PutRequest::Begin { bytes, name, .. } => {
            content_length(*bytes)?;
            at_most("put.name", name.len(), MAX_NAME_BYTES)
        }
        PutRequest::Chunk { .. } | PutRequest::End { .. } | PutRequest::Copies { .. } => Ok(()),
    }
}

pub(super) fn put_response(response: &PutResponse) -> Result<(), Violation> {
    match response {
        PutResponse::Known(row) => rows("put.known", std::slice::from_ref(&**row), 1),
        PutResponse::Begun { .. }
        | PutResponse::Taken
        | PutResponse::Stored { .. }
        | PutResponse::Copies { .. } => Ok(()),
    }
}
