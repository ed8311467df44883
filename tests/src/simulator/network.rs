//! What happens when: the agenda of a simulated world, and the links between its workers and the requestor.

use super::{disk::Blob, random::Random};
use farm::event::{Due, Event, Millis};
use protocol::{TaskId, TaskSpec};
use std::{cmp::Ordering, collections::BinaryHeap};

/// A worker's place in the world.
pub type WorkerIndex = usize;

/// What the requestor tells a worker.
#[derive(Debug, Clone)]
pub enum Message {
    /// Render these.
    /// Tasks, and whether they come before what waits.
    Lease(Vec<TaskSpec>, bool),
    /// Drop these.
    Cancel(Vec<TaskId>),
    /// Open a commitment; these cells will be looked at, which the worker does not learn.
    Reveal(TaskId, Due),
    /// The task is paid or rejected.
    Verdict(TaskId),
    /// All dealings are over.
    Close,
}

/// Something that is going to happen. Numbers of connections, runs and processes tell what is meant from what came
/// after it: a happening of a connection that is gone means nothing.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A worker's message reaches the requestor.
    Arrive {
        /// From whom.
        worker: WorkerIndex,
        /// Over which of its connections.
        connection: u32,
        /// To which process.
        process: u32,
        /// What it means to the coordinator.
        event: Box<Event>,
        /// The pixels that come with it.
        blob: Option<Box<Blob>>,
    },
    /// Something that a requestor's process began ends.
    Local {
        /// Which process.
        process: u32,
        /// What it means to the coordinator.
        event: Box<Event>,
    },
    /// The file of a frame is written, or could not be.
    FileWritten {
        /// Which process wrote it.
        process: u32,
        /// The frame.
        frame: i32,
        /// What is wrong with its pixels.
        content: Result<(), String>,
    },
    /// The requestor's message reaches a worker.
    Reach {
        /// Whom.
        worker: WorkerIndex,
        /// Over which of its connections.
        connection: u32,
        /// What it says.
        message: Box<Message>,
    },
    /// A worker ends the task that it renders.
    Rendered {
        /// Who.
        worker: WorkerIndex,
        /// Which of its renders.
        render: u32,
    },
    /// A worker says which tasks it holds.
    Heartbeat {
        /// Who.
        worker: WorkerIndex,
        /// Over which connection.
        connection: u32,
    },
    /// A worker tries to reach the requestor.
    Connect {
        /// Who.
        worker: WorkerIndex,
        /// Which try.
        attempt: u32,
    },
    /// A worker has loaded the scene.
    Prepared {
        /// Who.
        worker: WorkerIndex,
        /// Over which connection.
        connection: u32,
    },
    /// The requestor sees that a connection is gone.
    LossNoticed {
        /// Whose.
        worker: WorkerIndex,
        /// Which.
        connection: u32,
    },
    /// A worker waits no longer for the requestor.
    HoldEnds {
        /// Who.
        worker: WorkerIndex,
        /// Since which connection.
        connection: u32,
    },
    /// A worker's next trouble.
    Trouble {
        /// Whose.
        worker: WorkerIndex,
    },
    /// The network lets a worker through again.
    Heal {
        /// Whom.
        worker: WorkerIndex,
    },
    /// A worker's process begins anew, with what its disk kept.
    Reboot {
        /// Whose.
        worker: WorkerIndex,
    },
    /// Time passes for a requestor's process.
    Tick {
        /// Which.
        process: u32,
    },
    /// The journal of a requestor's process has written.
    Journalled {
        /// Which.
        process: u32,
    },
    /// The requestor's computer wakes up.
    Wake {
        /// Its process.
        process: u32,
    },
    /// The requestor's next trouble.
    RequestorTrouble,
    /// Somebody starts the requestor's program again.
    Begin,
}

struct Entry {
    at: Millis,
    number: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest; of equals the one that was entered first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All that is going to happen, in the order of time.
#[derive(Default)]
pub struct Agenda {
    entries: BinaryHeap<Entry>,
    entered: u64,
}

impl Agenda {
    /// Enters something.
    pub fn add(&mut self, at: Millis, happening: Happening) {
        self.entered += 1;
        let number = self.entered;
        self.entries.push(Entry {
            at,
            number,
            happening,
        });
    }

    /// What comes next, and when.
    pub fn take(&mut self) -> Option<(Millis, Happening)> {
        let entry = self.entries.pop()?;
        Some((entry.at, entry.happening))
    }
}

/// The way between a worker and the requestor.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Time that a message takes, at least.
    pub latency_ms: Millis,
    /// Bytes that pixels move a millisecond.
    pub bytes_per_ms: u64,
    /// Nothing passes before.
    pub frozen_until: Millis,
    /// When the last message to the requestor arrives: the next one is not earlier.
    said_at: Millis,
    /// The same for those of the requestor.
    told_at: Millis,
    /// Until when pixels fill it.
    filled_until: Millis,
}

impl Link {
    /// A link of this delay and bandwidth.
    pub fn new(latency_ms: Millis, bytes_per_ms: u64) -> Self {
        Self {
            latency_ms,
            bytes_per_ms,
            ..Self::default()
        }
    }

    /// When a message that is sent to the requestor now arrives, after those before it.
    pub fn say(&mut self, now: Millis, random: &mut Random) -> Millis {
        self.said_at = self.passage(now, random).max(self.said_at);
        self.said_at
    }

    /// The same for a message of the requestor.
    pub fn tell(&mut self, now: Millis, random: &mut Random) -> Millis {
        self.told_at = self.passage(now, random).max(self.told_at);
        self.told_at
    }

    /// When so many bytes of pixels arrive: one delivery after the other, past all messages.
    pub fn bring(&mut self, now: Millis, bytes: u64, random: &mut Random) -> Millis {
        let begin = self.passage(now, random).max(self.filled_until);
        self.filled_until = begin + bytes / self.bytes_per_ms.max(1);
        self.filled_until
    }

    fn passage(&self, now: Millis, random: &mut Random) -> Millis {
        let jitter = random.below(self.latency_ms / 4 + 2);
        (now + self.latency_ms + jitter).max(self.frozen_until)
    }
}
