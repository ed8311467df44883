//! The child's side: confines itself, then serves one engine to its parent until the pipe ends.

use super::messages::{FromChild, Prepared, ToChild, receive, send, write_pixels};
use crate::{CancelFlag, Engine, EngineError, sandbox};
use protocol::{Rect, RenderSettings, SampleRange};
use std::{
    io::{self, BufReader, Read, Write},
    process,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// Pixels that are rendered together, where rectangles are small.
const GROUP_PX: u64 = 4_096;

/// A render that the parent asked for.
struct Request {
    settings: RenderSettings,
    frame: i32,
    range: Option<SampleRange>,
    rects: Vec<Rect>,
    cancel: CancelFlag,
}

/// Serves `engine` to the parent over two pipes; returns when the parent closes its end before anything was prepared,
/// and exits the process when it does so later, even in the middle of a render.
///
/// # Errors
/// When a pipe breaks or the parent does not keep to the order of messages.
pub fn serve_child(
    mut engine: Box<dyn Engine>,
    stdin: impl Read + Send + 'static,
    mut stdout: impl Write,
) -> io::Result<()> {
    send(&mut stdout, &FromChild::Hello)?;
    let mut stdin = BufReader::new(stdin);
    let confinement = match receive(&mut stdin)? {
        None => return Ok(()),
        Some(ToChild::Confine {
            bundle,
            scratch,
            memory_bytes_max,
        }) => {
            let read = engine
                .program_files()
                .into_iter()
                .chain([bundle.clone()])
                .collect();
            let permissions = sandbox::Permissions {
                read,
                write: vec![scratch],
                devices: engine.device_files(),
                memory_bytes_max,
            };
            // Threads that exist already would stay free: the pipe's reader starts after this.
            let confinement = sandbox::confine(&permissions)?;
            engine.warm_up(&bundle);
            confinement
        }
        Some(_) => return Err(io::Error::other("the first message confines nothing")),
    };
    let file = match receive(&mut stdin)? {
        None => return Ok(()),
        Some(ToChild::Prepare(file)) => file,
        Some(_) => return Err(io::Error::other("the second message is not the scene")),
    };
    let requests = read_requests(stdin);
    let description = engine.prepare(&file.bundle, &file.entry, file.scene.as_deref());
    let prepared = description.map(|description| Prepared {
        description,
        confinement,
        build: engine.build(),
    });
    send(
        &mut stdout,
        &FromChild::Prepared(Box::new(prepared.map_err(Into::into))),
    )?;
    for request in requests {
        let result = render(engine.as_mut(), &request, &mut stdout)?;
        send(
            &mut stdout,
            &FromChild::Rendered(result.map_err(Into::into)),
        )?;
    }
    Ok(())
}

/// Renders and sends the rectangles: large ones one by one, small ones many at a time.
fn render(
    engine: &mut dyn Engine,
    request: &Request,
    stdout: &mut impl Write,
) -> io::Result<Result<(), EngineError>> {
    let Request {
        settings,
        frame,
        range,
        rects,
        cancel,
    } = request;
    let mut bytes = Vec::new();
    let mut rest = rects.as_slice();
    while !rest.is_empty() {
        let (group, after) = rest.split_at(group_length(rest));
        rest = after;
        let rendered = match engine.render_range(settings, (*frame, *range), group, cancel) {
            Ok(rendered) => rendered,
            Err(error) => return Ok(Err(error)),
        };
        if !rendered.iter().map(|rendered| &rendered.rect).eq(group) {
            let error = "the engine rendered other rectangles";
            return Ok(Err(EngineError::Failed(error.into())));
        }
        bytes.clear();
        for rendered in &rendered {
            write_pixels(rendered, &mut bytes);
        }
        let rects = FromChild::Rects {
            count: group.len() as u32,
            bytes: bytes.len() as u64,
        };
        send(stdout, &rects)?;
        stdout.write_all(&bytes)?;
    }
    Ok(Ok(()))
}

/// How many of these rectangles are rendered together: as many as have so few pixels, at least one.
fn group_length(rects: &[Rect]) -> usize {
    let pixels = rects.iter().scan(0u64, |sum, rect| {
        *sum = sum.saturating_add(rect.area());
        Some(*sum)
    });
    pixels.take_while(|sum| *sum <= GROUP_PX).count().max(1)
}

/// Reads on while the engine renders: cancels at once, and ends the process with its parent.
fn read_requests(mut stdin: impl Read + Send + 'static) -> Receiver<Request> {
    let (sender, receiver): (SyncSender<Request>, _) = sync_channel(1);
    thread::spawn(move || {
        let mut running = (0, CancelFlag::default());
        loop {
            match receive(&mut stdin) {
                Ok(Some(ToChild::Render {
                    number,
                    settings,
                    frame,
                    range,
                    rects,
                })) => {
                    running = (number, CancelFlag::default());
                    let cancel = running.1.clone();
                    if sender
                        .send(Request {
                            settings,
                            frame,
                            range,
                            rects,
                            cancel,
                        })
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(Some(ToChild::Cancel { number })) if number == running.0 => running.1.cancel(),
                Ok(Some(ToChild::Cancel { .. })) => {}
                Ok(Some(ToChild::Confine { .. } | ToChild::Prepare(_)) | None) | Err(_) => {
                    process::exit(0)
                }
            }
        }
    });
    receiver
}
