//! Why the store did not do what it was asked.

use std::fmt;

use wgmfa_core::exit::{Exit, Failure};

/// Why a change was not made. Nothing of it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// It contradicts what is there.
    Refused {
        /// What, in words.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// No room on the disk.
    Full,
    /// The file cannot be read or written, or what it holds is damaged.
    Broken(String),
}

impl StoreError {
    /// A refusal without a hint.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Refused { reason, .. } => Self::Refused { reason, hint: Some(text.into()) },
            other => other,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason, .. } => f.write_str(reason),
            Self::Full => f.write_str("the disk of the state folder is full, nothing was recorded"),
            Self::Broken(what) => write!(f, "the store cannot be used: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // the shared-memory file beside the log could not grow: the same full disk
            _ if error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                Self::Full
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let failure = Self::new(Exit::Failed, error.to_string());
        match error {
            StoreError::Refused { hint: Some(hint), .. } => failure.hint(hint),
            StoreError::Refused { hint: None, .. } => failure,
            StoreError::Full => failure.hint("make room on the disk, then try again"),
            StoreError::Broken(_) => failure.hint("look at the disk and the log of the bastion"),
        }
    }
}
