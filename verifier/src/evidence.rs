//! Evidence: what convinces anybody that a worker delivered wrong pixels, without trusting who says so.
//!
//! A worker signs a commitment to its pixels ([`mod@crate::commitment`]), which binds it to the job, the scene's content,
//! all settings, the frame and the rectangles. Once it has opened the commitment, its signature, the salt, the root and a
//! proof of one cell under that root show what it says the cell is. A [`Bundle`] holds these for everybody who spoke
//! about a disputed cell; whoever renders its 64 pixels knows who was right.
//!
//! What a bundle does not prove: a worker does not sign its determinism class. Where an engine has several, it is the
//! requestor who says that the accused was of this one.

mod form;

use crate::{cells::position, commitment, commitment_statement, verify_signature};
use form::{JobForm, list, manifest, option, text};
use protocol::{
    Blake3Hash, JobSpec, Manifest, NodeId, Rect, SampleRange, TaskId, TaskSpec,
    geometry::{CELL_PX, Cell},
    ids::Signature,
    job::task_hash,
    limits::TEXT_BYTES_MAX,
    pixels::{CELL_PASS_BYTES, canonical_length},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Version of the form.
pub const EVIDENCE_VERSION: u32 = 3;
/// Longest evidence in bytes: a scene of very many files, else it has a few ten thousand.
pub const EVIDENCE_BYTES_MAX: usize = 16 << 20;
/// Fewest and most statements about a cell. One is enough where the requestor's own engine rendered the cell too.
pub const STATEMENTS: std::ops::RangeInclusive<usize> = 1..=16;
/// Longest proof of a cell in bytes: its chunks, and a pair of hashes for each level of the tree.
pub const PROOF_BYTES_MAX: usize = 16 << 10;
/// Longest name of an engine's build in bytes.
pub const BUILD_BYTES_MAX: usize = 256;

/// What a worker signed when it committed, and what it told when it opened the commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Testimony {
    /// Who signed.
    #[serde(with = "text")]
    pub worker: NodeId,
    /// The task's number, part of what was signed.
    pub task: TaskId,
    /// The task's rectangles.
    #[serde(with = "list")]
    pub rects: Vec<Rect>,
    /// The commitment.
    #[serde(with = "text")]
    pub commitment: Blake3Hash,
    /// Over [`commitment_statement`].
    #[serde(with = "text")]
    pub signature: Signature,
    /// Opens the commitment, with the root.
    #[serde(with = "text")]
    pub salt: [u8; 32],
    /// Hash of the task's canonical bytes.
    #[serde(with = "text")]
    pub root: Blake3Hash,
}

/// What a worker says a cell is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What it signed and opened.
    pub testimony: Testimony,
    /// Canonical bytes of the cell, all passes.
    #[serde(with = "text")]
    pub cell_bytes: Vec<u8>,
    /// Proof that these bytes stand under the testimony's root at [`Testimony::cell_range`].
    #[serde(with = "text")]
    pub proof: Vec<u8>,
}

/// Evidence about one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`EVIDENCE_VERSION`].
    pub version: u32,
    /// The whole job: scene, engine, settings.
    #[serde(with = "JobForm")]
    pub job: JobSpec,
    /// The scene's files; the hash of its postcard bytes is the job's `manifest`, which the reader checks.
    #[serde(with = "manifest")]
    pub manifest: Manifest,
    /// The requestor's engine, for a person.
    pub engine_build: String,
    /// Determinism class of all who speak here, as the requestor says.
    #[serde(with = "text")]
    pub class: Blake3Hash,
    /// The frame.
    pub frame: i32,
    /// If given, all that is said is of these samples of each pixel.
    pub samples: Option<SampleRange>,
    /// A whole cell of the frame, cut at its edge.
    #[serde(with = "text")]
    pub cell: Rect,
    /// Who, by the requestor, is wrong about the cell.
    #[serde(with = "list")]
    pub wrong: Vec<NodeId>,
    /// Hash of the cell by the requestor's own engine, if it was asked.
    #[serde(with = "option")]
    pub own_value: Option<Blake3Hash>,
    /// What happened, for a person.
    pub text: String,
    /// What was said of the cell, by the accused and by others.
    pub statements: Vec<Statement>,
}

/// Why a text is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Longer than [`EVIDENCE_BYTES_MAX`].
    #[error("{bytes} bytes of evidence: at most {EVIDENCE_BYTES_MAX} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON of this form.
    #[error("it is not evidence: {0}")]
    Malformed(String),
    /// Another version.
    #[error("evidence of version {0}: version {EVIDENCE_VERSION} is understood")]
    Version(u32),
    /// A value outside its limit, or one that does not fit the others.
    #[error("{0}")]
    Limit(String),
}

/// Why a statement is not what its worker said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Its rectangles are not a task of the job.
    #[error("its rectangles are not a task of this job")]
    Task,
    /// The cell is not one of the task.
    #[error("the cell is not in its task")]
    Cell,
    /// The commitment is not signed by this worker for this job and task.
    #[error("the signature is not this worker's")]
    Signature,
    /// Salt and root do not open it for this job, frame and rectangles.
    #[error("the commitment is to something else")]
    Commitment,
    /// The cell is not proven.
    #[error("the cell is not proven to be part of what was committed to")]
    Proof,
}

/// What a render of the cell says about a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// All accused are wrong, as claimed.
    Wrong,
    /// These accused are right.
    FalselyAccused(Vec<NodeId>),
    /// What these accused are said to have stated is not theirs: the bundle proves nothing.
    NotGenuine(Vec<NodeId>),
    /// All who speak say the same: there is nothing to decide.
    NoContradiction,
    /// The render was made by an engine of another class and agrees with nobody accused.
    OtherClass,
    /// The render was made by an engine of the class and agrees with nobody at all.
    NotReproduced,
}

impl Testimony {
    /// Where a cell's bytes stand in the canonical bytes of the task; none when it is not in it.
    pub fn cell_range(&self, cell: &Rect, passes: usize) -> Option<Range<u64>> {
        let wanted = Cell {
            column: cell.x / CELL_PX,
            row: cell.y / CELL_PX,
        };
        let cell_bytes = (passes * CELL_PASS_BYTES) as u64;
        let mut before = 0;
        for rect in &self.rects {
            if let Some(index) = position(rect, wanted) {
                let start = (before + index) as u64 * cell_bytes;
                return Some(start..start + cell_bytes);
            }
            before += rect.cell_count();
        }
        None
    }
}

impl Statement {
    /// The hash of the cell, if it is proven that the worker said so. `verify_proof` gives the bytes of a range of the
    /// blob with this root and length that a proof proves.
    fn examine(
        &self,
        bundle: &Bundle,
        verify_proof: &impl Fn(&Blake3Hash, u64, Range<u64>, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<Blake3Hash, Flaw> {
        let (job, said) = (&bundle.job, &self.testimony);
        let task = TaskSpec {
            id: said.task,
            frame: bundle.frame,
            samples: bundle.samples,
            rects: said.rects.clone(),
            pixels: None,
        };
        task.check(job).map_err(|_| Flaw::Task)?;
        let signed = commitment_statement(&job.id, said.task, &said.commitment);
        if !verify_signature(&said.worker, &signed, &said.signature) {
            return Err(Flaw::Signature);
        }
        let spec = task_hash(job, (bundle.frame, bundle.samples), &said.rects, None);
        if commitment(&said.worker, &spec, &said.salt, &said.root) != said.commitment {
            return Err(Flaw::Commitment);
        }
        let passes = job.settings.passes.len();
        let range = said.cell_range(&bundle.cell, passes).ok_or(Flaw::Cell)?;
        let bytes = canonical_length(&said.rects, passes);
        match verify_proof(&said.root, bytes, range, &self.proof) {
            Some(proven) if proven == self.cell_bytes => Ok(Blake3Hash::of(&proven)),
            _ => Err(Flaw::Proof),
        }
    }
}

impl Bundle {
    /// Reads what [`Bundle::to_json`] has written; a stranger may have written it.
    ///
    /// # Errors
    /// Says what is wrong with it. What passes keeps every limit; nothing is said of its truth.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EvidenceError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLarge { bytes: bytes.len() });
        }
        let malformed = |e: serde_json::Error| EvidenceError::Malformed(e.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != EVIDENCE_VERSION {
            return Err(EvidenceError::Version(version));
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        bundle.check()?;
        Ok(bundle)
    }

    /// As JSON for people and programs, ending with a new line.
    ///
    /// # Errors
    /// When it breaks a limit: nobody would read it.
    pub fn to_json(&self) -> Result<Vec<u8>, EvidenceError> {
        self.check()?;
        let written = serde_json::to_vec_pretty(self);
        let mut bytes = written.map_err(|e| EvidenceError::Malformed(e.to_string()))?;
        bytes.push(b'\n');
        match bytes.len() > EVIDENCE_BYTES_MAX {
            true => Err(EvidenceError::TooLarge { bytes: bytes.len() }),
            false => Ok(bytes),
        }
    }

    /// Does it keep every limit? Nothing is said of its truth.
    ///
    /// # Errors
    /// Says which it breaks.
    pub fn check(&self) -> Result<(), EvidenceError> {
        let limit = |message: String| Err(EvidenceError::Limit(message));
        let spec = |e: protocol::job::SpecError| EvidenceError::Limit(e.to_string());
        self.job.check().map_err(spec)?;
        self.manifest.check().map_err(spec)?;
        if !STATEMENTS.contains(&self.statements.len()) {
            let (least, most) = (STATEMENTS.start(), STATEMENTS.end());
            let found = self.statements.len();
            return limit(format!("{found} statements: {least} to {most} are read"));
        }
        if self.statements.len() == 1 && self.own_value.is_none() {
            return limit("one statement, and nothing that it contradicts".into());
        }
        let column_row = Cell {
            column: self.cell.x / CELL_PX,
            row: self.cell.y / CELL_PX,
        };
        if column_row.rect(self.job.settings.size) != Some(self.cell) {
            let size = self.job.settings.size;
            return limit(format!("{} is not a cell of a {size} frame", self.cell));
        }
        if self.text.len() > TEXT_BYTES_MAX || self.engine_build.len() > BUILD_BYTES_MAX {
            return limit("a text is over its limit".into());
        }
        let cell_bytes = self.job.settings.passes.len() * CELL_PASS_BYTES;
        if self.statements.iter().any(|statement| {
            statement.cell_bytes.len() != cell_bytes || statement.proof.len() > PROOF_BYTES_MAX
        }) {
            return limit(format!(
                "a cell has not {cell_bytes} bytes, or a proof over {PROOF_BYTES_MAX}"
            ));
        }
        if self.wrong.is_empty() || self.wrong.len() > self.statements.len() {
            return limit(format!("{} workers are accused", self.wrong.len()));
        }
        match self.wrong.iter().find(|accused| !self.speaks(accused)) {
            None => Ok(()),
            Some(silent) => limit(format!("there is no statement of {silent}, who is accused")),
        }
    }

    fn speaks(&self, worker: &NodeId) -> bool {
        let mut speakers = self.statements.iter().map(|said| said.testimony.worker);
        speakers.any(|speaker| speaker == *worker)
    }

    /// For each statement the hash of the cell as its worker states it, or why it is not the worker's. `verify_proof`
    /// gives the bytes of a range of the blob with this root and length, if the proof proves them.
    pub fn examine(
        &self,
        verify_proof: impl Fn(&Blake3Hash, u64, Range<u64>, &[u8]) -> Option<Vec<u8>>,
    ) -> Vec<Result<Blake3Hash, Flaw>> {
        let statements = self.statements.iter();
        statements
            .map(|statement| statement.examine(self, &verify_proof))
            .collect()
    }

    /// What is known before a render: that statements of the accused are not theirs, or that all say the same. None when
    /// a render of the cell decides.
    pub fn refute(&self, examined: &[Result<Blake3Hash, Flaw>]) -> Option<Ruling> {
        let forged =
            |accused: &&NodeId| self.said_by(accused, examined).any(|value| value.is_err());
        let forged: Vec<NodeId> = self.wrong.iter().filter(forged).copied().collect();
        if !forged.is_empty() {
            return Some(Ruling::NotGenuine(forged));
        }
        let said = examined.iter().filter_map(|value| value.ok());
        let mut values = said.chain(self.own_value);
        let first = values.next();
        values
            .all(|value| Some(value) == first)
            .then_some(Ruling::NoContradiction)
    }

    /// Decides by a render of the cell (hash of its canonical bytes) with an engine of the class `class`.
    ///
    /// Whoever states what an honest render gives is right, whatever the class. Who signed two things of one cell is wrong,
    /// whatever it is. Nobody else is called wrong by an engine of another class, nor by one whose result nobody shares.
    pub fn rule(
        &self,
        examined: &[Result<Blake3Hash, Flaw>],
        rendered: Blake3Hash,
        class: Blake3Hash,
    ) -> Ruling {
        if let Some(ruling) = self.refute(examined) {
            return ruling;
        }
        let is_right = |accused: &&NodeId| {
            let mut said = self.said_by(accused, examined);
            said.all(|value| value == Ok(rendered))
        };
        let right: Vec<NodeId> = self.wrong.iter().filter(is_right).copied().collect();
        if !right.is_empty() {
            return Ruling::FalselyAccused(right);
        }
        let contradicts_itself = |accused: &NodeId| {
            let mut said = self.said_by(accused, examined);
            let first = said.next();
            said.any(|value| Some(value) != first)
        };
        if self.wrong.iter().all(contradicts_itself) {
            return Ruling::Wrong;
        }
        let mut all = examined.iter().filter_map(|value| value.ok());
        let is_shared = self.own_value == Some(rendered) || all.any(|value| value == rendered);
        match (self.class == class, is_shared) {
            (false, _) => Ruling::OtherClass,
            (true, false) => Ruling::NotReproduced,
            (true, true) => Ruling::Wrong,
        }
    }

    fn said_by(
        &self,
        worker: &NodeId,
        examined: &[Result<Blake3Hash, Flaw>],
    ) -> impl Iterator<Item = Result<Blake3Hash, Flaw>> {
        let pairs = self.statements.iter().zip(examined);
        let of_worker = pairs.filter(move |(said, _)| said.testimony.worker == *worker);
        of_worker.map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests;
