//! Why a scene cannot be read: one line that names the file, what is wrong and what to do.

use std::{io, path::PathBuf};

/// A scene file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct SceneError {
    /// The scene file, as it was given.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a scene file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file itself cannot be opened or read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Files that the scene refers to are not there or cannot be read.
    #[error(
        "needs {}, not found beside it; copy what is missing into its folder or export as .glb",
        quoted(.0)
    )]
    MissingFiles(Vec<String>),
    /// Neither a binary nor a text glTF file.
    #[error("is not a glTF file; export the scene as glTF 2.0 (.glb or .gltf)")]
    NotGltf,
    /// glTF of another major version.
    #[error("is glTF version {0}, only 2 is read; export the scene again as glTF 2.0")]
    Version(String),
    /// Ends before it should.
    #[error("is truncated: {what} has {present} of {expected} bytes; copy the file again")]
    Truncated {
        /// Which part.
        what: String,
        /// Bytes that are there.
        present: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The JSON part breaks off.
    #[error("is truncated: its JSON ends early ({0}); copy the file again")]
    TruncatedJson(#[source] serde_json::Error),
    /// The JSON part does not read as glTF.
    #[error("is damaged: its JSON does not read as glTF ({0}); export the scene again")]
    Json(#[source] serde_json::Error),
    /// A required extension that is not understood.
    #[error("requires the extension {0}, which is not supported; export the scene without it")]
    RequiredExtension(String),
    /// No triangle is in the scene.
    #[error("is empty: its scene shows no triangles; export at least one mesh")]
    Empty,
    /// An address that is not a plain relative path or data URI.
    #[error(
        "refers to `{0}`; only data URIs and plain relative paths below the scene's folder are read"
    )]
    Address(String),
    /// Over one of the limits of [`super::limits`].
    #[error("is too large: {count} {what}, at most {limit} are accepted; simplify the scene")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: u64,
        /// How many are accepted.
        limit: u64,
    },
    /// Breaks the rules of glTF.
    #[error("is damaged: {0}; export the scene again")]
    Damaged(String),
    /// An image that cannot be decoded.
    #[error("has an unreadable image, {image}: {reason}; convert it to PNG or JPEG")]
    Image {
        /// Which one.
        image: String,
        /// Why.
        reason: String,
    },
    /// An environment that cannot be read.
    #[error("has an unreadable environment: {0}")]
    Environment(String),
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl Fault {
    pub(super) fn damaged(what: impl Into<String>) -> Fault {
        Fault::Damaged(what.into())
    }

    /// Refuses a count over its limit.
    pub(super) fn check(what: &'static str, count: u64, limit: u64) -> Result<(), Fault> {
        match count > limit {
            true => Err(Fault::Limit { what, count, limit }),
            false => Ok(()),
        }
    }
}

/// The entry that an index of the file names.
pub(super) fn entry<'a, T>(list: &'a [T], index: u32, what: &str) -> Result<&'a T, Fault> {
    list.get(index as usize).ok_or_else(|| {
        Fault::Damaged(format!(
            "it refers to {what} {index} of {} (counted from 0)",
            list.len()
        ))
    })
}
