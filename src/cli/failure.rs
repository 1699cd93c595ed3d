//! How a command ends when it does not end well: an exit code and one line.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::client::ClientError;
use crate::error::ExitCode;
use crate::protocol::RefusalCode;
use crate::types::printable;

/// The end of a command that did not do all it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the shell learns.
    pub code: ExitCode,
    /// What the person learns: what was wrong with what, and what to do. `None` when there
    /// is nothing (more) to say.
    pub message: Option<String>,
}

impl Failure {
    /// A failure with its line. Parts of it may come from a peer, so the whole is made
    /// safe to print here, once.
    pub fn new(code: ExitCode, message: impl Display) -> Self {
        let message = message.to_string();
        let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { code, message: Some(printable(&one_line)) }
    }

    /// An end about which everything has been said.
    #[must_use]
    pub fn silent(code: ExitCode) -> Self {
        Self { code, message: None }
    }

    /// Standard output can't be written. When its reader is gone (`| head`) that is how
    /// the reader says "enough": a quiet success.
    #[must_use]
    pub fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(ExitCode::Success);
        }
        Self::new(ExitCode::Output, format_args!("cannot write to standard output: {error}"))
    }

    /// `path` can't be written.
    #[must_use]
    pub fn output(path: &Path, error: &io::Error) -> Self {
        Self::new(ExitCode::Output, format_args!("cannot write {}: {error}", path.display()))
    }

    /// The file that must not be overwritten.
    #[must_use]
    pub fn exists(path: &Path) -> Self {
        let path = path.display();
        Self::new(ExitCode::Output, format_args!("{path} exists already: name another file, or say --force"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Connect { .. } | ClientError::Lost { .. } => ExitCode::CannotConnect,
            ClientError::Refused(refusal) => refusal_code(refusal.code),
            ClientError::Corrupt { .. } => ExitCode::Corrupt,
            ClientError::Protocol(_) => ExitCode::Other,
            ClientError::Output { .. } => ExitCode::Output,
            ClientError::Input { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ExitCode::NotFound
            }
            ClientError::Input { .. } => ExitCode::Other,
        };
        Self::new(code, error)
    }
}

fn refusal_code(code: RefusalCode) -> ExitCode {
    match code {
        RefusalCode::NotFound => ExitCode::NotFound,
        RefusalCode::Busy | RefusalCode::Unreadable | RefusalCode::Unavailable => ExitCode::Other,
        RefusalCode::Corrupt => ExitCode::Corrupt,
        RefusalCode::Forbidden => ExitCode::Refused,
        RefusalCode::Invalid => ExitCode::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Refusal;
    use crate::types::ContentId;

    #[test]
    fn every_error_of_the_client_has_its_exit_code() {
        let refused = |code| ClientError::Refused(Refusal::new(code, "no"));
        let address = || "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for (error, code) in [
            (ClientError::Connect { address: address(), reason: "r".into() }, 5),
            (ClientError::Lost { address: address(), doing: "d".into(), reason: "r".into() }, 5),
            (refused(RefusalCode::NotFound), 3),
            (refused(RefusalCode::Unavailable), 1),
            (refused(RefusalCode::Busy), 1),
            (refused(RefusalCode::Corrupt), 7),
            (refused(RefusalCode::Forbidden), 6),
            (refused(RefusalCode::Invalid), 2),
            (ClientError::Corrupt { content: ContentId([0; 32]) }, 7),
            (ClientError::Output { what: "x".into(), source: full() }, 8),
            (ClientError::Input { what: "x".into(), source: io::ErrorKind::NotFound.into() }, 3),
            (ClientError::Input { what: "x".into(), source: full() }, 1),
        ] {
            let text = error.to_string();
            assert_eq!(Failure::from(error).code as u8, code, "{text}");
        }
    }

    #[test]
    fn what_a_peer_says_stays_on_one_harmless_line() {
        let refusal = Refusal::new(RefusalCode::Busy, "wait\nrm -rf\x1b[2J");
        let failure = Failure::from(ClientError::Refused(refusal));
        assert_eq!(failure.message.as_deref(), Some("wait rm -rf\\u{1b}[2J"));
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_success() {
        let closed = Failure::stdout(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(closed, Failure::silent(ExitCode::Success));
        assert_eq!(Failure::stdout(&io::ErrorKind::StorageFull.into()).code, ExitCode::Output);
    }
}
