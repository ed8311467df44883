//! What confines a process that renders a stranger's scene: memory and core dump limits, and on Linux
//! Landlock, which leaves it the files it needs and no network. No root is needed.
//!
//! Best effort: an old kernel enforces less, and [`Confinement`] says what was enforced.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Memory of a rendering process and of each process that it starts, unless configured otherwise.
pub const MEMORY_BYTES_MAX_DEFAULT: u64 = 64 << 30;

/// What a confined process may use.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// Folders and files it may read and run from.
    pub read: Vec<PathBuf>,
    /// Folders it may write to.
    pub write: Vec<PathBuf>,
    /// Devices it may use, graphics cards: what tells of them is then open to it too.
    pub devices: Vec<PathBuf>,
    /// Private memory, in bytes.
    pub memory_bytes_max: u64,
}

/// What was enforced.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Confinement {
    /// Is the memory limited?
    pub memory: bool,
    /// How far files and network are out of reach.
    pub files: Enforcement,
}

/// How much of a restriction the system enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Enforcement {
    /// All that was asked.
    Full,
    /// Files, but not the network or other newer parts.
    Partial,
    /// Nothing: the system has no Landlock.
    None,
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "sees only its scene and system files, no TCP",
            Self::Partial => "sees only its scene and system files, but may use the network",
            Self::None => "sees all files of this user (this system has no Landlock)",
        })
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = if self.memory {
            "limited"
        } else {
            "not limited"
        };
        write!(
            f,
            "the rendering process {}; its memory is {memory}",
            self.files
        )
    }
}

/// Folders of the system that programs need, read only.
#[cfg(target_os = "linux")]
const SYSTEM_READ: [&str; 13] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/opt",
    "/nix/store",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/etc/localtime",
];
/// What the libraries of graphics cards read to find them.
#[cfg(target_os = "linux")]
const CARDS_READ: [&str; 1] = ["/sys"];
/// Devices that programs read and write.
#[cfg(target_os = "linux")]
const SYSTEM_DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/shm"];

/// Confines the calling thread and every thread and process that it starts from now on. Cannot be undone.
///
/// # Errors
/// When the system refuses what it says it supports.
#[cfg(target_os = "linux")]
pub fn confine(permissions: &Permissions) -> io::Result<Confinement> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Core, limit(0))?;
    let memory = setrlimit(Resource::Data, limit(permissions.memory_bytes_max)).is_ok();
    let files = restrict_files(permissions).map_err(io::Error::other)?;
    Ok(Confinement { memory, files })
}

#[cfg(target_os = "linux")]
fn restrict_files(permissions: &Permissions) -> Result<Enforcement, landlock::RulesetError> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
        Scope, path_beneath_rules,
    };
    // The newest interface whose rules the sets below were written for; older kernels enforce a part.
    let abi = ABI::V6;
    let (read, all) = (AccessFs::from_read(abi), AccessFs::from_all(abi));
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir;
    let card = device | AccessFs::IoctlDev;
    let cards_read = CARDS_READ
        .iter()
        .filter(|_| !permissions.devices.is_empty());
    let status = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM_READ, read))?
        .add_rules(path_beneath_rules(SYSTEM_DEVICES, device))?
        .add_rules(path_beneath_rules(&permissions.devices, card))?
        .add_rules(path_beneath_rules(cards_read, read))?
        .add_rules(path_beneath_rules(&permissions.read, read))?
        .add_rules(path_beneath_rules(&permissions.write, all))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforcement::Full,
        RulesetStatus::PartiallyEnforced => Enforcement::Partial,
        RulesetStatus::NotEnforced => Enforcement::None,
    })
}

/// How much of it this system enforces, tried on a thread that ends at once.
#[cfg(target_os = "linux")]
pub fn probe() -> Enforcement {
    let nothing = Permissions {
        read: Vec::new(),
        write: Vec::new(),
        devices: Vec::new(),
        memory_bytes_max: 0,
    };
    let tried = std::thread::spawn(move || restrict_files(&nothing).ok()).join();
    tried.ok().flatten().unwrap_or(Enforcement::None)
}

/// No confinement is known for this system.
#[cfg(not(target_os = "linux"))]
pub fn probe() -> Enforcement {
    Enforcement::None
}

/// No confinement is known for this system.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: &Permissions) -> io::Result<Confinement> {
    Ok(Confinement {
        memory: false,
        files: Enforcement::None,
    })
}

/// The folder that an installed program needs to read: the parent of its `bin`, or its own folder; followed through
/// symbolic links, both ends.
pub(crate) fn installation(program: &Path) -> Vec<PathBuf> {
    let root = |path: &Path| {
        let folder = path.parent()?;
        let is_bin = folder.file_name().is_some_and(|name| name == "bin");
        let root = if is_bin { folder.parent()? } else { folder };
        // The whole file system is no installation.
        root.parent().map(|_| root.to_owned())
    };
    let real = program.canonicalize().ok();
    [Some(program), real.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(root)
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::{fs, net::TcpListener, thread};

    #[test]
    fn a_confined_thread_reads_its_scene_and_nothing_else() {
        let (scene, secret, scratch) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        fs::write(scene.path().join("scene"), "scene").unwrap();
        // Caches of simulations, which Blender deletes when it thinks that they are out of date.
        fs::create_dir(scene.path().join("baked")).unwrap();
        fs::write(scene.path().join("baked/1.vdb"), "smoke").unwrap();
        fs::write(secret.path().join("key"), "key").unwrap();
        let permissions = Permissions {
            read: vec![scene.path().to_owned()],
            write: vec![scratch.path().to_owned()],
            devices: Vec::new(),
            memory_bytes_max: MEMORY_BYTES_MAX_DEFAULT,
        };
        let tried = thread::spawn({
            let (scene, secret, scratch) = (
                scene.path().to_owned(),
                secret.path().to_owned(),
                scratch.path().to_owned(),
            );
            move || {
                let files = restrict_files(&permissions).unwrap();
                (
                    files,
                    fs::read(scene.join("scene")).is_ok(),
                    fs::write(scratch.join("tile"), "tile").is_ok(),
                    [
                        fs::read(secret.join("key")).is_ok(),
                        fs::write(scene.join("scene"), "changed").is_ok(),
                        fs::write(scene.join("new"), "new").is_ok(),
                        fs::rename(scene.join("scene"), scratch.join("taken")).is_ok(),
                        fs::hard_link(scene.join("scene"), scratch.join("linked")).is_ok(),
                        fs::remove_file(scene.join("baked/1.vdb")).is_ok(),
                        fs::remove_dir_all(scene.join("baked")).is_ok(),
                        TcpListener::bind("127.0.0.1:0").is_ok(),
                    ],
                )
            }
        });
        let (files, reads, writes, forbidden) = tried.join().unwrap();
        assert!(reads && writes);
        if files == Enforcement::Full {
            assert_eq!(forbidden, [false; 8]);
            assert_eq!(fs::read(scene.path().join("scene")).unwrap(), b"scene");
            assert_eq!(
                fs::read(scene.path().join("baked/1.vdb")).unwrap(),
                b"smoke"
            );
        }
    }

    #[test]
    fn installations_are_the_folder_above_bin() {
        assert_eq!(
            installation(Path::new("/no/such/venv/bin/python")),
            [PathBuf::from("/no/such/venv")]
        );
        assert_eq!(
            installation(Path::new("/no/blender-5/blender")),
            [PathBuf::from("/no/blender-5")]
        );
        assert!(installation(Path::new("/blender")).is_empty());
    }
}
