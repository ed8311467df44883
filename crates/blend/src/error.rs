//! Why a file cannot be read.

use std::io;

/// What is wrong with a `.blend` file. The caller knows which one.
#[derive(Debug, thiserror::Error)]
pub enum BlendError {
    /// The disk's fault.
    #[error("cannot read the file: {0}")]
    Io(io::Error),
    /// Some other kind of file.
    #[error("this is not a .blend file")]
    NotBlend,
    /// Written on a machine whose numbers begin with the most significant byte, or with 32-bit addresses.
    #[error("the file was written by a {0} Blender; open it in a current one and save it again")]
    Machine(&'static str),
    /// A later format.
    #[error("format {0} of .blend files is not known; this program may be too old for it")]
    Format(u32),
    /// It ends too early.
    #[error("the file is cut short")]
    CutShort,
    /// It contradicts itself.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Beyond one of the [`limits`](crate::limits).
    #[error("the file is beyond what is read: {0}")]
    TooLarge(String),
}

impl From<io::Error> for BlendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BlendError::CutShort,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                BlendError::Damaged(error.to_string())
            }
            _ => BlendError::Io(error),
        }
    }
}

impl BlendError {
    /// The file contradicts itself.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        BlendError::Damaged(what.into())
    }
}
