//! Exit codes, one meaning each, the same for every command.

/// What the process tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// It worked.
    Success = 0,
    /// Something else went wrong.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No such image, file or folder.
    NotFound = 3,
    /// A prefix or hash that several contents share.
    Ambiguous = 4,
    /// The node can't be reached.
    CannotConnect = 5,
    /// The node refused.
    Refused = 6,
    /// The bytes are not what they should be.
    Corrupt = 7,
    /// The output exists already or can't be written.
    Output = 8,
    /// It works, but not all is well.
    Degraded = 10,
}

impl ExitCode {
    /// Every code with its meaning, in the words of `--help`.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Success, "success"),
        (Self::Other, "other error"),
        (Self::Usage, "wrong usage"),
        (Self::NotFound, "not found"),
        (Self::Ambiguous, "ambiguous: a prefix or hash that several contents share"),
        (Self::CannotConnect, "cannot connect"),
        (Self::Refused, "refused"),
        (Self::Corrupt, "corrupt: the bytes are not what they should be"),
        (Self::Output, "output exists or can't be written"),
        (Self::Degraded, "degraded: it works, but not all is well"),
    ];
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
