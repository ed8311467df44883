//! Parts of a file of Zstandard frames that threads walk ahead of the reader.
//!
//! Blender writes meshes and the like as blocks of some hundred kilobytes, so most frames have a block's header in them
//! and must be unpacked to find the next one. None can be left out: a mesh may have drivers, and what it refers to counts
//! in libraries. But who begins anywhere in a file soon sees a header, and can walk on from there.
//!
//! What such a walk found is only used when the reader itself comes to exactly the header that it began with: what
//! follows is then what the reader would have found, whatever the file is. A walk that began with something that looked
//! like a header and was none is forgotten; it costs time and changes nothing.
//!
//! Work for nothing is bounded: threads together unpack no more than a reader may, keep no more than
//! [`limits::AHEAD_BYTES_MAX`] that nobody has fetched, and stop when the reader does.

use crate::{
    header::BlockHeaders,
    limits,
    source::Source,
    walk::{self, BlockHeader, HEADER_BYTES_MAX, Walked},
};
use std::{
    collections::BTreeMap,
    io::{Read, Seek},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{self, TryRecvError},
    },
    thread::{self, JoinHandle},
};

const CODE_BYTES: usize = walk::DATA.len();

/// What a thread found between two headers.
pub(crate) struct Part {
    pub walked: Walked,
    /// Where the header lies that it began with, and the first one that it left.
    pub headers: Range<u64>,
    /// Bytes that were unpacked for it.
    pub unpacked: u64,
    /// What it took for granted of a datablock that it began in the middle of.
    keeps_parts: Option<bool>,
}

/// What a thread found in some frames: what is left of a datablock that began before, and the rest.
#[derive(Default)]
struct Found(Vec<Part>);

impl Found {
    fn begin(&mut self, at: u64, keeps_parts: Option<bool>) {
        self.0.push(Part {
            walked: Walked::among_parts(keeps_parts.unwrap_or_default()),
            headers: at..at,
            unpacked: 0,
            keeps_parts,
        });
    }

    fn memory(&self) -> u64 {
        self.0.iter().map(|part| part.walked.memory()).sum()
    }
}

/// When and how threads help.
#[derive(Clone, Copy)]
pub(crate) struct Help {
    /// Bytes that the reader unpacks before.
    pub after_bytes: u64,
    /// Frames that a thread looks at by itself.
    pub frames: usize,
    pub threads: usize,
}

impl Help {
    /// A thread for each processor but the reader's own.
    pub fn of_all_processors() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            after_bytes: limits::ALONE_BYTES,
            frames: limits::FRAMES_OF_PART,
            threads: (processors - 1).min(limits::UNPACKING_THREADS_MAX),
        }
    }
}

/// What lies before the reader, once it has read enough to be worth it.
pub(crate) struct Ahead<R: Read + Seek> {
    headers: BlockHeaders,
    help: Help,
    is_started: bool,
    parts: Option<Arc<Parts>>,
    threads: Vec<JoinHandle<()>>,
    /// For what the reader does itself while it waits.
    spare: Option<Source<R>>,
    /// The part that the reader is in, and what was found of it.
    current: Option<usize>,
    found: Found,
}

impl<R: Read + Seek + Send + 'static> Ahead<R> {
    pub fn new(headers: BlockHeaders, help: Help) -> Self {
        Self {
            headers,
            help,
            is_started: false,
            parts: None,
            threads: Vec::new(),
            spare: None,
            current: None,
            found: Found::default(),
        }
    }

    /// What was found from the header on that the reader is at; waits for it where somebody is looking.
    pub fn part_from(&mut self, source: &mut Source<R>, keeps_parts: bool) -> Option<Part> {
        if !self.is_started && source.unpacked() >= self.help.after_bytes {
            self.is_started = true;
            self.start(source);
        }
        let parts = self.parts.as_ref()?;
        parts.keeps_parts.store(keeps_parts, Relaxed);
        let current = parts.index_of(source.frame()?)?;
        if self.current != Some(current) {
            self.current = Some(current);
            let found = parts.fetch(current, self.spare.as_mut());
            self.found = found.unwrap_or_default();
        }
        let position = source.position();
        let fits = |part: &Part| {
            part.headers.start == position
                && part.keeps_parts.is_none_or(|kept| kept == keeps_parts)
        };
        let index = self.found.0.iter().position(fits)?;
        Some(self.found.0.remove(index))
    }

    /// Starts threads, unless there are too few frames.
    fn start(&mut self, source: &mut Source<R>) {
        let starts = source.promising_frames(self.help.frames);
        let Some(starts) = starts.filter(|starts| starts.len() > 1) else {
            return;
        };
        let parts = Arc::new(Parts {
            headers: self.headers,
            starts,
            keeps_parts: AtomicBool::new(false),
            taken: Mutex::default(),
            stop: AtomicBool::new(false),
            unpacked: AtomicU64::new(0),
            memory: AtomicU64::new(0),
        });
        let readers = (0..self.help.threads).map_while(|_| source.another());
        for mut source in readers.collect::<Vec<_>>() {
            let parts = Arc::clone(&parts);
            let walk = move || {
                while parts.walk_one(&mut source) {}
            };
            // The reader does without those that do not start.
            self.threads.extend(thread::Builder::new().spawn(walk));
        }
        self.parts = Some(parts);
        self.spare = source.another();
    }
}

impl<R: Read + Seek> Drop for Ahead<R> {
    fn drop(&mut self) {
        if let Some(parts) = &self.parts {
            parts.stop.store(true, Relaxed);
        }
        for thread in self.threads.drain(..) {
            // One that failed has answered nothing, and nothing was made of it.
            let _ = thread.join();
        }
    }
}

/// The frames before the reader, some for each part.
struct Parts {
    headers: BlockHeaders,
    /// The frames that parts begin with, and the end of the last one.
    starts: Vec<usize>,
    /// Were parts kept of the last datablock that somebody saw? It is a guess at what others begin in the middle of.
    keeps_parts: AtomicBool,
    taken: Mutex<Taken>,
    stop: AtomicBool,
    /// What all threads have unpacked, and what they hold.
    unpacked: AtomicU64,
    memory: AtomicU64,
}

#[derive(Default)]
struct Taken {
    /// The first part that nobody looks at or has passed over.
    next: usize,
    answers: BTreeMap<usize, mpsc::Receiver<Found>>,
}

impl Parts {
    /// The part that a frame is in.
    fn index_of(&self, frame: usize) -> Option<usize> {
        let after = self.starts.partition_point(|start| *start <= frame);
        after.checked_sub(1)
    }

    fn frames_of(&self, index: usize) -> Option<Range<usize>> {
        Some(*self.starts.get(index)?..*self.starts.get(index + 1)?)
    }

    /// What was found of a part, when that is done; none where nobody looks at it, and then nobody will. Who waits looks at
    /// others.
    fn fetch<R: Read + Seek>(
        &self,
        index: usize,
        mut spare: Option<&mut Source<R>>,
    ) -> Option<Found> {
        let answer = {
            let mut taken = self.taken.lock().ok()?;
            taken.next = taken.next.max(index + 1);
            taken.answers = taken.answers.split_off(&index);
            taken.answers.remove(&index)?
        };
        let found = loop {
            match answer.try_recv() {
                Ok(found) => break found,
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {
                    let walked = spare.as_mut().is_some_and(|spare| self.walk_one(spare));
                    if !walked {
                        break answer.recv().ok()?;
                    }
                }
            }
        };
        self.memory.fetch_sub(found.memory(), Relaxed);
        Some(found)
    }

    /// Looks at one part; false when there is none left.
    fn walk_one<R: Read + Seek>(&self, source: &mut Source<R>) -> bool {
        let Some((index, answer)) = self.take() else {
            return false;
        };
        if let Some(found) = self.walk(index, source) {
            // Nobody waits any more when the reader passed over it.
            let _ = answer.send(found);
        }
        true
    }

    /// A part for a thread to look at.
    fn take(&self) -> Option<(usize, mpsc::SyncSender<Found>)> {
        let mut taken = self.taken.lock().ok()?;
        let index = taken.next;
        if self.frames_of(index).is_none() || self.is_enough() {
            return None;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        taken.next += 1;
        taken.answers.insert(index, receiver);
        Some((index, sender))
    }

    fn is_enough(&self) -> bool {
        self.stop.load(Relaxed)
            || self.unpacked.load(Relaxed) > limits::UNPACKED_BYTES_MAX
            || self.memory.load(Relaxed) > limits::AHEAD_BYTES_MAX
    }

    /// Walks from the first header in some frames to the first one behind them.
    fn walk<R: Read + Seek>(&self, index: usize, source: &mut Source<R>) -> Option<Found> {
        let frames = self.frames_of(index)?;
        source.go_to_frame(frames.start);
        let before = source.unpacked();
        let found = self.find_header(frames.end, source);
        let found = found.and_then(|()| self.walk_on(frames.end, source));
        self.unpacked.fetch_add(source.unpacked() - before, Relaxed);
        let found = found?;
        self.memory.fetch_add(found.memory(), Relaxed);
        if let Some(last) = found.0.last() {
            self.keeps_parts.store(last.walked.keeps_parts(), Relaxed);
        }
        Some(found)
    }

    /// Goes on to what looks like a header. Where there is none for long, the reader passes over a large block and needs
    /// nobody.
    fn find_header<R: Read + Seek>(&self, end: usize, source: &mut Source<R>) -> Option<()> {
        for _ in 0..limits::LEAD_FRAMES_MAX {
            if source.frame()? >= end || self.is_enough() {
                return None;
            }
            let rest = source.rest_of_frame().ok()?;
            let mut places = rest.windows(CODE_BYTES).enumerate();
            let at = places.find_map(|(at, code)| {
                (has_code(code) && is_header(&rest[at..], self.headers)).then_some(at)
            });
            let passed = at.unwrap_or(rest.len());
            source.skip(passed as u64).ok()?;
            if at.is_some() {
                return Some(());
            }
        }
        None
    }

    fn walk_on<R: Read + Seek>(&self, end: usize, source: &mut Source<R>) -> Option<Found> {
        let guess = self.keeps_parts.load(Relaxed);
        let mut found = Found::default();
        while source.frame()? < end && found.memory() <= limits::PART_BYTES_MAX {
            if self.stop.load(Relaxed) {
                return None;
            }
            let (at, before) = (source.position(), source.unpacked());
            let header = BlockHeader::read(source, self.headers).ok()?;
            if matches!(header.code, walk::DNA1 | walk::END) {
                break;
            }
            let is_part = header.code == walk::DATA;
            if found.0.len() < if is_part { 1 } else { 2 } {
                found.begin(at, is_part.then_some(guess));
            }
            let part = found.0.last_mut()?;
            part.walked.add(&header, source).ok()?;
            part.headers.end = source.position();
            part.unpacked += source.unpacked() - before;
        }
        Some(found)
    }
}

/// Does something with the code of a header look like one, and what follows its block too, if that is in sight?
fn is_header(bytes: &[u8], headers: BlockHeaders) -> bool {
    let mut start = [0; HEADER_BYTES_MAX];
    let length = headers.bytes();
    let Some(own) = bytes.get(..length) else {
        return false;
    };
    start[..length].copy_from_slice(own);
    let header = BlockHeader::parse(&start, headers);
    let behind = usize::try_from(header.bytes).ok();
    let behind = behind.and_then(|content| length.checked_add(content));
    match behind.and_then(|behind| bytes.get(behind..)) {
        Some(next) => next.is_empty() || next.get(..CODE_BYTES).is_some_and(has_code),
        // Two letters stand together by chance; this code hardly does.
        None => header.code == walk::DATA,
    }
}

/// The code of a datablock or of a part of one.
fn has_code(bytes: &[u8]) -> bool {
    match *bytes {
        [a, b, 0, 0] => a.is_ascii_uppercase() && b.is_ascii_uppercase(),
        _ => bytes == walk::DATA,
    }
}

#[cfg(test)]
mod tests;
