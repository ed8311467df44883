//! The ed25519 key that makes this computer a peer, and its file.

use libp2p::identity::{Keypair, ed25519};
use protocol::{NodeId, ids::Signature};
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Bytes of the secret key in its file.
const SECRET_BYTES: usize = 32;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Reading or writing failed.
    #[error("cannot use the identity file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not the 32 bytes that a key has.
    #[error(
        "the identity file {path} is not a key of {SECRET_BYTES} bytes: restore it from a backup, or move it away to become a new peer"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error(
        "the identity file {path} can be read by others (mode {mode:03o}): run `chmod 600` on it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The key of this peer. Whoever has it can act, sign and earn as this peer.
#[derive(Clone)]
pub struct Identity {
    pair: ed25519::Keypair,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node())
    }
}

impl Identity {
    /// A new key from the system's random source.
    pub fn generate() -> Self {
        Self {
            pair: ed25519::Keypair::generate(),
        }
    }

    /// The key in the file at `path`; a new one is generated and stored there first when there is no file.
    /// The file appears whole or not at all, and on Unix only its owner may read it. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read or written, holds anything but a key, or others may read it.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        match File::open(path) {
            Ok(file) => Self::read(file, path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|source| io_error(path, source))?;
                Self::read(File::open(path).map_err(|e| io_error(path, e))?, path)
            }
            Err(source) => Err(io_error(path, source)),
        }
    }

    fn read(file: File, path: &Path) -> Result<Self, IdentityError> {
        let metadata = file.metadata().map_err(|e| io_error(path, e))?;
        if let Some(mode) = exposed_mode(&metadata) {
            let path = path.into();
            return Err(IdentityError::Exposed { path, mode });
        }
        let mut secret = Vec::with_capacity(SECRET_BYTES + 1);
        file.take(SECRET_BYTES as u64 + 1)
            .read_to_end(&mut secret)
            .map_err(|e| io_error(path, e))?;
        let malformed = |_| IdentityError::Malformed { path: path.into() };
        let secret = ed25519::SecretKey::try_from_bytes(&mut secret[..]).map_err(malformed)?;
        Ok(Self {
            pair: secret.into(),
        })
    }

    /// The peer's public name.
    pub fn node(&self) -> NodeId {
        NodeId(self.pair.public().to_bytes())
    }

    /// Signs `message`; [`verify`] checks it.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&self.pair.sign(message));
        Signature::from_bytes(&bytes)
    }

    pub(crate) fn keypair(&self) -> Keypair {
        self.pair.clone().into()
    }
}

/// Whether `signature` is that of `node` over `message`.
pub fn verify(node: NodeId, message: &[u8], signature: Signature) -> bool {
    ed25519::PublicKey::try_from_bytes(&node.0)
        .is_ok_and(|key| key.verify(message, &signature.to_bytes()))
}

fn io_error(path: &Path, source: io::Error) -> IdentityError {
    let path = path.into();
    IdentityError::Io { path, source }
}

/// Writes a new key beside `path`, then links it to its name: a link, unlike a rename, never replaces a key
/// that another process has put there in the meantime.
fn create(path: &Path) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let linked = file
        .write_all(ed25519::SecretKey::generate().as_ref())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

#[cfg(unix)]
fn exposed_mode(metadata: &fs::Metadata) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposed_mode(_: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_created_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let created = Identity::load_or_create(&path).unwrap();
        assert_eq!(
            Identity::load_or_create(&path).unwrap().node(),
            created.node()
        );
        assert_ne!(Identity::generate().node(), created.node());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        create(&path).unwrap();
        let first = fs::read(&path).unwrap();
        create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[cfg(unix)]
    #[test]
    fn exposed_and_malformed_key_files_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        Identity::load_or_create(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(
            refused,
            IdentityError::Exposed { mode: 0o640, .. }
        ));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for length in [0, 31, 33, 64] {
            fs::write(&path, vec![7; length]).unwrap();
            let refused = Identity::load_or_create(&path).unwrap_err();
            assert!(
                matches!(refused, IdentityError::Malformed { .. }),
                "{length}"
            );
        }
    }

    #[test]
    fn signatures_hold_for_their_message_and_signer_only() {
        let (signer, other) = (Identity::generate(), Identity::generate());
        let signature = signer.sign(b"tile");
        assert!(verify(signer.node(), b"tile", signature));
        assert!(!verify(signer.node(), b"tiles", signature));
        assert!(!verify(other.node(), b"tile", signature));
        assert!(!verify(NodeId([0xff; 32]), b"tile", signature));
    }
}
