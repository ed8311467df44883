//! Jobs on disk: a folder each with what was asked for, how far it is, and the journal that it resumes from.

use crate::failure::{Code, Failure};
use farm::Progress;
use protocol::{Blake3Hash, JobId, message::Terms};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The job.
    pub id: JobId,
    /// The command line without the program.
    pub words: Vec<String>,
    /// Where it was given.
    pub folder: PathBuf,
    /// The scene, as the user named it.
    pub scene: PathBuf,
    /// Hash of everything that decides the frames and where they go: equal ones are the same job.
    pub fingerprint: Blake3Hash,
    /// Seconds since 1970.
    pub begun: u64,
    /// How it is paid; on another ledger all of it would be owed again.
    #[serde(default = "local_terms")]
    pub terms: Terms,
}

/// Of jobs that were begun when there was no other.
fn local_terms() -> Terms {
    Terms::LOCAL
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A process works on it, or was killed while it did.
    Running,
    /// To be resumed.
    Paused,
    /// All frames are written.
    Done,
    /// Given up by the user.
    Cancelled,
}

/// How far a job is, rewritten while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// Why it stands there, for a person; empty while it runs.
    pub reason: String,
    /// Frames of the job.
    pub frames_total: u64,
    /// Frames written.
    pub frames_done: u64,
    /// Frames given up so far.
    pub frames_failed: u64,
    /// Tiles of the job.
    pub tiles_total: u64,
    /// Tiles accepted.
    pub tiles_accepted: u64,
    /// What providers are owed, in GLM.
    pub glm: String,
    /// Seconds since 1970, when it last changed.
    pub updated: u64,
}

impl Status {
    /// Do both say the same, whenever they were written?
    pub fn says_the_same(&self, other: &Self) -> bool {
        let updated = other.updated;
        Self {
            updated,
            ..self.clone()
        } == *other
    }
}

/// What another process asks of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Stop and keep everything.
    Pause,
    /// Stop for good.
    Cancel,
}

/// The folder of one job.
#[derive(Debug, Clone)]
pub struct JobFolder(PathBuf);

/// Held as long as a process works in a folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl JobFolder {
    /// The folder of a job, which may not be there yet.
    pub fn of(data_dir: &Path, id: JobId) -> Self {
        Self(data_dir.join("jobs").join(id.to_string()))
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.redb")
    }

    /// Makes the folder of a new job, which is none before its [`JobFolder::set_record`].
    pub fn create(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.0).map_err(|e| self.refuse(&e))
    }

    /// Makes it a job.
    pub fn set_record(&self, record: &Record) -> Result<(), Failure> {
        self.write("job.json", record).map_err(|e| self.refuse(&e))
    }

    fn refuse(&self, error: &std::io::Error) -> Failure {
        Failure::preflight(format!("cannot write to {}: {error}", self.0.display()))
    }

    /// What was asked for.
    pub fn record(&self) -> Result<Record, Failure> {
        self.read("job.json").map_err(|why| {
            Failure::preflight(format!("the job in {} is damaged: {why}", self.0.display()))
        })
    }

    /// How far it is; none before its first moment.
    pub fn status(&self) -> Option<Status> {
        self.read("status.json").ok()
    }

    /// Says how far it is.
    pub fn set_status(&self, status: &Status) -> std::io::Result<()> {
        self.write("status.json", status)
    }

    /// Claims the job for this process; none while another works on it.
    pub fn lock(&self) -> std::io::Result<Option<Lock>> {
        lock(&self.0)
    }

    /// Asks the process that works on it to stop.
    pub fn order(&self, order: Order) -> std::io::Result<()> {
        fs::write(self.0.join(order.file()), b"")
    }

    /// What was asked of this process.
    pub fn orders(&self) -> Option<Order> {
        [Order::Cancel, Order::Pause]
            .into_iter()
            .find(|order| self.0.join(order.file()).exists())
    }

    /// Forgets earlier orders.
    pub fn clear_orders(&self) {
        for order in [Order::Pause, Order::Cancel] {
            // Usually there is none.
            let _ = fs::remove_file(self.0.join(order.file()));
        }
    }

    /// Removes the folder.
    pub fn remove(&self) -> std::io::Result<()> {
        fs::remove_dir_all(&self.0)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> std::io::Result<()> {
        write_json(&self.0.join(name), value)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let bytes = fs::read(self.0.join(name)).map_err(|e| e.to_string())?;
        serde_json::from_slice(&bytes).map_err(|e| e.to_string())
    }
}

impl Order {
    fn file(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Cancel => "cancel",
        }
    }
}

/// Writes a file of JSON beside its place first, so that it is never there in part.
pub fn write_json(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let part = path.with_extension("json.part");
    fs::write(&part, serde_json::to_vec_pretty(value)?)?;
    fs::rename(part, path)
}

/// Claims a folder for this process; none while another has it.
pub fn lock(folder: &Path) -> std::io::Result<Option<Lock>> {
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// How far a job is, as a status.
pub fn status(state: State, reason: &str, progress: &Progress) -> Status {
    Status {
        state,
        reason: reason.to_owned(),
        frames_total: progress.frames_total,
        frames_done: progress.frames_done,
        frames_failed: progress.frames_failed,
        tiles_total: progress.tiles_total,
        tiles_accepted: progress.tiles_accepted,
        glm: progress.spent.to_string(),
        updated: now(),
    }
}

/// All jobs, the oldest first; folders that hold none are passed over.
pub fn all(data_dir: &Path) -> Result<Vec<(JobFolder, Record)>, Failure> {
    let folder = data_dir.join("jobs");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::preflight(format!("{}: {error}", folder.display())));
        }
    };
    let mut jobs: Vec<(JobFolder, Record)> = entries
        .filter_map(|entry| {
            let folder = JobFolder(entry.ok()?.path());
            let record = folder.record().ok()?;
            Some((folder, record))
        })
        .collect();
    jobs.sort_by_key(|(_, record)| (record.begun, record.id));
    Ok(jobs)
}

/// The one job whose id begins so.
pub fn find(data_dir: &Path, id: &str) -> Result<(JobFolder, Record), Failure> {
    let id = id.to_ascii_lowercase();
    let mut found = all(data_dir)?
        .into_iter()
        .filter(|(_, record)| record.id.to_string().starts_with(&id));
    let usage = |message: String| {
        Failure::new(Code::Usage, message).hint("`render jobs` lists all jobs with their ids")
    };
    match (found.next(), found.next()) {
        (Some(job), None) => Ok(job),
        (None, _) => Err(usage(format!("no job `{id}`"))),
        (Some(_), Some(_)) => Err(usage(format!("`{id}` is the beginning of several ids"))),
    }
}

/// The last job with this fingerprint that can be resumed.
pub fn unfinished(
    data_dir: &Path,
    fingerprint: Blake3Hash,
) -> Result<Option<(JobFolder, Record)>, Failure> {
    // One without a status was killed before it could say how far it is.
    let resumable = |folder: &JobFolder| {
        folder
            .status()
            .is_none_or(|status| matches!(status.state, State::Running | State::Paused))
    };
    Ok(all(data_dir)?
        .into_iter()
        .rfind(|(folder, record)| record.fingerprint == fingerprint && resumable(folder)))
}
