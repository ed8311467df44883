//! How a run ends: exit codes and the one line (with a hint) that says why.

use std::process::ExitCode;

/// Why `render` stops, with its documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Wrong arguments.
    Usage = 2,
    /// Frames failed or could not be written.
    FramesFailed = 3,
    /// The scene or the surroundings cannot give a right result: nothing was spent.
    Preflight = 4,
    /// The budget is spent.
    Budget = 5,
    /// Work could not be verified.
    Unverified = 6,
    /// Nobody works.
    NoProviders = 7,
    /// The user stopped it.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// One line for a person, what to do about it, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Decides the exit code.
    pub code: Code,
    /// What happened, and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// A refusal before anything was spent.
    pub fn preflight(message: impl Into<String>) -> Self {
        Self::new(Code::Preflight, message)
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        self.code.into()
    }
}
