//! Why a request is not fulfilled.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_TEXT_BYTES;

/// Why a request is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: one line, at most [`MAX_TEXT_BYTES`].
    pub message: String,
}

impl Refusal {
    /// A refusal with its reason, cut to what a message may hold.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: shortened(message.into()) }
    }
}

/// A text for people, cut to what a message may hold.
#[must_use]
pub fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let cut = (0..=MAX_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
    }
    text
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Too much to do: ask again after a pause.
    Busy,
    /// No such image, content or chunk here.
    NotFound,
    /// The file behind the content has changed or can't be read: ask another holder.
    Unreadable,
    /// Holders are known, but none of them delivered.
    Unavailable,
    /// A holder sent bytes that are not the content's, and no other holder delivered.
    Corrupt,
    /// Not allowed.
    Forbidden,
    /// The request makes no sense (limits exceeded, malformed text).
    Invalid,
}
