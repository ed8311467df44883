//! What the coordinator is told and what it asks for in return.

use protocol::{
    Address, Blake3Hash, Glm, NodeId, Rect, SampleRange, SecretPixels, TaskId, TaskSpec,
    ids::Signature, pixels::Looks,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Milliseconds since the job began, by the requestor's monotonic clock.
pub type Millis = u64;

pub use verifier::{FaultKind, NoiseVerdict, Testimony, Trust};

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A provider answered the offer with a firm price and prepares the scene.
    Quoted {
        /// Who.
        worker: NodeId,
        /// Its trust level. The one of its first quote counts for the whole job: the probes of its finished tiles are drawn
        /// with it again.
        trust: Trust,
        /// Where its money goes; the first account that it names counts for the whole job.
        payee: Address,
        /// Price of one million samples.
        price_megasample: Glm,
        /// Leases that it still holds from before the connection broke.
        held: Vec<TaskId>,
        /// How long it keeps its leases and their results when the connection breaks.
        hold_ms: Millis,
    },
    /// It has loaded the scene.
    Ready {
        /// Who.
        worker: NodeId,
        /// Its determinism class.
        class: Blake3Hash,
        /// Is its engine of the same build as the requestor's own, so that what it renders can be judged by its noise?
        is_comparable: bool,
        /// Its time for a million samples.
        megasample_ms: u32,
    },
    /// The connection is gone. Its leases wait for it as long as it holds them.
    Left {
        /// Who.
        worker: NodeId,
    },
    /// It says which tasks it holds.
    Heartbeat {
        /// Who.
        worker: NodeId,
        /// All tasks held.
        tasks: Vec<TaskId>,
    },
    /// It committed to a task's pixels (the signature is already checked).
    Committed {
        /// Who.
        worker: NodeId,
        /// The task.
        task: TaskId,
        /// The commitment.
        commitment: Blake3Hash,
        /// Its signature, for evidence.
        signature: Signature,
        /// Its own word on the time it took.
        render_ms: u32,
    },
    /// It opened a commitment and its pixels arrived, whole and with the hash `root`.
    Delivered {
        /// Who.
        worker: NodeId,
        /// The task.
        task: TaskId,
        /// Salt of the commitment.
        salt: [u8; 32],
        /// Hash of the canonical bytes.
        root: Blake3Hash,
        /// The hashes that [`Effect::Reveal`] named ([`Farm::cells_due`](crate::Farm::cells_due)), in the order of [`Due`]; or
        /// why the bytes are not pixels at all (length, not finite).
        cells: Result<Arc<[Blake3Hash]>, String>,
        /// What they look like.
        looks: Looks,
    },
    /// It could not do a task, or (without one) cannot do the job, or did not answer a request.
    Failed {
        /// Who.
        worker: NodeId,
        /// The task, if one is to blame.
        task: Option<TaskId>,
        /// For a person.
        reason: String,
    },
    /// The requestor's own engine rendered these cells (answer to [`Effect::RenderOwn`]).
    OwnRendered {
        /// The number from the effect.
        request: u64,
        /// Hash of each cell in the order asked; or why it cannot.
        cells: Result<Vec<Blake3Hash>, String>,
    },
    /// Two deliveries were compared (answer to [`Effect::Compare`]).
    Compared {
        /// The number from the effect.
        request: u64,
        /// Where they differ, if they do; or why they could not be read.
        found: Result<Option<Difference>, String>,
    },
    /// The determinism class of the requestor's own engine; none if it does not work. Comes once in each process of a job
    /// of mixed classes, which begins with it.
    OwnClass {
        /// The class.
        class: Option<Blake3Hash>,
    },
    /// A tile of another class than the own engine's was judged (answer to [`Effect::Judge`]).
    Judged {
        /// The number from the effect.
        request: u64,
        /// May it be honest work; or why the own engine cannot tell.
        verdict: Result<NoiseVerdict, String>,
    },
    /// A frame's file is written, or could not be.
    FrameWritten {
        /// The frame.
        frame: i32,
        /// Why it could not.
        outcome: Result<(), String>,
    },
    /// Time passes; send it every few hundred milliseconds.
    Tick,
    /// The requestor's process begins anew with this job: connections and what was under way in it are gone. Comes
    /// first after [`Farm::restore`](crate::Farm::restore) and its events.
    Resumed {
        /// Most that may be spent from now on, with what is spent.
        budget: Option<Glm>,
        /// When the job has to end, by its own clock.
        deadline: Option<Millis>,
        /// Finished and failed frames to be rendered as if they had never been begun; others change nothing.
        again: Vec<i32>,
    },
    /// The user wants to stop: finish nothing new, keep and pay what is done.
    Stop,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send these tasks.
    Lease {
        /// To whom.
        worker: NodeId,
        /// What.
        tasks: Vec<TaskSpec>,
        /// Are they to come before what waits in its queue?
        next: bool,
        /// Why so many.
        reason: LeaseReason,
    },
    /// Ask for salt and root, fetch the pixels, check that they are finite, answer with [`Event::Delivered`].
    Reveal {
        /// From whom.
        worker: NodeId,
        /// Which.
        task: TaskId,
        /// Whose hashes are due. It is secret: nobody else may learn of it.
        due: Due,
    },
    /// Tell it to drop tasks.
    Cancel {
        /// Whom.
        worker: NodeId,
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// Tell it that a task was accepted. It is paid for it now or after further tiles, unless it is caught before.
    Accept {
        /// Whom.
        worker: NodeId,
        /// Which.
        task: TaskId,
        /// Price of this task.
        amount: Glm,
    },
    /// Pay for an accepted task: raise what is promised to a worker by `amount`.
    Pay {
        /// Whom.
        worker: NodeId,
        /// Where its money goes.
        payee: Address,
        /// Which.
        task: TaskId,
        /// Price of this task.
        amount: Glm,
    },
    /// Tell it that a task was rejected.
    Reject {
        /// Whom.
        worker: NodeId,
        /// Which.
        task: TaskId,
        /// For a person.
        reason: String,
    },
    /// It was caught: end all dealings. The pixels that the evidence names are forgotten by later effects.
    Quarantine {
        /// Whom.
        worker: NodeId,
        /// What kind of fault it is.
        fault: FaultKind,
        /// What it did.
        evidence: Box<Evidence>,
    },
    /// A cell of it was wrong, by itself and to no gain: a fault to be remembered, and no more.
    Fault {
        /// Whose.
        worker: NodeId,
        /// What it did.
        evidence: Box<Evidence>,
    },
    /// Look up in the pixels of two deliveries where they differ, and answer with [`Event::Compared`].
    Compare {
        /// Number to answer with.
        request: u64,
        /// What both deliver.
        rects: Vec<Rect>,
        /// If given, the second delivers only these pixels of the one rectangle, which is the first that the other delivers.
        pixels: Option<SecretPixels>,
        /// The blob of one.
        left: Blake3Hash,
        /// The blob of the other.
        right: Blake3Hash,
    },
    /// Render cells with the requestor's own engine and answer with [`Event::OwnRendered`].
    RenderOwn {
        /// Number to answer with.
        request: u64,
        /// The frame.
        frame: i32,
        /// If given, only these samples of each pixel.
        samples: Option<SampleRange>,
        /// The determinism class that the cells are compared in: answer with an error if the own engine is of another.
        class: Blake3Hash,
        /// Probes of a tile or one disputed cell: rectangles of whole cells.
        rects: Vec<Rect>,
        /// If given, only these pixels of the one rectangle: answer with the hashes of the packed cells.
        pixels: Option<SecretPixels>,
    },
    /// Render regions of a tile with the requestor's own engine twice, with the job's seed and with another, judge the tile
    /// by their noise ([`verifier::noise`]) and answer with [`Event::Judged`].
    Judge {
        /// Number to answer with.
        request: u64,
        /// The frame.
        frame: i32,
        /// If given, what was delivered is of these samples of each pixel.
        samples: Option<SampleRange>,
        /// What the tile's worker delivered.
        rects: Vec<Rect>,
        /// The blob with it.
        root: Blake3Hash,
        /// Squares of whole cells within the first rectangle; secret, as the other seed is.
        regions: Vec<Rect>,
        /// To be added to the job's own seed for the reference; not 0.
        seed: u32,
    },
    /// Put these pieces together, those of the same pixels by their samples, and write the frame; answer with [`Event::FrameWritten`]. Comes again for a frame
    /// whose tiles had to be replaced: then write it again.
    WriteFrame {
        /// The frame.
        frame: i32,
        /// Its tiles.
        tiles: Vec<Piece>,
    },
    /// A delivery is no longer needed: its blob may be deleted.
    Forget {
        /// Hash of the blob.
        root: Blake3Hash,
    },
    /// Nothing more will happen.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What is wanted of a delivery: of each of these secret pixels the hashes of their packed cells, then the hashes of the
/// cells, in one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Pixels of the first rectangle of the task; for a task of pixels, these.
    pub pixels: Vec<SecretPixels>,
    /// Rectangles of whole cells.
    pub cells: Vec<Rect>,
}

impl Due {
    /// How many hashes are due of a task whose first rectangle is this.
    pub fn hashes(&self, first: &Rect) -> usize {
        let packed = self.pixels.iter().map(|pixels| pixels.packed_count(first));
        let cells = self.cells.iter().map(Rect::cell_count);
        packed.chain(cells).sum()
    }
}

/// Where two deliveries differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The first cell on which they do; of secret pixels, the one that the first of them lies in.
    pub rect: Rect,
    /// The packed cell with that pixel, if pixels were compared.
    pub packed: Option<u32>,
    /// Hash of the cell or packed cell in one.
    pub left: Blake3Hash,
    /// Hash in the other.
    pub right: Blake3Hash,
    /// On how many cells they differ.
    pub cells: u32,
}

/// What several parties say about the same cells, and who of them is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The frame.
    pub frame: i32,
    /// If given, what was said is of these samples of each pixel.
    pub samples: Option<SampleRange>,
    /// The cells: one, unless only a digest of several is left.
    pub rects: Vec<Rect>,
    /// If given, what was said is of these pixels of the one rectangle, a tile.
    pub pixels: Option<SecretPixels>,
    /// The cell that is wrong, where it is known: a whole cell of the frame.
    pub cell: Option<Rect>,
    /// The determinism class of those who speak.
    pub class: Blake3Hash,
    /// What was said.
    pub statements: Vec<Statement>,
    /// What the requestor's own engine rendered, if it decided.
    pub own: Option<Blake3Hash>,
    /// What it found by the noise, if it is of another class; then what was said is the hash of a whole delivery.
    pub noise: Option<NoiseVerdict>,
}

/// What one worker says about cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Who.
    pub worker: NodeId,
    /// Hash of the cells ([`verifier::digest`]).
    pub value: Blake3Hash,
    /// Was it found wrong?
    pub is_wrong: bool,
    /// What it signed and opened, while the requestor remembers it.
    pub testimony: Option<Testimony>,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.pixels, self.cell) {
            (Some(_), Some(cell)) => format!("secret pixels, first in cell {cell},"),
            (Some(_), None) => format!("secret pixels of {}", rect_list(&self.rects)),
            (None, _) => rect_list(&self.rects),
        };
        write!(f, "frame {}, {what}", self.frame)?;
        if let Some(samples) = self.samples {
            write!(f, " in samples {samples}")?;
        }
        if let Some(own) = self.own {
            write!(f, " is {own} by our own engine")?;
        }
        if let Some(verdict) = self.noise {
            write!(f, " by our own engine: {verdict}")?;
        }
        for statement in &self.statements {
            let verdict = if statement.is_wrong { "wrong" } else { "right" };
            let (worker, value) = (statement.worker.short(), statement.value);
            write!(f, "; {worker} says {value} ({verdict})")?;
        }
        Ok(())
    }
}

/// Names rectangles for a person: the first and how many more.
pub(crate) fn rect_list(rects: &[Rect]) -> String {
    match rects {
        [] => "no cell".into(),
        [one] => format!("cell {one}"),
        [first, rest @ ..] => format!("cells {first} and {} more", rest.len()),
    }
}

/// Why a worker gets the tasks that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseReason {
    /// Its queue is filled up.
    Run {
        /// To so many tasks.
        tasks: u32,
        /// Time it is expected to take for a whole tile.
        task_ms: Millis,
        /// Why not to more.
        limit: RunLimit,
    },
    /// Cells that decide about tiles of others.
    Check,
    /// It has nothing to do, and another worker is late with this tile.
    Copy {
        /// The other worker.
        holder: NodeId,
        /// How long that will still take; [`Millis::MAX`] when it is away.
        remaining_ms: Millis,
    },
}

/// What limits the queue of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunLimit {
    /// It has one task to render and one to go on with: each takes long, or little is left.
    Least,
    /// It is enough for a while.
    Time,
    /// It is its share of what is left.
    Share,
    /// It is twice what it had before: runs grow with what is known of a worker.
    Record,
    /// It is the most that is given.
    Most,
}

impl fmt::Display for LeaseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: Millis| ms as f64 / 1000.0;
        match *self {
            Self::Run {
                tasks,
                task_ms,
                limit,
            } => {
                let each = seconds(task_ms);
                let why = match limit {
                    RunLimit::Least => "one to render and one to go on with",
                    RunLimit::Time => "enough work for ten seconds",
                    RunLimit::Share => "half its share of the tiles left",
                    RunLimit::Record => "twice what it had before",
                    RunLimit::Most => "the most that is given",
                };
                write!(f, "queue of {tasks}: {why}, about {each:.2} s each")
            }
            Self::Check => write!(f, "cells that check tiles of others"),
            Self::Copy {
                holder,
                remaining_ms: Millis::MAX,
            } => write!(f, "copy of a late tile: {} is away", holder.short()),
            Self::Copy {
                holder,
                remaining_ms,
            } => {
                let (holder, more) = (holder.short(), seconds(remaining_ms));
                write!(f, "copy of a late tile: {holder} needs another {more:.1} s")
            }
        }
    }
}

/// A tile's pixels in a finished frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it contributes.
    pub core: Rect,
    /// The first rectangle that the blob holds: the core, and perhaps an overlap.
    pub rendered: Rect,
    /// Of which samples it is, where they are divided; all ranges of a core come one after the other.
    pub samples: Option<SampleRange>,
    /// The blob of canonical bytes.
    pub root: Blake3Hash,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All frames are written.
    Done,
    /// These frames failed on every provider that tried, or could not be written.
    FramesFailed {
        /// Frame and reason.
        frames: Vec<(i32, String)>,
    },
    /// The next tile would cost more than is left.
    BudgetSpent {
        /// What the remaining work would cost at the present prices.
        missing: Glm,
    },
    /// The deadline is here, or too near for another tile.
    DeadlinePassed {
        /// What the remaining work would cost at the present prices.
        missing: Glm,
        /// How long it would take the workers at hand.
        missing_ms: Millis,
    },
    /// Work could not be verified: no honest majority and no engine of our own to decide.
    Unverified {
        /// What happened.
        reason: String,
    },
    /// Nobody is left to work and nobody came within the waiting time.
    NoProviders,
    /// The user stopped it.
    Stopped,
}
