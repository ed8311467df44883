//! What a run leaves to compare and to read: a hash over all events and effects, and a line for each if wanted.

use farm::event::{Effect, Event, Millis};
use protocol::{Blake3Hash, NodeId, TaskId};
use std::fmt::Write;

/// Where the lines go.
pub type Sink = Box<dyn FnMut(&str) + Send>;

/// Follows all that the coordinator is told and says.
pub struct Trace {
    hasher: blake3::Hasher,
    number: u64,
    sink: Option<Sink>,
}

impl Trace {
    /// Follows from the beginning.
    pub fn new(sink: Option<Sink>) -> Self {
        Self {
            hasher: blake3::Hasher::new(),
            number: 0,
            sink,
        }
    }

    /// Events so far.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The hash over all so far.
    pub fn hash(&self) -> Blake3Hash {
        self.hasher.finalize().into()
    }

    /// The next event, at a time of the world and with the bytes that the journal has of it.
    pub fn event(&mut self, at: Millis, event: &Event, entry: &[u8]) {
        self.number += 1;
        self.hasher.update(entry);
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>7} {at:>9} ms <- {}", self.number, said(event)));
        }
    }

    /// An effect of the last event.
    pub fn effect(&mut self, effect: &Effect) {
        hash_effect(&mut self.hasher, effect);
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>24} {}", "->", asked(effect)));
        }
    }

    /// Something that happens to the requestor itself.
    pub fn note(&mut self, at: Millis, note: &str) {
        self.hasher.update(note.as_bytes());
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>7} {at:>9} ms -- {note}", self.number));
        }
    }
}

fn hash_effect(hasher: &mut blake3::Hasher, effect: &Effect) {
    let mut put = |tag: u8, node: Option<&NodeId>, numbers: &[u64]| {
        hasher.update(&[tag]);
        if let Some(node) = node {
            hasher.update(&node.0);
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
    };
    match effect {
        Effect::Lease { worker, tasks, .. } => {
            let numbers: Vec<u64> = tasks.iter().map(|spec| spec.id.0).collect();
            put(1, Some(worker), &numbers);
        }
        Effect::Reveal { worker, task, .. } => put(2, Some(worker), &[task.0]),
        Effect::Cancel { worker, tasks } => {
            let numbers: Vec<u64> = tasks.iter().map(|task| task.0).collect();
            put(3, Some(worker), &numbers);
        }
        Effect::Accept {
            worker,
            task,
            amount,
            ..
        } => {
            put(4, Some(worker), &[task.0]);
            hasher.update(amount.to_string().as_bytes());
        }
        Effect::Reject { worker, task, .. } => put(5, Some(worker), &[task.0]),
        Effect::Quarantine { worker, .. } => put(6, Some(worker), &[]),
        Effect::Fault { worker, .. } => put(11, Some(worker), &[]),
        Effect::Pay { worker, task, .. } => put(12, Some(worker), &[task.0]),
        Effect::Compare { request, .. } => put(13, None, &[*request]),
        Effect::RenderOwn { request, .. } => put(7, None, &[*request]),
        Effect::Judge { request, seed, .. } => put(14, None, &[*request, u64::from(*seed)]),
        Effect::WriteFrame { frame, tiles } => {
            put(8, None, &[*frame as u64]);
            for piece in tiles {
                hasher.update(&piece.root.0);
            }
        }
        Effect::Forget { root } => {
            put(9, None, &[]);
            hasher.update(&root.0);
        }
        Effect::Finished { outcome } => {
            put(10, None, &[]);
            hasher.update(format!("{outcome:?}").as_bytes());
        }
    }
}

fn numbers(tasks: &[TaskId]) -> String {
    let mut text = String::from("[");
    for (at, task) in tasks.iter().enumerate() {
        let gap = if at == 0 { "" } else { " " };
        let _ = write!(text, "{gap}{}", task.0);
    }
    text + "]"
}

fn said(event: &Event) -> String {
    match event {
        Event::Quoted {
            worker,
            trust,
            held,
            hold_ms,
            ..
        } => format!(
            "{} quoted, {trust:?}, holds {} for {hold_ms} ms",
            worker.short(),
            numbers(held)
        ),
        Event::Ready {
            worker,
            class,
            megasample_ms,
            ..
        } => format!(
            "{} ready, class {}, {megasample_ms} ms a megasample",
            worker.short(),
            class.short()
        ),
        Event::Left { worker } => format!("{} left", worker.short()),
        Event::Heartbeat { worker, tasks } => {
            format!("{} heartbeat {}", worker.short(), numbers(tasks))
        }
        Event::Committed { worker, task, .. } => {
            format!("{} committed to {}", worker.short(), task.0)
        }
        Event::Delivered {
            worker, task, root, ..
        } => format!("{} delivered {}: {}", worker.short(), task.0, root.short()),
        Event::Failed {
            worker,
            task,
            reason,
        } => {
            let task = task.map_or("all".into(), |task| task.0.to_string());
            format!("{} failed {task}: {reason}", worker.short())
        }
        Event::OwnRendered { request, cells } => match cells {
            Ok(cells) => format!("own engine answered {request}: {} cells", cells.len()),
            Err(why) => format!("own engine cannot answer {request}: {why}"),
        },
        Event::OwnClass { class } => format!("own engine is of class {class:?}"),
        Event::Judged { request, verdict } => format!("judged {request}: {verdict:?}"),
        Event::Compared { request, found } => format!("compared {request}: {found:?}"),
        Event::FrameWritten { frame, outcome } => format!("frame {frame} written: {outcome:?}"),
        Event::Tick => "tick".into(),
        Event::Resumed { again, .. } => format!("resumed, again {again:?}"),
        Event::Stop => "stop".into(),
    }
}

fn asked(effect: &Effect) -> String {
    match effect {
        Effect::Lease { worker, tasks, .. } => {
            let mut text = format!("lease to {}:", worker.short());
            for spec in tasks {
                let more = match spec.rects.len() {
                    1 => String::new(),
                    count => format!(" and {} more", count - 1),
                };
                let (id, frame, first) = (spec.id.0, spec.frame, spec.rects[0]);
                let _ = write!(text, " {id} (frame {frame}, {first}{more})");
            }
            text
        }
        Effect::Reveal { worker, task, .. } => format!("reveal {} of {}", task.0, worker.short()),
        Effect::Cancel { worker, tasks } => {
            format!("cancel {} of {}", numbers(tasks), worker.short())
        }
        Effect::Accept {
            worker,
            task,
            amount,
            ..
        } => format!("accept {} of {} for {amount}", task.0, worker.short()),
        Effect::Reject {
            worker,
            task,
            reason,
        } => format!("reject {} of {}: {reason}", task.0, worker.short()),
        Effect::Quarantine {
            worker,
            fault,
            evidence,
        } => format!("quarantine {} for {fault:?}: {evidence}", worker.short()),
        Effect::Fault { worker, evidence } => format!("fault of {}: {evidence}", worker.short()),
        Effect::Pay {
            worker,
            task,
            amount,
            ..
        } => format!("pay {amount} to {} for {}", worker.short(), task.0),
        Effect::Compare {
            request,
            left,
            right,
            ..
        } => format!("compare, {request}: {} and {}", left.short(), right.short()),
        Effect::RenderOwn {
            request,
            frame,
            rects,
            ..
        } => format!(
            "own engine, {request}: {} rectangles of frame {frame}",
            rects.len()
        ),
        Effect::Judge {
            request,
            frame,
            root,
            regions,
            ..
        } => format!(
            "judge, {request}: {} regions of {} in frame {frame}",
            regions.len(),
            root.short()
        ),
        Effect::WriteFrame { frame, tiles } => {
            format!("write frame {frame} of {} tiles", tiles.len())
        }
        Effect::Forget { root } => format!("forget {}", root.short()),
        Effect::Finished { outcome } => format!("finished: {outcome:?}"),
    }
}
