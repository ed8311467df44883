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
        mpsc,
    },
    thread,
};

const CODE_BYTES: usize = walk::DATA.len();

/// What a thread found between two headers.
pub(crate) struct Part {
    pub walked: Walked,
    /// Where the header lies that it began with, and the first one that it left.
    pub headers: Range<u64>,
    /// Bytes that were unpacked for it.
    pub unpacked: u64,
    /// What it took for granted of the datablock that it began in the middle of.
    keeps_parts: Option<bool>,
}

/// What lies before the reader, once it has read enough to be worth it.
pub(crate) struct Ahead {
    headers: BlockHeaders,
    parts: Option<Arc<Parts>>,
    is_started: bool,
    /// The part that the reader is in, and what was found of it.
    current: Option<usize>,
    found: Option<Part>,
}

impl Ahead {
    pub fn new(headers: BlockHeaders) -> Self {
        Self {
            headers,
            parts: None,
            is_started: false,
            current: None,
            found: None,
        }
    }

    /// What was found from the header on that the reader is at; waits for it where somebody is looking.
    pub fn part_from<R: Read + Seek + Send + 'static>(
        &mut self,
        source: &mut Source<R>,
        keeps_parts: bool,
    ) -> Option<Part> {
        if !self.is_started && source.unpacked() >= limits::ALONE_BYTES {
            self.is_started = true;
            self.parts = start(source, self.headers);
        }
        let parts = self.parts.as_ref()?;
        parts.keeps_parts.store(keeps_parts, Relaxed);
        let current = parts.index_of(source.frame()?)?;
        if self.current != Some(current) {
            self.current = Some(current);
            self.found = parts.fetch(current);
        }
        self.found.take_if(|part| {
            let expects = part.keeps_parts.unwrap_or(keeps_parts);
            part.headers.start == source.position() && expects == keeps_parts
        })
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(parts) = &self.parts {
            parts.stop.store(true, Relaxed);
        }
    }
}

/// Starts threads; none where there are too few frames or processors.
fn start<R: Read + Seek + Send + 'static>(
    source: &mut Source<R>,
    headers: BlockHeaders,
) -> Option<Arc<Parts>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(limits::UNPACKING_THREADS_MAX);
    let starts = source.promising_frames(limits::FRAMES_OF_PART)?;
    if threads < 2 || starts.len() < 2 {
        return None;
    }
    let parts = Arc::new(Parts {
        headers,
        starts,
        keeps_parts: AtomicBool::new(false),
        taken: Mutex::default(),
        stop: AtomicBool::new(false),
        unpacked: AtomicU64::new(0),
        memory: AtomicU64::new(0),
    });
    for _ in 0..threads {
        let (parts, mut source) = (Arc::clone(&parts), source.another()?);
        let walk = move || {
            while let Some((index, answer)) = parts.take() {
                if let Some(part) = parts.walk(index, &mut source) {
                    // Nobody waits any more when the reader passed over it.
                    let _ = answer.send(part);
                }
            }
        };
        // The reader does without those that do not start.
        let _ = thread::Builder::new().spawn(walk);
    }
    Some(parts)
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
    answers: BTreeMap<usize, mpsc::Receiver<Part>>,
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

    /// What was found of a part, when that is done; none where nobody looks at it, and then nobody will.
    fn fetch(&self, index: usize) -> Option<Part> {
        let answer = {
            let mut taken = self.taken.lock().ok()?;
            taken.next = taken.next.max(index + 1);
            taken.answers = taken.answers.split_off(&index);
            taken.answers.remove(&index)
        };
        let part = answer?.recv().ok()?;
        self.memory.fetch_sub(part.walked.memory(), Relaxed);
        Some(part)
    }

    /// A part for a thread to look at.
    fn take(&self) -> Option<(usize, mpsc::SyncSender<Part>)> {
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

    /// Walks from the first header of a part to the first one behind it.
    fn walk<R: Read + Seek>(&self, index: usize, source: &mut Source<R>) -> Option<Part> {
        let frames = self.frames_of(index)?;
        let before = source.unpacked();
        source.go_to_frame(frames.start);
        let found = self.find_header(source);
        let part = found.and_then(|()| self.walk_on(frames.end, source));
        let unpacked = source.unpacked() - before;
        self.unpacked.fetch_add(unpacked, Relaxed);
        let part = Part { unpacked, ..part? };
        self.memory.fetch_add(part.walked.memory(), Relaxed);
        self.keeps_parts.store(part.walked.keeps_parts(), Relaxed);
        Some(part)
    }

    /// Goes on to what looks like a header. Where there is none for long, the reader passes over a large block and needs
    /// nobody.
    fn find_header<R: Read + Seek>(&self, source: &mut Source<R>) -> Option<()> {
        for _ in 0..limits::LEAD_FRAMES_MAX {
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

    fn walk_on<R: Read + Seek>(&self, frames_end: usize, source: &mut Source<R>) -> Option<Part> {
        let start = source.position();
        let guess = self.keeps_parts.load(Relaxed);
        let (mut walked, mut keeps_parts) = (Walked::among_parts(guess), None);
        let mut end = start;
        while source.frame()? < frames_end && walked.memory() <= limits::PART_BYTES_MAX {
            if self.stop.load(Relaxed) {
                return None;
            }
            let header = BlockHeader::read(source, self.headers).ok()?;
            if matches!(header.code, walk::DNA1 | walk::END) {
                break;
            }
            if end == start && header.code == walk::DATA {
                keeps_parts = Some(guess);
            }
            walked.add(&header, source).ok()?;
            end = source.position();
        }
        Some(Part {
            walked,
            headers: start..end,
            unpacked: 0,
            keeps_parts,
        })
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
